"""Freed memory is kept: no page is asked for again once a step has run a few times."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from microgen_jax.runtime import compile_cache
if sys.argv[1] == "keep":
    compile_cache.keep_memory()
step = jax.jit(lambda x: jnp.sum(jnp.cumsum(x, axis=0)[::-1] * x))
x = jnp.ones((4096, 4096))
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(10)))
"""


@pytest.mark.slow
def test_pages_are_asked_for_once():
    def least(what: str) -> int:
        line = [sys.executable, "-c", PROGRAM, what]
        return int(subprocess.run(line, capture_output=True, text=True, check=True).stdout)

    assert least("keep") < 100 < 10_000 < least("leave")
