"""Strict arithmetic and checked shapes for every test, fast compilation, and a compile cache shared by all runs."""

import os
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from absl import flags
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("microgen_jax", "beartype.beartype")

pytest_plugins = ["tests.command_line"]

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CACHE = Path(os.environ.get("MICROGEN_CACHE", Path.home() / ".cache" / "microgen_jax")) / "xla-tests"

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
jax.config.update("jax_disable_most_optimizations", True)
flags.FLAGS.mark_as_parsed()
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data beside the checkout; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is absent: real-data test not run")
    return SHARED
