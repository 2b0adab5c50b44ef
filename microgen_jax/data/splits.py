"""Which groups of images are held out of training, by a hash of the group's own name.

Nothing about the other images enters the hash, so files that are added later move none that were
there. Two rules take precedence over the share: no class loses its last group to the holdout, and every class
with two groups or more gives one. Only a group that the second rule alone put there can come back, when
new groups of its class are held out instead.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def position(group: str) -> float:
    """Return the group's place in [0, 1): the first 8 bytes of its sha256."""
    return (
        int.from_bytes(hashlib.sha256(group.encode(errors="surrogateescape")).digest()[:8], "big") / 2.0**64
    )


def holdout_mask(
    groups: Sequence[str], labels: Sequence[str], share: float
) -> tuple[Bool[np.ndarray, "N"], tuple[str, ...]]:
    """Choose the images that are held out.

    Args:
      groups: group of each image; a group is kept on one side, also where several classes share it.
      labels: class name of each image.
      share: share of the groups to hold out, in [0, 1); 0 holds nothing out.

    Returns:
      The mask and the notes, a line for each class that stays in training as a whole.
    """
    if share == 0:
        return np.zeros(len(groups), bool), ("data.holdout=0: nothing is held out of training",)
    classes_of: dict[str, set[str]] = {}
    for group, label in zip(groups, labels):
        classes_of.setdefault(group, set()).add(label)
    remaining = _count(classes_of)
    given = dict.fromkeys(remaining, 0)
    held = set()
    order = sorted(classes_of, key=lambda group: (position(group), group))
    for wanted in (lambda g: position(g) < share, lambda g: any(given[c] == 0 for c in classes_of[g])):
        for group in order:
            if group in held or not wanted(group) or any(remaining[c] == 1 for c in classes_of[group]):
                continue
            held.add(group)
            for name in classes_of[group]:
                remaining[name] -= 1
                given[name] += 1
    return np.array([group in held for group in groups], bool), _notes(_count(classes_of), given)


def _count(classes_of: dict[str, set[str]]) -> dict[str, int]:
    count: dict[str, int] = {}
    for classes in classes_of.values():
        for name in classes:
            count[name] = count.get(name, 0) + 1
    return count


def _notes(total: dict[str, int], given: dict[str, int]) -> tuple[str, ...]:
    notes = []
    for name in sorted(total):
        if total[name] == 1:
            notes.append(f"class {name!r} has one group: it stays in training")
        elif given[name] == 0:
            notes.append(
                f"class {name!r} shares its groups with one that would lose its last: it stays in training"
            )
    return tuple(notes)
