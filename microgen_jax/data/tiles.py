"""Images cut into windows on a regular grid, at their original pixel size."""

from collections.abc import Sequence

import numpy as np

from microgen_jax.data.catalogue import Catalogue


def starts(span: range, side: int, overlap: float) -> range:
    """Return where windows along an axis begin.

    Args:
      span: pixels that no window reaches out of.
      side: length of a window in px.
      overlap: share of its side that a window has in common with the next one.
    """
    return range(span.start, span.stop - side + 1, max(round(side * (1 - overlap)), 1))


def window_shape(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the shape of a window; an image smaller than `size` is one window, which the pipeline pads or refuses."""
    return min(shape[0], size[0]), min(shape[1], size[1])


def cut(catalogue: Catalogue, size: tuple[int, int], overlap: float) -> Catalogue:
    """Return the catalogue of all windows of the images; the windows of an image form one group.

    A strip at the right and the lower edge that is narrower than a step is left out.

    Args:
      catalogue: the images.
      size: height, width of a window in px.
      overlap: share of its side that a window has in common with the next one.
    """
    shapes = [window_shape(header[:2], size) for header in catalogue.headers]
    where = [
        (n, top, left)
        for n, (header, (height, width)) in enumerate(zip(catalogue.headers, shapes))
        for top in starts(range(header.height), height, overlap)
        for left in starts(range(header.width), width, overlap)
    ]
    images = [n for n, _, _ in where]

    def read(index: int) -> np.ndarray:
        n, top, left = where[index]
        height, width = shapes[n]
        return catalogue.read(n)[top : top + height, left : left + width]

    def spread(column: Sequence) -> list:
        return [column[n] for n in images]

    windows = f"{len(where)} windows of {size[0]}x{size[1]} px that overlap by {overlap:.0%}"
    return catalogue._replace(
        names=[f"{catalogue.names[n]}[{top},{left}]" for n, top, left in where],
        labels=spread(catalogue.labels),
        headers=[catalogue.headers[n]._replace(height=shapes[n][0], width=shapes[n][1]) for n in images],
        sizes=spread(catalogue.sizes),
        read=read,
        columns={name: spread(column) for name, column in catalogue.columns.items()},
        groups=spread(catalogue.groups or catalogue.names),
        held_out=None if catalogue.held_out is None else catalogue.held_out[images],
        notes=(*catalogue.notes, f"{windows}, of {len(shapes)} images"),
    )
