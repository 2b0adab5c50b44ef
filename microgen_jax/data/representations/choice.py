"""Which representation a data set is given: as asked for, or by what its source holds."""

from microgen_jax.config.schema import DataConfig
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
    if data.representation == "auto":
        asked = made or any(getattr(data, name) != getattr(DataConfig, name) for name in COLOURS)
        return "orientation" if kind == "ebsd" and not asked else "image"
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
    return "orientation"
