"""Maps that `write_map` wrote as .npz (`writers.npz` lists the arrays)."""

import json
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.orientations import from_matrix
from microgen_jax.crystal.readers.points import Frame, Phase, limit_points
from microgen_jax.crystal.symmetry import LAUE_GROUPS
from microgen_jax.errors import UserError

MAX_BYTES = 2 * 2**30  # unpacked
_BROKEN = (  # what zipfile and numpy raise of damaged bytes; NotImplementedError: a compression unknown to zipfile
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path) -> EbsdMap:
    """Read a map as it was written.

    Args:
      path: path of the file.

    Raises:
      UserError: the file is broken, or no map that `write_map` wrote.
    """
    try:
        return _map_of(_load(path))
    except UserError:
        raise
    except _BROKEN as fault:
        reason = " ".join(str(fault).split())[:200]
        raise UserError(
            "path", f"is no map that write_map wrote ({type(fault).__name__}: {reason})"
        ) from None


def _load(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise UserError("path", f"unpacks to {size} bytes where at most {MAX_BYTES} are read", "crop the map")
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _map_of(arrays: dict[str, np.ndarray]) -> EbsdMap:
    height, width = shape = arrays["phase"].shape
    limit_points(height * width)
    indexed = _typed(arrays, "indexed", np.bool_, shape)
    phases = _phases(arrays)
    return EbsdMap(
        orientations=_unit(_typed(arrays, "orientations", np.float64, (*shape, 4)), indexed),
        phase=_named(_typed(arrays, "phase", np.int32, shape), indexed, phases),
        indexed=indexed,
        phases=phases,
        pixel_size=_pixel_size(arrays),
        unit=str(arrays["unit"][()]),
        frame=_frame(arrays),
        columns=_columns(arrays, shape),
        metadata=_metadata(str(arrays["metadata"][()])),
        notes=tuple(map(str, arrays["notes"].tolist())),
        unused=tuple(map(str, arrays["unused"].tolist())),
        described=int(arrays["described"]),
    )


def _typed(arrays: dict[str, np.ndarray], name: str, kind: type, shape: tuple[int, ...]) -> np.ndarray:
    values = arrays[name]
    if values.dtype != kind or values.shape != shape or not values.size:
        raise ValueError(f"{name} is {values.dtype} of the shape {values.shape}")
    return values


def _unit(orientations: np.ndarray, indexed: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        unit = np.abs(np.linalg.norm(orientations, axis=-1) - 1) < 1e-6
    if not unit[indexed].all():
        raise ValueError("orientations hold one that is no unit quaternion")
    return np.where(unit[..., None], orientations, [1.0, 0.0, 0.0, 0.0])


def _phases(arrays: dict[str, np.ndarray]) -> tuple[Phase, ...]:
    columns = [arrays[name].tolist() for name in ("phase_ids", "phase_names", "laue_groups", "twofold_axes")]
    phases = tuple(Phase(int(number), *map(str, texts)) for number, *texts in zip(*columns, strict=True))
    ids = [phase.id for phase in phases]
    if len(set(ids)) < len(ids):
        raise ValueError(f"phases have the same number: {ids}")
    if wrong := {phase.twofold_axis for phase in phases} - {"", "a*"}:
        raise ValueError(f"{min(wrong)!r} is no twofold axis")
    if unknown := {phase.laue_group for phase in phases} - {"", *LAUE_GROUPS}:
        raise ValueError(f"{min(unknown)!r} is no Laue group")
    return phases


def _named(phase: np.ndarray, indexed: np.ndarray, phases: tuple[Phase, ...]) -> np.ndarray:
    if unnamed := set(np.unique(phase[indexed]).tolist()) - {entry.id for entry in phases}:
        raise ValueError(f"phase {min(unnamed)} has no name")
    return phase


def _pixel_size(arrays: dict[str, np.ndarray]) -> tuple[float, float]:
    dy, dx = _typed(arrays, "pixel_size", np.float64, (2,)).tolist()
    if not (0 < dy < np.inf and 0 < dx < np.inf):
        raise ValueError(f"pixel size {(dy, dx)} is not positive")
    return dy, dx


def _frame(arrays: dict[str, np.ndarray]) -> Frame:
    crystal_x = str(arrays["crystal_x"][()])
    turn = _typed(arrays, "frame_to_image", np.int64, (3, 3))
    from_matrix(turn.astype(np.float64))  # refuses what is no turn
    if crystal_x not in ("a", "a*"):
        raise ValueError(f"{crystal_x!r} is no axis for x")
    right, down, inwards = map(tuple, turn.tolist())
    return Frame(str(arrays["frame_text"][()]), (right, down, inwards), crystal_x)


def _metadata(text: str) -> dict[str, str | float]:
    entries = json.loads(text, parse_int=float)
    if not isinstance(entries, dict) or not all(isinstance(value, str | float) for value in entries.values()):
        raise ValueError("metadata is no JSON object of texts and numbers")
    return entries


def _columns(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> Columns:
    names = arrays["column_names"].tolist()
    table = {str(name): arrays[f"column_{i}"] for i, name in enumerate(names)}
    point = _typed(arrays, "point", np.int64, shape)
    lengths = {len(values) for values in table.values()}
    if len(lengths) > 1 or not -1 <= point.min() <= point.max() < max(lengths, default=1):
        raise ValueError("columns and points do not belong together")
    return Columns(table, point)
