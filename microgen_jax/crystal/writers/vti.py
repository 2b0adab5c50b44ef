"""VTK image data (.vti), as ParaView and DAMASK read it: one layer of cells with arrays in inline base64.

A map's rows run down and VTK's y runs up, so rows are written from the last to the first, and orientations in the frame
x right, y up, z out of the sample (`points.OXFORD`): shown from +z the cells look as the map does.

Source: VTK file formats, https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html; of its types those
that DAMASK takes too are written: Int32 and Float64, and bytes for colours.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Float

from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.frames import in_frame
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.readers.points import OXFORD
from microgen_jax.crystal.segmentation import ORIENTATION_TOLERANCE, grains_from_orientations
from microgen_jax.crystal.writers.common import notes_on, require_writable
from microgen_jax.files import write_bytes

_TYPES = {"int32": "Int32", "float64": "Float64", "uint8": "UInt8"}


def write_vti(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write quaternion, phase, grain and IPF-Z colour of each pixel for ParaView; -1 stands for unindexed.

    Lengths are in the unit of the map's pixel size.

    Args:
      path: path of the file.
      scan: map to write.

    Returns:
      Notes, a line each.

    Raises:
      UserError: a map that no format can hold (`require_writable`).
    """
    require_writable(scan)
    orientations = in_frame(scan.orientations, scan.frame, OXFORD)
    phase = np.where(scan.indexed, scan.phase, -1).astype(np.int32)
    groups = {entry.id: entry.laue_group for entry in scan.phases if np.any(phase == entry.id)}
    colours = np.zeros((*phase.shape, 3), np.uint8)
    for number, group in groups.items():
        colours[phase == number] = ipf_colour(orientations[phase == number], "Z", group)
    arrays = {
        "IPF Z": colours,
        "quaternion": orientations,
        "phase": phase,
        "grain": grains_from_orientations(orientations, groups, phase),
    }
    write_bytes(path, vti(arrays, scan.pixel_size))
    grains = f"grains of {path.name}: joined below {ORIENTATION_TOLERANCE:g} degrees; lengths in {scan.unit}"
    return (grains, *notes_on(scan))


def vti(arrays: Mapping[str, np.ndarray], pixel_size: tuple[float, float]) -> bytes:
    """Return a .vti file of one layer of cells as thick as they are wide.

    Args:
      arrays: int32, float64 or uint8 arrays [H, W] or [H, W, components] by name; rows run down.
      pixel_size: (dy, dx).
    """
    height, width = next(iter(arrays.values())).shape[:2]
    dy, dx = pixel_size
    extent = f"0 {width} 0 {height} 0 1"
    lines = [
        '<?xml version="1.0"?>',
        '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">',
        f'<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{dx!r} {dy!r} {dx!r}">',
        f'<Piece Extent="{extent}">',
        "<CellData>",
        *(_data_array(name, values[::-1]) for name, values in arrays.items()),
        "</CellData>",
        "</Piece>",
        "</ImageData>",
        "</VTKFile>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _data_array(name: str, values: Float[np.ndarray, "..."] | np.ndarray) -> str:
    """Return the element: the base64 of the length in bytes (UInt64) and the values."""
    content = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    text = base64.b64encode(np.uint64(len(content)).astype("<u8").tobytes() + content).decode()
    components = values.shape[2] if values.ndim == 3 else 1
    return (
        f'<DataArray type="{_TYPES[values.dtype.name]}" Name={quoteattr(name)} '
        f'NumberOfComponents="{components}" format="binary">{text}</DataArray>'
    )
