"""A source of maps as the images that show them, for what looks at images."""

from microgen_jax.data.catalogue import image_name
from microgen_jax.data.representations import Images, Orientations
from microgen_jax.types import Record, Source


class Rendered:
    """The records of a source of orientation maps, with IPF-Z colours as their images."""

    def __init__(self, source: Source, representation: Orientations) -> None:
        """Take a source and what its windows mean."""
        self._source, self._representation = source, representation

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        record = self._source[index]
        return record._replace(image=self._representation.render_window(record.image))

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return image_name(self._source, index)


def rendered(source: Source, representation: Images | Orientations) -> Source:
    """Return a source whose records are images: itself, or the maps of a source in IPF-Z colours.

    Args:
      source: source of images or orientation maps.
      representation: what the channels mean.
    """
    return Rendered(source, representation) if isinstance(representation, Orientations) else source
