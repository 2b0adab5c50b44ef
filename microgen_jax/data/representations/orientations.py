"""Maps of orientations as channels: structure, one embedding a Laue group, and phases; and back to orientations.

A window of a map has six channels, float32 [H, W, 6]: the unit quaternion (sample -> crystal), the number of the
phase in `Orientations.phases`, and the number of the grain. Its channels for a network are, by name:

  structure:right, structure:below, structure:distance      where the grains are (`crystal.structure`)
  embedding:GROUP:i                                         what each grain is (`crystal.embedding`), for each Laue
                                                            group present; 0 where the pixel is of another group
  phase:NAME                                                +1 where the pixel is of this phase, -1 elsewhere; only
                                                            where there are several phases

The first three are one stage of a cascade and the others, given them, the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, UInt8

from microgen_jax.crystal.columns import Columns
from microgen_jax.crystal.ebsd_map import EbsdMap
from microgen_jax.crystal.embedding import Embedding, embedding
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.orientations import normalise
from microgen_jax.crystal.readers.points import Phase, assumed_frame
from microgen_jax.crystal.reconstruction import merge_alike, region_means
from microgen_jax.crystal.segmentation import ORIENTATION_TOLERANCE
from microgen_jax.crystal.structure import CHANNELS as STRUCTURE
from microgen_jax.crystal.structure import MIN_PIXELS, grains_from_structure, structure_channels
from microgen_jax.crystal.symmetry import misorientation_angle

WINDOW_CHANNELS = 6
FLOAT32 = np.dtype(np.float32)
FRAME = assumed_frame("generated in the frame of the map: x right, y down, z inwards")
PIXEL_SIZE_NOTE = "the pixel size is not known: written as 1 um"


class PhaseName(NamedTuple):
    """A phase that a model knows.

    Attributes:
      name: as the maps have it.
      laue_group: its Laue group, one of `symmetry.LAUE_GROUPS`.
    """

    name: str
    laue_group: str


@dataclass(frozen=True)
class OrientationStack:
    """Generated maps, N of one size.

    Attributes:
      quaternions: unit quaternions, sample -> crystal.
      phase: number of the phase of each pixel.
      grains: number of the grain of each pixel; numbers of different maps differ.
      length: |values| / radius of what was decoded, 1 for an orientation.
      residual: sine of the angle between what was decoded and the nearest embedding, 0 for an orientation.
    """

    quaternions: Float32[np.ndarray, "N H W 4"]
    phase: Int32[np.ndarray, "N H W"]
    grains: Int32[np.ndarray, "N H W"]
    length: Float32[np.ndarray, "N H W"]
    residual: Float32[np.ndarray, "N H W"]

    @classmethod
    def joined(cls, stacks: Sequence["OrientationStack"]) -> "OrientationStack":
        """Return several stacks as one."""
        parts = {name: [vars(stack)[name] for stack in stacks] for name in cls.__dataclass_fields__}
        ends = np.cumsum([0, *(int(grains.max()) + 1 for grains in parts["grains"])])
        parts["grains"] = [grains + np.int32(start) for grains, start in zip(parts["grains"], ends)]
        return cls(**{name: np.concatenate(arrays) for name, arrays in parts.items()})


@dataclass(frozen=True)
class Orientations:
    """The representation of orientation maps.

    Attributes:
      phases: the phases present.
      min_pixels: least size of a generated grain.
      tolerance: misorientation, in degrees, up to which neighbouring regions are one grain.
    """

    phases: tuple[PhaseName, ...]
    min_pixels: int = MIN_PIXELS
    tolerance: float = ORIENTATION_TOLERANCE

    @property
    def groups(self) -> tuple[str, ...]:
        """Laue groups of the phases, each once."""
        return tuple(dict.fromkeys(phase.laue_group for phase in self.phases))

    @property
    def stages(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Name of each stage, and the names of its channels."""
        values = [name for group in self.groups for name in embedding(group).names]
        if len(self.phases) > 1:
            values += [f"phase:{phase.name}" for phase in self.phases]
        return ("structure", STRUCTURE), ("values", tuple(values))

    @property
    def channels(self) -> int:
        """Number of channels of all stages."""
        return sum(len(names) for _, names in self.stages)

    def encode(
        self, window: Float32[np.ndarray, "*N H W 6"], dtype: np.dtype = FLOAT32
    ) -> Float32[np.ndarray, "*N H W C"]:
        """Return the channels of all stages.

        Args:
          window: quaternion, phase and grain of each pixel; every pixel must have a phase.
          dtype: float32, the type of all windows.
        """
        quaternions, phase = window[..., :4], np.rint(window[..., 4]).astype(np.int32)
        parts = [structure_channels(np.rint(window[..., 5]).astype(np.int32))]
        for group in self.groups:
            inside = np.isin(phase, self._phases_of(group))
            channels = np.zeros((*phase.shape, embedding(group).channels), np.float32)
            channels[inside] = _scaled(embedding(group), quaternions[inside])
            parts.append(channels)
        if len(self.phases) > 1:
            parts.append(2 * np.eye(len(self.phases), dtype=np.float32)[phase] - 1)
        return np.concatenate(parts, axis=-1)

    def regions(self, structure: Float[np.ndarray, "N H W C"]) -> Int32[np.ndarray, "N H W"]:
        """Return the regions of generated structures; numbers of different maps differ.

        Args:
          structure: channels of the structure stage.
        """
        return _numbered([grains_from_structure(one, min_pixels=self.min_pixels) for one in structure])

    def given(self, structure: Float[np.ndarray, "N H W C"]) -> Float32[np.ndarray, "N H W C"]:
        """Return what the second stage is given: the structure decoded and encoded again.

        Args:
          structure: channels of the structure stage, as generated.
        """
        return structure_channels(self.regions(structure))

    def decode(self, channels: Float[np.ndarray, "N H W C"], reconstruct: str = "grains") -> OrientationStack:
        """Return the orientations that generated channels stand for.

        Args:
          channels: the channels of all stages.
          reconstruct: 'grains': a grain is a region of the structure, merged with its neighbours while they are
            within `tolerance`, and has one orientation, the decoded mean of its pixels; 'none': every pixel is
            decoded by itself, and grains are the regions.
        """
        regions = self.regions(channels[..., : len(STRUCTURE)])
        values = channels[..., len(STRUCTURE) :].astype(np.float64)
        if reconstruct == "none":
            pixels = self._decoded(values.reshape(-1, values.shape[-1]))
            return _stack(pixels.reshape(*regions.shape, -1), regions)
        regions, found = merge_alike(
            regions, lambda numbers: self._decoded(region_means(values, numbers)), self._alike
        )
        return _stack(found[regions], regions)

    def colours(
        self,
        quaternions: Float[np.ndarray, "*N H W 4"],
        phase: Int[np.ndarray, "*N H W"],
        direction: str = "Z",
    ) -> UInt8[np.ndarray, "*N H W 3"]:
        """Return IPF colours.

        Args:
          quaternions: unit quaternions, sample -> crystal.
          phase: number of the phase of each pixel; -1 is black.
          direction: sample direction: X, Y or Z.
        """
        image = np.zeros((*phase.shape, 3), np.uint8)
        for number, known in enumerate(self.phases):
            inside = phase == number
            image[inside] = ipf_colour(quaternions[inside].astype(np.float64), direction, known.laue_group)
        return image

    def maps(self, stack: OrientationStack, pixel_size_um: float) -> tuple[EbsdMap, ...]:
        """Return generated maps as scans, in the frame of the image; phases are numbered from 1.

        Args:
          stack: decoded maps.
          pixel_size_um: side of a pixel in um; 0 = not known, taken as 1 and noted.
        """
        side, shape = pixel_size_um or 1.0, stack.phase.shape[1:]
        phases = tuple(Phase(number, *phase) for number, phase in enumerate(self.phases, start=1))
        return tuple(
            EbsdMap(
                orientations=normalise(quaternions.astype(np.float64)),
                phase=phase + np.int32(1),
                indexed=np.ones(shape, bool),
                phases=phases,
                pixel_size=(side, side),
                unit="um",
                frame=FRAME,
                columns=Columns({}, np.full(shape, -1)),
                metadata={},
                notes=() if pixel_size_um else (PIXEL_SIZE_NOTE,),
            )
            for quaternions, phase in zip(stack.quaternions, stack.phase)
        )

    def render(self, channels: Float[np.ndarray, "N H W C"]) -> UInt8[np.ndarray, "N H W 3"]:
        """Return generated channels, reconstructed, in IPF-Z colours; structures alone as boundaries, black on white.

        Args:
          channels: the channels of all stages, or of the structure alone.
        """
        if channels.shape[-1] == len(STRUCTURE):
            edges = structure_channels(self.regions(channels))[..., :2].max(axis=-1, keepdims=True) > 0
            return np.where(edges, np.uint8(0), np.uint8(255)).repeat(3, axis=-1)
        found = self.decode(channels)
        return self.colours(found.quaternions, found.phase)

    def render_window(
        self, window: Float32[np.ndarray, "*N H W 6"], dtype: np.dtype = FLOAT32
    ) -> UInt8[np.ndarray, "*N H W 3"]:
        """Return a real window in IPF-Z colours, without a way through the channels.

        Args:
          window: quaternion, phase and grain of each pixel.
          dtype: float32, the type of all windows.
        """
        return self.colours(window[..., :4], np.rint(window[..., 4]).astype(np.int32))

    def _phases_of(self, group: str) -> list[int]:
        return [number for number, phase in enumerate(self.phases) if phase.laue_group == group]

    def _decoded(self, values: Float[np.ndarray, "M C"]) -> Float[np.ndarray, "M 7"]:
        """Return quaternion, phase, length and residual of each row."""
        count, start = len(values), 0
        phase = np.zeros(count, int)
        if len(self.phases) > 1:
            phase = values[:, -len(self.phases) :].argmax(axis=-1)
        out = np.zeros((count, 7))
        out[:, 4] = phase
        for group in self.groups:
            space = embedding(group)
            inside = np.isin(phase, self._phases_of(group))
            own = values[inside, start : start + space.channels] / space.gains
            orientation, length, residual = space.decode(own)
            out[inside, :4], out[inside, 5], out[inside, 6] = orientation, length, residual
            start += space.channels
        return out

    def _alike(self, a: Float[np.ndarray, "P 7"], b: Float[np.ndarray, "P 7"]) -> np.ndarray:
        alike = np.zeros(len(a), bool)
        for number, phase in enumerate(self.phases):
            both = (a[:, 4] == number) & (b[:, 4] == number)
            angle = misorientation_angle(a[both, :4], b[both, :4], phase.laue_group)
            alike[both] = angle <= np.radians(self.tolerance)
        return alike


def _scaled(space: Embedding, quaternions: np.ndarray) -> np.ndarray:
    return (space.gains * space.embed(quaternions.astype(np.float64))).astype(np.float32)


def _numbered(labels: Sequence[Int[np.ndarray, "H W"]]) -> Int32[np.ndarray, "N H W"]:
    ends = np.cumsum([0, *(int(one.max()) + 1 for one in labels)])
    return np.stack([one + start for one, start in zip(labels, ends)]).astype(np.int32)


def _stack(pixels: Float[np.ndarray, "N H W 7"], regions: np.ndarray) -> OrientationStack:
    return OrientationStack(
        quaternions=pixels[..., :4].astype(np.float32),
        phase=pixels[..., 4].astype(np.int32),
        grains=regions,
        length=pixels[..., 5].astype(np.float32),
        residual=pixels[..., 6].astype(np.float32),
    )
