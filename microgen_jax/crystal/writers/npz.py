"""Arrays of numpy (.npz): everything that an `EbsdMap` holds, which `read_map` gives back to the last bit.

| array | shape | what |
|---|---|---|
| orientations | float64 [H, W, 4] | unit quaternions, sample -> crystal |
| phase | int32 [H, W] | id of the phase, -1 where unindexed |
| indexed | bool [H, W] | which pixels have an orientation |
| pixel_size | float64 [2] | dy, dx in `unit` |
| phase_ids, phase_names, laue_groups, twofold_axes | [P] | the phases |
| unit, frame_text, crystal_x | text | `EbsdMap.unit` and `EbsdMap.frame` |
| frame_to_image | int64 [3, 3] | `Frame.to_image` |
| point | int64 [H, W] | number of the file's point in each pixel, -1 where there is none |
| column_names, column_0, ... | [C], [N] or [N, K] | the file's columns as they were read |
| metadata | text | JSON |
| notes, unused, described | texts, texts, int64 | as in `EbsdMap` |
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.writers.common import require_writable
from microgen_jax.files import write_bytes


def write_npz(path: Path, scan: EbsdMap) -> tuple[str, ...]:
    """Write a .npz file.

    Args:
      path: path of the file.
      scan: map to write.

    Returns:
      No note: nothing is lost.

    Raises:
      UserError: a map that no format can hold (`require_writable`).
    """
    require_writable(scan)
    columns = scan.columns.table
    arrays = {
        "orientations": scan.orientations,
        "phase": scan.phase,
        "indexed": scan.indexed,
        "pixel_size": np.array(scan.pixel_size, np.float64),
        "phase_ids": np.array([phase.id for phase in scan.phases], np.int64),
        "phase_names": _texts([phase.name for phase in scan.phases]),
        "laue_groups": _texts([phase.laue_group for phase in scan.phases]),
        "twofold_axes": _texts([phase.twofold_axis for phase in scan.phases]),
        "unit": np.array(scan.unit),
        "frame_text": np.array(scan.frame.text),
        "frame_to_image": np.array(scan.frame.to_image, np.int64),
        "crystal_x": np.array(scan.frame.crystal_x),
        "point": scan.columns.index.astype(np.int64),
        "column_names": _texts(list(columns)),
        "metadata": np.array(json.dumps(scan.metadata)),
        "notes": _texts(scan.notes),
        "unused": _texts(scan.unused),
        "described": np.array(scan.described, np.int64),
    }
    arrays |= {f"column_{i}": values for i, values in enumerate(columns.values())}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getvalue())
    return ()


def _texts(texts: Sequence[str]) -> np.ndarray:
    return np.array(texts, np.str_)
