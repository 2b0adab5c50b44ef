"""An object store that fails one request of a run: each request in turn, in each way.

    python -m tests.benchmarks.failing_requests --store=gs
    python -m tests.benchmarks.failing_requests --store=s3 --every=5

A run starts on a checkpoint, reads it, writes the next and removes the one before; one of its requests is answered
with 500 or 403, or its connection drops. The run must go on or end in one line, and the next start must read the
newest marked checkpoint, bit for bit, and go on from it. The tests run a short form.
"""

import argparse
import collections
import time
from contextlib import closing, suppress

import numpy as np

from microgen_jax.errors import UserError
from microgen_jax.runtime import storage
from microgen_jax.training.checkpoint import Checkpoints
from tests.runtime import stores

KINDS = ("500", "403", "drops")


def go_on(url: str) -> int:
    """Read the newest checkpoint, write the next, and return its step."""
    with storage.opened(url, owning=True) as folder, closing(Checkpoints(folder, keep=1)) as checkpoints:
        (folder / "config.json").write_text("{}")
        found = checkpoints.resume(stores.target())
        step = int(found.step) if found else 0
        if found:
            np.testing.assert_array_equal(found.params["w"], stores.state(step).params["w"])
        checkpoints.save(step + 1, stores.state(step + 1), None)
        checkpoints.wait()
    return step + 1


def copy(objects, source: str, target: str) -> None:
    """Copy a run to a fresh address of the same store."""
    for name in objects.names():
        if name.startswith(f"{source}/"):
            objects.put(name.replace(source, target, 1), objects.get(name))


def fail(objects, number: int, kind: str) -> str:
    """Let request `number` of a run fail, then start it again; return 'went on' or 'ended in one line'."""
    place = f"{kind}{number}"
    copy(objects, "before", place)
    url, first = f"{objects.url}/{place}", objects.requests
    objects.fails = lambda n, _: kind if n == first + number else ""
    step, outcome = 1, "ended in one line"
    with suppress(UserError):
        step, outcome = go_on(url), "went on"
    objects.fails = lambda *_: ""
    assert not [name for name in objects.names() if name.startswith(f"{place}/damaged")], "taken for damaged"
    newest = max(marked(objects, place))
    assert newest >= step, f"what the run called written has no mark (request {number}, {kind})"
    assert go_on(url) == newest + 1, f"the newest marked checkpoint was not read (request {number}, {kind})"
    for name in objects.names():
        if name.startswith(f"{place}/"):
            objects.remove(name)
    return outcome


def marked(objects, place: str) -> list[int]:
    """Return the checkpoints of a run that count."""
    parts = [name.split("/") for name in objects.names() if name.startswith(f"{place}/checkpoints/")]
    return [int(part[2]) for part in parts if part[3:] == [stores.MARK]]


def requests_of_a_run(objects) -> int:
    """Write the checkpoint that runs start on, and count the requests of one that is not disturbed."""
    go_on(f"{objects.url}/before")
    copy(objects, "before", "counted")
    first = objects.requests
    go_on(f"{objects.url}/counted")
    return objects.requests - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("gs", "s3"), default="gs")
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    with stores.serve(asked.store) as objects:
        total, began = requests_of_a_run(objects), time.monotonic()
        for kind in KINDS:
            counts = collections.Counter(fail(objects, n, kind) for n in range(1, total + 1, asked.every))
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
            print(f"{asked.store}, {kind}: of {counts.total()} requests {outcomes}", flush=True)
        print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
