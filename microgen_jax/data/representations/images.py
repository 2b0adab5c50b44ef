"""Images as channels: grey, RGB or n channels in [-1, 1]; and back to 8 bits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from microgen_jax.data import resize
from microgen_jax.images import to_uint8


@dataclass(frozen=True)
class Images:
    """The representation of images, one stage.

    Attributes:
      channels: number of channels.
      to_grey: whether colour images become their luminance where there is one channel.
    """

    channels: int
    to_grey: bool = False

    @property
    def stages(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Name of the only stage, and the names of its channels."""
        names = {1: ("grey",), 3: ("R", "G", "B")}
        return (("image", names.get(self.channels, tuple(f"channel:{k}" for k in range(self.channels)))),)

    def encode(self, window: Shaped[np.ndarray, "H W c"], dtype: np.dtype) -> Float32[np.ndarray, "H W C"]:
        """Return the channels in [-1, 1].

        Args:
          window: part of an image, in its own units.
          dtype: type of the image as stored, which tells its range.

        Raises:
          UserError: channels that do not fit.
        """
        return resize.to_float(resize.to_channels(window, self.channels, to_grey=self.to_grey), dtype)

    def render_window(
        self, window: Shaped[np.ndarray, "H W c"], dtype: np.dtype
    ) -> UInt8[np.ndarray, "H W C"]:
        """Return a real window as a generated image would be shown, without a way through the channels.

        Args:
          window: part of an image, in its own units.
          dtype: type of the image as stored.

        Raises:
          UserError: channels that do not fit.
        """
        return to_uint8(self.encode(window, dtype))

    def render(self, channels: Float[np.ndarray, "*N H W C"]) -> UInt8[np.ndarray, "*N H W C"]:
        """Return 8-bit images.

        Args:
          channels: values in [-1, 1].
        """
        return to_uint8(channels)
