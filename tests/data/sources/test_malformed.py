"""The corpus through the sources and the pipeline: one line that names file and fault, or a counted skip."""

import re
import resource
import time
from collections import Counter

import pytest

from microgen_jax.data import evaluation_batches, open_dataset
from microgen_jax.errors import UserError
from tests.data.malformed import CASES

MEMORY = 200_000  # kB that a case may add to the peak


def read_all(data) -> tuple[int, list[tuple[str, str]]]:
    """How many images are read, those that stand in for bad ones left out; and what was refused."""
    dataset = open_dataset(data)
    count, refused = 0, list(dataset.refused)
    for part in (dataset.train, dataset.holdout):
        stream = evaluation_batches(part, dataset.preparation, batch_size=4, workers=2)
        count += sum(int(mask.sum()) for _, mask in stream) - len(part.failed)
        refused += part.failed.items()
    return count, refused


def line_of(data) -> str:
    with pytest.raises(UserError) as caught:
        read_all(data)
    return str(caught.value)


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_input_gives_one_line_or_a_counted_skip(tmp_path, data_config, name):
    case = CASES[name]
    root = case.make(tmp_path)
    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    for source in ("auto", case.source):
        line = line_of(data_config(root, source=source, **case.fields))
        assert line.isprintable(), line
        assert len(line) < 1000
        assert source == "auto" or re.search(case.said, line), line
    skip = data_config(root, source=case.source, on_bad_file="skip", **case.fields)
    if case.good:
        count, refused = read_all(skip)
        assert count == case.good
        lines = ["".join(c if c.isprintable() else " " for c in f"{file}: {why}") for file, why in refused]
        assert any(re.search(case.said, line) for line in lines), lines
    else:
        assert line_of(skip).isprintable()
    assert time.monotonic() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < MEMORY


def test_the_corpus_is_large_enough():
    counts = Counter(case.source for case in CASES.values())
    print(f"{len(CASES)} malformed inputs: {dict(counts)}")
    assert len(CASES) >= 140
    assert set(counts) == {"folder", "list", "hdf5", "npz", "ebsd"}
