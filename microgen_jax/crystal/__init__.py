"""Crystallography and grain geometry: orientations, Laue groups, IPF colours, EBSD maps, segmentation, polycrystals.

Arrays are numpy's; nothing here needs JAX. Orientations are unit quaternions (`orientations`, eq. 1 and 2).
"""

from microgen_jax.crystal.embedding import Embedding, embedding
from microgen_jax.crystal.ipf import colour_direction, direction_colour, ipf_colour, off_key_share
from microgen_jax.crystal.maps import EbsdMap, read_map, write_map
from microgen_jax.crystal.polycrystal import Polycrystal, polycrystal
from microgen_jax.crystal.readers.points import Phase
from microgen_jax.crystal.segmentation import flat_share, grains_from_colour, grains_from_orientations
from microgen_jax.crystal.symmetry import LAUE_GROUPS, laue_group, misorientation_angle

__all__ = [
    "LAUE_GROUPS",
    "EbsdMap",
    "Embedding",
    "Phase",
    "Polycrystal",
    "colour_direction",
    "direction_colour",
    "embedding",
    "flat_share",
    "grains_from_colour",
    "grains_from_orientations",
    "ipf_colour",
    "laue_group",
    "misorientation_angle",
    "off_key_share",
    "polycrystal",
    "read_map",
    "write_map",
]
