"""How far the scans beside the checkout agree with the answers kept beside them, as the table of docs/data.md.

python -m tests.benchmarks.scans --data=../shared/data
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.maps import read_euler, read_map
from tests.crystal.test_maps import ANSWERS, same_turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    print(
        "| scan | points | Euler angles within 1e-4 rad | phase | mask | IPF-Z within 2/255 | IPF-X within 2/255 |"
    )
    print("|---|---|---|---|---|---|---|")
    for answer, raw in ANSWERS:
        print(f"| `{raw}` | " + " | ".join(row(data, answer, raw)) + " |")


def row(data: Path, answer: str, raw: str) -> list[str]:
    with np.load(data / "scans/npz" / f"{answer}.npz", allow_pickle=False) as stored:
        angles, phases = stored["euler"], stored["phase"]
    euler, phase, indexed = read_euler(data / "scans" / raw)
    same = same_turns(euler, angles, 1e-4)
    shares = [same.mean(), (phase == phases).mean(), (indexed == (phases >= 0)).mean()]
    shares += [drawn_share(data, answer, raw, direction) for direction in "ZX"]
    missing = f" ({np.count_nonzero(~same)} not, {np.count_nonzero(~same & indexed)} of them indexed)"
    texts = [f"{share:.4%}" for share in shares]
    return [f"{phase.size:,}", texts[0] + (missing if not same.all() else ""), *texts[1:]]


def drawn_share(data: Path, answer: str, raw: str, direction: str) -> float:
    """Of the indexed pixels, whose colour is within 2 of 255 of the map that orix drew."""
    with Image.open(data / "ipf_maps" / f"{answer}_{direction}.png") as image:
        stored = np.asarray(image.convert("RGB")).astype(int)
    scan = read_map(data / "scans" / raw)
    drawn = np.zeros(stored.shape, int)
    for entry in scan.phases:
        mask = scan.phase == entry.id
        drawn[mask] = ipf_colour(scan.orientations[mask], direction, entry.laue_group, "tsl")
    return float((np.abs(drawn - stored).max(axis=-1)[scan.indexed] <= 2).mean())


if __name__ == "__main__":
    main()
