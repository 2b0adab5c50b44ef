"""What every source of files gives before any image is decoded, and the lazy records made from it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from microgen_jax.data.decoding import BadFile, Header
from microgen_jax.errors import UserError
from microgen_jax.types import Record, Source

THREADS = 8
CHUNK = 256


class Listing(NamedTuple):
    """All images of a source, column by column.

    Attributes:
      kind: folder | list | hdf5 | npz | tfds | ebsd.
      root: as a person would name it in a message.
      names: of each image, relative to the root; unique and stable, as splits hash them.
      labels: class name of each image.
      headers: height, width, channels, dtype of each image.
      sizes: bytes of each image as stored.
      read: image number -> uint8, uint16 or float32 [H, W, C]; raises BadFile. Called from many threads.
      columns: further text columns: of a list, of metadata.csv, or the pattern's groups.
      refused: (file, reason) of what was left out.
      notes: what was found out and must be said.
      groups: what a split keeps together, of each image; None = every image for itself.
      held_out: which images the source itself keeps for testing; None = the split decides.
      held_out_notes: what must be said where `held_out` is followed.
    """

    kind: str
    root: str
    names: Sequence[str]
    labels: Sequence[str]
    headers: Sequence[Header]
    sizes: Sequence[int]
    read: Callable[[int], np.ndarray]
    columns: dict[str, Sequence[str]]
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    groups: Sequence[str] | None = None
    held_out: np.ndarray | None = None
    held_out_notes: tuple[str, ...] = ()

    def keep(self, indices: Sequence[int], refused: Sequence[tuple[str, str]]) -> "Listing":
        """The listing without the images that are not in `indices`, which `refused` tells of."""

        def pick(column: Sequence) -> list:
            return [column[n] for n in indices]

        return self._replace(
            names=pick(self.names),
            labels=pick(self.labels),
            headers=pick(self.headers),
            sizes=pick(self.sizes),
            read=lambda index: self.read(indices[index]),
            columns={name: pick(column) for name, column in self.columns.items()},
            refused=(*self.refused, *refused),
            groups=None if self.groups is None else pick(self.groups),
            held_out=None if self.held_out is None else self.held_out[list(indices)],
        )


def image_name(source: Source, index: int) -> str:
    """What a person calls an image of a source."""
    return source.name(index) if hasattr(source, "name") else f"image {index}"


def place(root: str, name: str) -> str:
    """Where an image is, as a person would look for it; a root that is a file stands in `name` already."""
    file = PurePath(root).name
    inside = name.removeprefix(file)
    return root + inside if name.startswith(file) and inside[:1] in ("", ":", "[") else f"{root}/{name}"


def fault_text(root: str, name: str, reason: str) -> str:
    """The one line that a bad file gives; where it is all that there is, skipping it leaves nothing."""
    alone = name.split(":")[0] == PurePath(root).name
    skip = "Mend it" if alone else "Mend or remove it, or set data.on_bad_file=skip"
    return f"{place(root, name)}: {reason}. {skip}"


def check_all(names: Sequence[str], check: Callable[[str], object]) -> tuple[list, list[tuple[str, str]]]:
    """Calls `check` for every name on threads.

    Returns:
      What it gave (None for a bad one), and (name, reason) of every BadFile, both in the order of the names.
    """

    def check_chunk(chunk: Sequence[str]) -> list[tuple[object, str]]:
        found = []
        for name in chunk:
            try:
                found.append((check(name), ""))
            except BadFile as error:
                found.append((None, str(error)))
        return found

    chunks = [names[i : i + CHUNK] for i in range(0, len(names), CHUNK)]
    if len(names) <= CHUNK:
        chunks = [names[i::THREADS] for i in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        checked = list(pool.map(check_chunk, chunks))
    found = dict(
        zip((name for chunk in chunks for name in chunk), (item for part in checked for item in part))
    )
    ordered = [(name, *found[name]) for name in names]
    return [result for _, result, _ in ordered], [(name, reason) for name, _, reason in ordered if reason]


class Records:
    """Some images of a listing as a `Source`: decoded when asked for, and not kept.

    An image that turns out to be bad only when decoded stops the run where `skip` is False; otherwise
    the next one of its class (in the order of names) stands in for it, always the same one, and `failed`
    counts it.
    """

    def __init__(
        self,
        listing: Listing,
        indices: np.ndarray,
        labels: np.ndarray,
        conditions: np.ndarray,
        groups: Sequence[str],
        *,
        skip: bool,
    ) -> None:
        """`labels` [N], `conditions` [N, K] and `groups` are of the whole listing; `indices` [n] picks."""
        self.indices = indices
        self.labels = labels[indices]
        self.conditions = conditions[indices]
        self.sizes = np.array(listing.sizes, np.int64)[indices]
        self.failed: dict[str, str] = {}
        self._listing, self._groups, self._skip = listing, groups, skip

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Record:
        for candidate in self._candidates(int(index)):
            number = int(self.indices[candidate])
            try:
                image = self._listing.read(number)
            except BadFile as error:
                name = self._listing.names[number]
                if not self._skip:
                    raise UserError(fault_text(self._listing.root, name, str(error))) from error
                self.failed[name] = str(error)
                continue
            label = int(self.labels[candidate])
            return Record(image, label, self.conditions[candidate], self._groups[number])
        raise UserError(
            f"{self._listing.root}: no image of this class can be decoded any more; are the files there?"
        )

    def _candidates(self, index: int) -> Iterator[int]:
        yield index
        same = np.flatnonzero(self.labels == self.labels[index])
        yield from np.roll(same, -int(np.searchsorted(same, index)) - 1)[:-1]

    def name(self, index: int) -> str:
        """What the image is called, relative to the root."""
        return self._listing.names[int(self.indices[index])]

    def group(self, index: int) -> str:
        """What the split keeps together with the image."""
        return self._groups[int(self.indices[index])]

    def header(self, index: int) -> Header:
        """Height, width, channels and dtype, without decoding."""
        return self._listing.headers[int(self.indices[index])]
