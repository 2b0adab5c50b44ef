"""Attributes of HDF5 datasets: those that define the values are applied or reported."""

from typing import Any, NamedTuple

import h5py
import numpy as np

from microgen_jax.data.sources.file_tree import BROKEN_HDF5

# Attributes that describe, of plain files, netCDF, PyTables, MATLAB, NeXus and HDF5's own dimension scales.
DESCRIPTIVE = {
    "title", "name", "long_name", "standard_name", "label", "description", "comment", "comments", "note", "notes",
    "units", "unit", "author", "creator", "operator", "user", "owner", "institution", "instrument", "software",
    "program", "source", "history", "references", "license", "licence", "citation", "doi", "url", "date", "time",
    "created", "modified",
    "timestamp", "version", "conventions", "sample", "specimen", "material", "pixel_size", "resolution",
    "element_size_um", "beam", "voltage", "magnification", "working_distance", "class_version", "image_version",
    "flavor", "pytables_format_version", "nrows", "matlab_fields", "_ncproperties", "_netcdf4dimid",
    "_netcdf4coordinates", "_nc3_strict", "nx_class", "default", "signal", "axes", "file_name",
    "file_time", "hdf5_version",
    "h5py_version", "dimension_list", "reference_list",
}  # fmt: skip
AXES = {"n": "N", "z": "N", "t": "N", "s": "N", "sample": "N", "slice": "N", "image": "N", "frame": "N", "time": "N",
        "h": "H", "y": "H", "row": "H", "height": "H", "w": "W", "x": "W", "column": "W", "col": "W", "width": "W",
        "c": "C", "channel": "C", "band": "C"}  # fmt: skip
LAYOUTS = {"HW", "NHW", "HWC", "NHWC", "CHW", "NCHW"}
MISSING = ("_FillValue", "missing_value")  # of netCDF: stored numbers of what was not measured
INTERLACED = {"INTERLACE_PIXEL": "HWC", "INTERLACE_PLANE": "CHW"}  # HDF5 Image and Palette Specification 1.2


class Attributes(NamedTuple):
    """Values of the attributes of a dataset; the fields are those of `StoredArray`."""

    layout: str
    factor: float
    offset: float
    inverted: bool
    transposed: bool
    missing: tuple[float, ...]
    notes: tuple[str, ...]
    unused: tuple[str, ...]


def read_attributes(dataset: h5py.Dataset) -> Attributes:
    """Return what the attributes of a dataset, and of the groups above it, say of its numbers."""
    found, unused = _attributes(dataset)
    factor, offset = (
        _number(found.pop(name, None), usual) for name, usual in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    notes = (
        [f"stored numbers are multiplied by {factor:g}, plus {offset:g}"]
        if (factor, offset) != (1, 0)
        else []
    )
    layout = _layout(dataset, found)
    inverted = _is_image(found) and bool(_number(found.pop("IMAGE_WHITE_IS_ZERO", None), 0.0))
    if str(found.get("DISPLAY_ORIGIN", "UL")) == "UL":
        found.pop("DISPLAY_ORIGIN", None)
    transposed = found.pop("MATLAB_class", None) is not None and dataset.ndim > 1
    if transposed:
        notes.append("MATLAB writes axes in reverse: height and width of each image are exchanged")
    missing = tuple(value for name in MISSING for value in _numbers(found, name))
    unused += _named(found, repr(dataset.name.strip("/")))
    group = dataset.parent
    for _ in range(dataset.name.count("/")):
        above, broken = _attributes(group)
        unused += [*broken, *_named(above, group.name.strip("/") or "the file")]
        group = group.parent
    return Attributes(layout, factor, offset, inverted, transposed, missing, tuple(notes), tuple(unused))


def _attributes(item: h5py.Dataset | h5py.Group) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes that do not merely describe, and a phrase for each that cannot be read."""
    found, broken = {}, []
    try:
        names = [name for name in item.attrs if name.lower() not in DESCRIPTIVE]
    except BROKEN_HDF5:
        return {}, [f"attributes of {item.name}, which cannot be read"]
    for name in names:
        try:
            value = item.attrs[name]
            found[name] = value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
        except BROKEN_HDF5:
            broken.append(f"the attribute {name!r} of {item.name}, which cannot be read")
    if found.get("CLASS") in ("GROUP", "ARRAY", "CARRAY", "EARRAY"):  # PyTables' own
        for name in ("CLASS", "VERSION", "TITLE", "EXTDIM"):
            found.pop(name, None)
    return found, broken


def _named(found: dict[str, Any], place: str) -> list[str]:
    return [f"the attribute {name!r} ({_short(value)}) of {place}" for name, value in found.items()]


def _is_image(found: dict[str, Any]) -> bool:
    if str(found.get("CLASS")) != "IMAGE":
        return "IMAGE_WHITE_IS_ZERO" in found
    found.pop("CLASS")
    if str(found.get("IMAGE_SUBCLASS")) in ("IMAGE_GRAYSCALE", "IMAGE_TRUECOLOR", "IMAGE_BITMAP"):
        found.pop("IMAGE_SUBCLASS")
    return True


def _layout(dataset: h5py.Dataset, found: dict[str, Any]) -> str:
    """Return the layout that dimension labels or the interlace mode name; '' where they name none that is known."""
    layout = ""
    if "DIMENSION_LABELS" in found:
        names = [str(_text(label)).strip().lower() for label in np.ravel(found["DIMENSION_LABELS"])]
        layout = "".join(AXES.get(name, AXES.get(name.rstrip("s"), "?")) for name in names)
    elif dataset.ndim == 3:
        layout = INTERLACED.get(str(found.get("INTERLACE_MODE")), "")
    if layout not in LAYOUTS or len(layout) != dataset.ndim:
        return ""
    found.pop("DIMENSION_LABELS", None)
    found.pop("INTERLACE_MODE", None)
    return layout


def _text(value: Any) -> Any:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


def _number(value: Any, usual: float) -> float:
    """Return an attribute as a finite number that is not 0 where 1 is usual; else the usual one."""
    try:
        number = float(np.ravel(value)[0])
    except (TypeError, ValueError, IndexError):
        return usual
    return number if np.isfinite(number) and (number or not usual) else usual


def _numbers(found: dict[str, Any], name: str) -> tuple[float, ...]:
    """Take an attribute of numbers out of those found; () where it holds something else, and stays."""
    values = np.ravel(found.get(name, ()))
    if values.dtype.kind not in "iuf":
        return ()
    found.pop(name, None)
    return tuple(values.astype(float).tolist())


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
