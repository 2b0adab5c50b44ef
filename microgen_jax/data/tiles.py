"""Images cut into windows on a regular grid, at their own step."""

from collections.abc import Sequence

import numpy as np

from microgen_jax.data.records import Listing

WINDOW = ("random", "grid")


def starts(span: range, side: int, overlap: float) -> range:
    """Where windows of `side` px begin, each sharing `overlap` of it with the next, none reaching out of `span`."""
    return range(span.start, span.stop - side + 1, max(round(side * (1 - overlap)), 1))


def window_shape(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Of a window; an image smaller than that is one window, which the pipeline pads or refuses."""
    return min(shape[0], size[0]), min(shape[1], size[1])


def cut(listing: Listing, size: tuple[int, int], overlap: float) -> Listing:
    """The listing with every window of every image for an image; an image's windows form one group.

    A strip at the right and the lower edge that is narrower than a step is left out.
    """
    shapes = [window_shape(header[:2], size) for header in listing.headers]
    where = [
        (n, top, left)
        for n, (header, (height, width)) in enumerate(zip(listing.headers, shapes))
        for top in starts(range(header.height), height, overlap)
        for left in starts(range(header.width), width, overlap)
    ]
    images = [n for n, _, _ in where]

    def read(index: int) -> np.ndarray:
        n, top, left = where[index]
        height, width = shapes[n]
        return listing.read(n)[top : top + height, left : left + width]

    def spread(column: Sequence) -> list:
        return [column[n] for n in images]

    windows = f"{len(where)} windows of {size[0]}x{size[1]} px that overlap by {overlap:.0%}"
    return listing._replace(
        names=[f"{listing.names[n]}[{top},{left}]" for n, top, left in where],
        labels=spread(listing.labels),
        headers=[listing.headers[n]._replace(height=shapes[n][0], width=shapes[n][1]) for n in images],
        sizes=spread(listing.sizes),
        read=read,
        columns={name: spread(column) for name, column in listing.columns.items()},
        groups=spread(listing.groups or listing.names),
        held_out=None if listing.held_out is None else listing.held_out[images],
        notes=(*listing.notes, f"{windows}, of {len(shapes)} images"),
    )
