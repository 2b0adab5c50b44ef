"""Folders called train and test: a split that was made by hand, and no classes."""

import numpy as np

from microgen_jax.data.catalogue import Catalogue

TRAINING = {"train", "training"}
HELD_OUT = {"test", "testing", "val", "valid", "validation"}


def follow_split_folders(catalogue: Catalogue, root_name: str) -> Catalogue:
    """Return a catalogue whose `train/` and `test/` are the split, where its classes are such folders.

    Args:
      catalogue: images by folder; `train/A` and `A/train` both name the class A.
      root_name: name of the class where the folders name none.
    """
    paths = [label.split("/") for label in catalogue.labels]
    for place in (0, -1):
        sides = [path[place].lower() for path in paths]
        if set(sides) <= TRAINING | HELD_OUT and set(sides) & TRAINING and set(sides) & HELD_OUT:
            return _split(catalogue, paths, place, root_name)
    return catalogue


def _split(catalogue: Catalogue, paths: list[list[str]], place: int, root_name: str) -> Catalogue:
    held = np.array([path[place].lower() in HELD_OUT for path in paths])
    labels = ["/".join(path[1:] if place == 0 else path[:-1]) or root_name for path in paths]
    found = sorted({path[place] for path in paths})
    note = f"the folders {', '.join(found)} are taken for a split and not for classes"
    unseen = sorted(set(labels) - {label for label, out in zip(labels, held) if not out})
    notes = tuple(f"class {name!r} has no image for training" for name in unseen)
    return catalogue._replace(
        labels=labels,
        held_out=held,
        held_out_notes=(
            f"{held.sum()} images are held out by their folder; data.holdout=0 trains on all",
            *notes,
        ),
        notes=(*catalogue.notes, note),
    )
