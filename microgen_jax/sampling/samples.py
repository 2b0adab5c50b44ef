"""Generated images with what each of them was asked for, and the folder that they are saved as."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from microgen_jax import files, images
from microgen_jax.config import run_config
from microgen_jax.config.fields import to_dict
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.crystal.maps import EbsdMap, write_map
from microgen_jax.crystal.segmentation import flat_share
from microgen_jax.data.representations import Orientations, OrientationStack
from microgen_jax.errors import UserError, require_known
from microgen_jax.methods import sampling_fields

FORMATS = ("png", "npz")
MAP_FORMATS = ("ctf", "ang", "h5oina", "dream3d", "vti", "damask")  # suffixes of `crystal.maps.write_map`
MAX_IN_GRID = 64
_MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class Samples:
    """Generated images; `np.asarray(samples)` gives `images`.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: class of each image, an index into `classes`.
      conditions: requested value for each image by name, [N], in the data's own units; NaN = not given.
      seed: seed of the images; image i of a seed is always the same.
      checkpoint: number of updates of the weights.
      settings: configuration of the run, its `sample` part as it was used.
      resolved: classes, conditions and channels of the run.
      finished: whether all images that were asked for took all steps; False where `progress` ended the sampling, and
        the last batch may then be predictions of clean images.
      orientations: quaternions, phases, grains, lengths and residuals, of orientation models; None of image models;
        fewer than the images, or None, where `progress` ended the sampling before the last batch had orientations.
    """

    images: UInt8[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, "N"]
    conditions: Mapping[str, Float[np.ndarray, "N"]]
    seed: int
    checkpoint: int
    settings: Config
    resolved: Resolved
    finished: bool = True
    orientations: OrientationStack | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the images."""
        return np.array(self.images, dtype) if copy else np.asarray(self.images, dtype)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.resolved.classes

    @property
    def maps(self) -> tuple[EbsdMap, ...]:
        """The samples of an orientation model as scans, for `write_map`; () of image models."""
        representation = self.resolved.representation
        if self.orientations is None or not isinstance(representation, Orientations):
            return ()
        return representation.maps(self.orientations, self.resolved.pixel_size_um)

    def grid(self, columns: int = 0) -> UInt8[np.ndarray, "Y X 3"]:
        """Return the images side by side, 64 at most, as one RGB image.

        Args:
          columns: images in a row; 0 makes the grid about square.
        """
        return images.grid(self.images[:MAX_IN_GRID], columns)

    def save(
        self,
        folder: str | Path,
        formats: Sequence[str] = FORMATS,
        extra_files: Mapping[str, bytes] | None = None,
    ) -> tuple[str, ...]:
        """Write images/, maps/, grid.png, samples.npz and manifest.json; the folder appears whole or not at all.

        Args:
          folder: new folder; one that samples were saved in before is replaced.
          formats: 'png' for images/ (of one or three channels), 'npz' for samples.npz with `images`, `labels` and the
            arrays of `orientations`; of orientation models also formats of scans, for maps/: ctf, ang, h5oina, dream3d,
            vti, damask.
          extra_files: contents of further files by name.

        Returns:
          What the formats cannot hold and what was decided, a line each.

        Raises:
          UserError: of `folder`: it holds something other than samples; of `formats`: an unknown name, or a format of
            scans for images.
        """
        require_formats(formats, self.resolved)
        notes = self._without_orientations()
        folder = Path(folder).expanduser()
        if folder.exists() and not (folder / _MANIFEST).is_file() and not _is_empty(folder):
            raise UserError("folder", f"{folder} holds something other than samples", "choose a new folder")

        def fill(fresh: Path) -> None:
            if "png" in formats:
                self._write_images(fresh / "images")
            if "npz" in formats:
                arrays = {} if self.orientations is None else vars(self.orientations)
                np.savez_compressed(fresh / "samples.npz", images=self.images, labels=self.labels, **arrays)
            notes.extend(self._write_maps(fresh / "maps", [name for name in formats if name in MAP_FORMATS]))
            (fresh / "grid.png").write_bytes(images.png(self.grid()))
            for name, content in (extra_files or {}).items():
                (fresh / name).write_bytes(content)
            files.write_json(fresh / _MANIFEST, self.manifest() | {"notes": notes})

        files.write_folder(folder, fill)
        return tuple(notes)

    def _without_orientations(self) -> list[str]:
        """Return a note where some of the images have no orientations, and so are in no map."""
        missing = len(self) - (0 if self.orientations is None else len(self.orientations.quaternions))
        if not missing or not self.resolved.phases:
            return []
        return [
            f"the last {missing} of {len(self)} images were stopped before they had orientations: no maps of them"
        ]

    def _write_maps(self, folder: Path, formats: Sequence[str]) -> tuple[str, ...]:
        """Write every map in every format, and return the notes of the first ones."""
        maps = self.maps if formats else ()
        if not maps:
            return ()
        folder.mkdir()
        notes = dict.fromkeys(maps[0].notes)
        for suffix in formats:
            found = [write_map(scan, folder / f"{i:05d}.{suffix}") for i, scan in enumerate(maps)]
            notes |= dict.fromkeys(f"{suffix}: {note}" for note in found[0])
        return tuple(notes)

    def manifest(self) -> dict[str, Any]:
        """Return how the images were made, as JSON takes it."""
        sample = asdict(self.settings.sample)
        names = (*sampling_fields(self.settings.method), "ema", "autoguidance")
        return {
            "checkpoint": self.checkpoint,
            "seed": self.seed,
            "method": self.settings.method,
            "sampler": {name: sample[name] for name in names},
            "num": len(self),
            "finished": self.finished,
            "labels": [self.classes[label] for label in self.labels],
            "conditions": {
                name: values.tolist() for name, values in self.conditions.items() if np.isfinite(values).all()
            },
            "flat_share": self.flat_share(),
            **self._decoding(),
            "resolved": asdict(self.resolved),
            "config": to_dict(self.settings),
            "versions": run_config.versions(),
            "device": jax.devices()[0].device_kind,
        }

    def _decoding(self) -> dict[str, Any]:
        """Return how far the decoded values are from those of orientations, by name; {} of images."""
        if self.orientations is None:
            return {}
        length, residual = self.orientations.length, self.orientations.residual
        return {
            "length": {"mean": float(length.mean()), "smallest": float(length.min())},
            "residual": {"mean": float(residual.mean()), "largest": float(residual.max())},
        }

    def flat_share(self) -> float:
        """Return the share of neighbouring pixels that differ by at most 24 of 255, over all images."""
        return float(np.mean([flat_share(image) for image in self.images]))

    def _write_images(self, folder: Path) -> None:
        folder.mkdir()
        if self.images.shape[-1] in (1, 3):
            for i, image in enumerate(self.images):
                (folder / f"{i:05d}.png").write_bytes(images.png(image))


def require_formats(formats: Sequence[str], resolved: Resolved) -> None:
    """Refuse formats that samples of a run cannot be written in.

    Args:
      formats: names, as for `Samples.save`.
      resolved: what the run's data decided.

    Raises:
      UserError: of `formats`: an unknown name, or a format of scans where the model makes images.
    """
    for name in formats:
        require_known("formats", name, (*FORMATS, *MAP_FORMATS))
        if name in MAP_FORMATS and not resolved.phases:
            raise UserError(
                "formats",
                f"{name!r} holds orientations, and this model makes images",
                "train one with --config.data.representation=orientation, or choose png, npz",
            )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
