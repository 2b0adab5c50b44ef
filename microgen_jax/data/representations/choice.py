"""Which representation a data set is given: as asked for, or by what its source holds."""

from microgen_jax.config.schema import DataConfig
from microgen_jax.data.representations import Orientations, Representation
from microgen_jax.errors import UserError

SOURCES = ("ebsd", "polycrystal")  # that hold orientations
COLOURS = ("channels", "ipf_direction", "colour_key")  # fields that ask for colours
AVERAGING = {
    "fill_unindexed": "black",
    "resample": "area",
    "pad": "background",
}  # values that are no orientations


def choose(data: DataConfig, kind: str) -> str:
    """Return 'image' or 'orientation'; 'auto' takes the orientations of scans unless colours are asked for.

    Args:
      data: `data` part of the configuration.
      kind: kind of the source.

    Raises:
      UserError: orientations of a source that has none, or with a field that would make something else of them.
    """
    made = [name for name, value in AVERAGING.items() if getattr(data, name) == value]
    colours = [name for name in COLOURS if getattr(data, name) != getattr(DataConfig, name)]
    if data.representation == "auto":
        return "orientation" if kind == "ebsd" and not made + colours else "image"
    if data.representation == "image":
        return "image"
    if kind not in SOURCES:
        problem = (
            f"'orientation' needs EBSD scans or the built-in polycrystals, and this is the source {kind!r}"
        )
        raise UserError("representation", problem, "set data.representation=image")
    for name in made:
        problem = f"{getattr(data, name)!r} makes pixels that have no orientation (data.representation)"
        raise UserError(name, problem, f"set {getattr(DataConfig, name)}")
    for name in colours:
        problem = (
            f"{getattr(data, name)!r} asks for colours, and orientations have none (data.representation)"
        )
        raise UserError(name, problem, f"set {getattr(DataConfig, name)}, or data.representation=image")
    return "orientation"


def shows_ipf_maps(data: DataConfig, representation: Representation) -> bool:
    """Return whether images are IPF maps: those of orientations are, in the colours of IPF-Z.

    Args:
      data: `data` part of the configuration.
      representation: what the channels mean.
    """
    if isinstance(representation, Orientations):
        return True
    return bool(data.ipf_direction) and representation.channels == 3
