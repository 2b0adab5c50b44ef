"""Scans against the reference values beside them, and embedded and decoded: tables of docs/data.md and docs/formats.md.

python -m tests.benchmarks.scans --data=../shared/data
"""

import argparse
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from microgen_jax.crystal.embedding import embedding
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.maps import EbsdMap, read_euler, read_map
from microgen_jax.crystal.orientations import from_euler
from microgen_jax.crystal.segmentation import grains_from_orientations
from microgen_jax.errors import UserError
from tests.crystal.test_embedding import exact_angle
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
    print()
    titles = (
        "scan",
        "points",
        "unindexed",
        "pixel size, um",
        "phases",
        "x in the file",
        "grains",
        "published",
    )
    print(f"| {' | '.join(titles)} |")
    print("|---" * len(titles) + "|")
    answers = {raw: answer for answer, raw in ANSWERS}
    for path in sorted(path for path in (data / "scans").iterdir() if path.is_file()):
        try:
            cells = " | ".join(held(data, read_map(path), answers.get(path.name)))
        except UserError as error:
            cells = f"refused: {error.problem} | | | | | |"
        print(f"| `{path.name}` | {cells} |")
    for path in sorted((data / "scans/npz").glob("*.npz")):
        if path.stem not in answers.values():
            print(f"| `npz/{path.name}` (answer only) | {' | '.join(kept(path))} |")
    print()
    print(
        "| scan | indexed points | median, deg | largest, deg | grains before | after | points/s of a core |"
    )
    print("|---" * 7 + "|")
    for path in sorted(path for path in (data / "scans").iterdir() if path.is_file()):
        with suppress(UserError):
            print(f"| `{path.name}` | {' | '.join(embedded(read_map(path)))} |")


def held(data: Path, scan: EbsdMap, answer: str | None) -> list[str]:
    """What a scan holds, and its 5 degree grains beside those of the answer: all, and of 5 px and more."""
    phases = ", ".join(f"{phase.name} {phase.laue_group}" for phase in scan.phases)
    groups = {phase.id: phase.laue_group for phase in scan.phases}
    labels = grains_from_orientations(scan.orientations, groups, scan.phase)
    published = ""
    if answer:
        with np.load(data / "scans/npz" / f"{answer}.npz", allow_pickle=False) as stored:
            published = counted(stored["grain"])
    size, share = f"{scan.pixel_size_um:g}", f"{scan.unindexed_share:.1%}"
    return [f"{scan.columns.points:,}", share, size, phases, scan.frame.crystal_x, counted(labels), published]


def embedded(scan: EbsdMap) -> list[str]:
    """How far orientations lie from those that their float32 embeddings decode to, and the 5 degree grains of both."""
    again, error, seconds = scan.orientations.copy(), np.zeros(scan.phase.shape), 0.0
    groups = {phase.id: phase.laue_group for phase in scan.phases}
    for number, group in groups.items():
        here = scan.phase == number
        channels = embedding(group).embed(scan.orientations[here].astype(np.float32))
        start = time.process_time()
        again[here] = embedding(group).decode(channels)[0]
        seconds += time.process_time() - start
        error[here] = exact_angle(scan.orientations[here], again[here], group)
    if not scan.indexed.any():
        return ["0", *[""] * 5]
    found = error[scan.indexed]
    grains = [
        counted(grains_from_orientations(turns, groups, scan.phase)) for turns in (scan.orientations, again)
    ]
    speed = f"{len(found) / seconds:,.0f}" if len(found) > 5000 else ""
    return [f"{len(found):,}", f"{np.median(found):.1e}", f"{found.max():.1e}", *grains, speed]


def kept(path: Path) -> list[str]:
    """What an answer without a raw file holds."""
    with np.load(path, allow_pickle=False) as stored:
        phases = ", ".join(" ".join(name.split(":")[1:]) for name in stored["phases"])
        lost = f"{(stored['phase'] < 0).mean():.1%}"
        points, size = f"{stored['phase'].size:,}", f"{stored['step']:g}"
        return [points, lost, size, phases, "", "", counted(stored["grain"])]


def counted(labels: np.ndarray) -> str:
    """Return the number of grains, and of those of at least 5 px."""
    sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
    return f"{len(sizes)}, {(sizes >= 5).sum()}"


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
    as_written = from_euler(read_euler(data / "scans" / raw)[0])  # as these maps were drawn
    drawn = np.zeros(stored.shape, int)
    for entry in scan.phases:
        mask = scan.phase == entry.id
        drawn[mask] = ipf_colour(as_written[mask], direction, entry.laue_group, "tsl")
    return float((np.abs(drawn - stored).max(axis=-1)[scan.indexed] <= 2).mean())


if __name__ == "__main__":
    main()
