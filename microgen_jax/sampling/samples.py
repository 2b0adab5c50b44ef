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
from microgen_jax.crystal.segmentation import flat_share
from microgen_jax.errors import UserError, require_known
from microgen_jax.methods import sampling_fields
from microgen_jax.sampling import batching

FORMATS = ("png", "npz")
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
    """

    images: UInt8[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, "N"]
    conditions: Mapping[str, Float[np.ndarray, "N"]]
    seed: int
    checkpoint: int
    settings: Config
    resolved: Resolved
    finished: bool = True

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

    def grid(self, columns: int = 0) -> UInt8[np.ndarray, "Y X 3"]:
        """Return the images side by side, 64 at most, as one RGB image.

        Args:
          columns: images in a row; 0 makes the grid about square.
        """
        return images.grid(self._to_display()[:MAX_IN_GRID], columns)

    def save(
        self,
        folder: str | Path,
        formats: Sequence[str] = FORMATS,
        extra_files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write images/, grid.png, samples.npz and manifest.json; the folder appears whole or not at all.

        Args:
          folder: new folder; one that samples were saved in before is replaced.
          formats: 'png' for images/ (of one or three channels), 'npz' for samples.npz with `images` and `labels`.
          extra_files: contents of further files by name.

        Raises:
          UserError: of `folder`: it holds something other than samples; of `formats`: an unknown name.
        """
        for name in formats:
            require_known("formats", name, FORMATS)
        folder = Path(folder).expanduser()
        if folder.exists() and not (folder / _MANIFEST).is_file() and not _is_empty(folder):
            raise UserError("folder", f"{folder} holds something other than samples", "choose a new folder")

        def fill(fresh: Path) -> None:
            if "png" in formats:
                self._write_images(fresh / "images")
            if "npz" in formats:
                np.savez_compressed(fresh / "samples.npz", images=self.images, labels=self.labels)
            (fresh / "grid.png").write_bytes(images.png(self.grid()))
            for name, content in (extra_files or {}).items():
                (fresh / name).write_bytes(content)
            files.write_json(fresh / _MANIFEST, self.manifest())

        files.write_folder(folder, fill)

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
            "resolved": asdict(self.resolved),
            "config": to_dict(self.settings),
            "versions": run_config.versions(),
            "device": jax.devices()[0].device_kind,
        }

    def flat_share(self) -> float:
        """Return the share of neighbouring pixels that differ by at most 24 of 255, over all images."""
        return float(np.mean([flat_share(image) for image in self.images]))

    def _to_display(self) -> np.ndarray:
        return batching.to_display(self.images, self.settings.data)

    def _write_images(self, folder: Path) -> None:
        folder.mkdir()
        shown = self._to_display()
        if shown.shape[-1] in (1, 3):
            for i, image in enumerate(shown):
                (folder / f"{i:05d}.png").write_bytes(images.png(image))


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
