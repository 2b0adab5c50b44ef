"""What every source of files gives before any image is decoded, and the lazy source of records made from it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

from microgen_jax.data.decoding import BadFile, Header
from microgen_jax.data.representations.orientations import PhaseName
from microgen_jax.errors import UserError
from microgen_jax.types import Record, Source

THREADS = 8
CHUNK = 256  # names that a thread checks in one go


class Catalogue(NamedTuple):
    """All images of a source, column by column.

    Attributes:
      kind: folder | list | hdf5 | npz | tfds | ebsd.
      root: the root as a person would name it in a message.
      names: name of each image, relative to the root; unique and stable, as splits hash them.
      labels: class name of each image.
      headers: height, width, channels, dtype of each image.
      sizes: bytes of each image as stored.
      read: function from an image's number to uint8, uint16 or float32 [H, W, C]; raises BadFile. Called from
        many threads.
      columns: further text columns: of a list, of metadata.csv, or the pattern's groups.
      serving: columns that are of use without being asked for, such as that of the classes.
      refused: (file, reason) of what was left out.
      notes: lines for the user.
      unused: arrays, columns, masks and header fields that were found and not used, a line each with the reason.
      groups: group of each image, which a split keeps together; None = every image for itself.
      held_out: which images the source itself keeps for testing; None = the split decides.
      held_out_notes: lines for the user where `held_out` is followed.
      phases: phases of orientation maps; () where images are images.
      scans: facts of each EBSD scan (`scans.facts`).
      frames: matrices that turn sample directions, such as data.ipf_direction, into those of the images; () = they
        are the images'.
      pixel_size_um: pixel size of all images in um; 0 where none is known or they differ.
    """

    kind: str
    root: str
    names: Sequence[str]
    labels: Sequence[str]
    headers: Sequence[Header]
    sizes: Sequence[int]
    read: Callable[[int], np.ndarray]
    columns: dict[str, Sequence[str]]
    serving: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    groups: Sequence[str] | None = None
    held_out: np.ndarray | None = None
    held_out_notes: tuple[str, ...] = ()
    phases: tuple[PhaseName, ...] = ()
    scans: tuple[dict[str, Any], ...] = ()
    frames: tuple[tuple[tuple[int, ...], ...], ...] = ()
    pixel_size_um: float = 0.0

    def keep(self, indices: Sequence[int], refused: Sequence[tuple[str, str]]) -> "Catalogue":
        """Return the catalogue without some of its images.

        Args:
          indices: numbers of the images kept.
          refused: (file, reason) of the others.
        """

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
    """Return what a person calls an image of a source."""
    return source.name(index) if hasattr(source, "name") else f"image {index}"


def place(root: str, name: str) -> str:
    """Return where an image is, as a person would look for it; a root that is a file is part of `name` already."""
    file = PurePath(root).name
    inside = name.removeprefix(file)
    return root + inside if name.startswith(file) and inside[:1] in ("", ":", "[") else f"{root}/{name}"


def bad_file_error(root: str, name: str, reason: str, count: int = 1) -> UserError:
    """Return the error of a bad file; skipping is offered where something would be left.

    Args:
      root: the root of the data.
      name: name of the file, relative to the root.
      reason: why it is bad.
      count: how many such files there are.
    """
    alone = name.split(":")[0] == PurePath(root).name
    more = f" ({count} such files)" if count > 1 else ""
    fix = "repair or replace it" if alone else "repair or remove it, or set data.on_bad_file=skip"
    return UserError(place(root, name), reason + more, fix)


def check_all(names: Sequence[str], check: Callable[[str], object]) -> tuple[list, list[tuple[str, str]]]:
    """Call `check` for every name, on threads.

    Args:
      names: the names.
      check: function of a name; raises BadFile.

    Returns:
      Its results (None for a bad file), and (name, reason) of every bad file, both in the order of the names.
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


class CatalogueSource:
    """Some images of a catalogue as a `Source`: decoded on access and not kept.

    An image that turns out to be bad only when decoded stops the run where `skip` is False; otherwise
    the next one of its class (in the order of names) stands in for it, always the same one, and `failed`
    counts it.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        indices: np.ndarray,
        labels: np.ndarray,
        conditions: np.ndarray,
        groups: Sequence[str],
        *,
        skip: bool,
    ) -> None:
        """Take some images of a catalogue.

        Args:
          catalogue: the catalogue, of N images.
          indices: int [n], numbers of the images taken.
          labels: int32 [N], class of each image.
          conditions: float32 [N, K], conditions of each image.
          groups: text [N], split group of each image.
          skip: whether bad images are replaced.
        """
        self.indices = indices
        self.labels = labels[indices]
        self.conditions = conditions[indices]
        self.sizes = np.array(catalogue.sizes, np.int64)[indices]
        self.failed: dict[str, str] = {}
        self._catalogue, self._groups, self._skip = catalogue, groups, skip

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Record:
        for candidate in self._candidates(int(index)):
            number = int(self.indices[candidate])
            try:
                image = self._catalogue.read(number)
            except BadFile as error:
                name = self._catalogue.names[number]
                if not self._skip:
                    raise bad_file_error(self._catalogue.root, name, str(error)) from error
                self.failed[name] = str(error)
                continue
            label = int(self.labels[candidate])
            return Record(image, label, self.conditions[candidate], self._groups[number])
        raise UserError(
            self._catalogue.root,
            "no image of this class can be decoded any more",
            "see that the files are there",
        )

    def _candidates(self, index: int) -> Iterator[int]:
        yield index
        same = np.flatnonzero(self.labels == self.labels[index])
        yield from np.roll(same, -int(np.searchsorted(same, index)) - 1)[:-1]

    def name(self, index: int) -> str:
        """Return the image's name, relative to the root."""
        return self._catalogue.names[int(self.indices[index])]

    def group(self, index: int) -> str:
        """Return the group that the split keeps together with the image."""
        return self._groups[int(self.indices[index])]

    def header(self, index: int) -> Header:
        """Return height, width, channels and dtype, without decoding."""
        return self._catalogue.headers[int(self.indices[index])]
