"""Mutated scans end in a scan or in one line, whatever the format: no exception else, no warning, no hang."""

import time

import numpy as np
import pytest

from tests.crystal.conftest import WRITERS, fault_of

EXTREMES = (
    b"nan inf -inf 1e308 -1e308 1e-320 0 -1 255 4294967296 99999999999999999999 1,5 ; # % \t \n \xff".split(
        b" "
    )
)


def mutate(content: bytes, rng: np.random.Generator) -> tuple[bytes, int]:
    """Returns the content after a few changes, and how many bytes they wrote or took out (a cut is one)."""
    data, changed = bytearray(content), 0
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data) + 1))
        length = int(2 ** (9 * rng.random()))
        kind = rng.integers(7)
        if kind == 0:
            new = rng.bytes(length)
            data[at : at + length] = new[: len(data) - at]
        elif kind == 1:
            data[at:at] = rng.bytes(length)
        elif kind == 2:
            length = len(data[at : at + length])
            del data[at : at + length]
        elif kind == 3:
            length = 1
            del data[at:]
        elif kind == 4:
            data[at : at + length] = data[:length]
        elif kind == 5:
            word = EXTREMES[rng.integers(len(EXTREMES))]
            length = len(word)
            data[at : at + int(rng.integers(9))] = word
        else:
            length = min(length, 8)
            for i in rng.integers(max(len(data), 1), size=length):
                data[i : i + 1] = bytes([data[i] ^ (1 << int(rng.integers(8)))]) if len(data) else b""
        changed += length
    return bytes(data), changed


def fuzz(kind, seed, bytes_wanted, writers, truth, folder) -> tuple[int, int, int]:
    """Reads mutated files until so many bytes changed; returns files, bytes changed, files still read."""
    path = writers[kind](folder / "scan", truth)
    paths = [path, path.with_suffix(".crc")] if kind == "cpr" else [path]
    sound = [part.read_bytes() for part in paths]
    rng = np.random.default_rng([seed, [*WRITERS].index(kind)])
    tried = mutated = read = 0
    while mutated < bytes_wanted:
        which = rng.integers(len(paths))
        content, changed = mutate(sound[which], rng)
        for part, whole in zip(paths, sound):
            part.write_bytes(whole)
        paths[which].write_bytes(content)
        start = time.process_time()
        fault = fault_of(path)
        assert time.process_time() - start < 5
        assert fault is None or fault.isprintable()
        tried, mutated, read = tried + 1, mutated + changed, read + (fault is None)
    return tried, mutated, read


@pytest.mark.parametrize("kind", WRITERS)
def test_mutated_scans_end_in_a_scan_or_in_one_line(kind, writers, truth, tmp_path):
    tried, mutated, _ = fuzz(kind, 0, 10_000, writers, truth, tmp_path)
    assert tried >= 20
    assert mutated >= 10_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_a_million_mutated_bytes(kind, writers, truth, tmp_path, capsys):
    """Eleven formats, 150,000 bytes each."""
    tried, mutated, read = fuzz(kind, 1, 150_000, writers, truth, tmp_path)
    with capsys.disabled():
        print(f"\n{kind}: {tried} files, {mutated} bytes mutated, {read} still read")
    assert mutated >= 150_000
