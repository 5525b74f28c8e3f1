"""What a network returns."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a task asks of a network.

    Attributes:
      count: how many numbers the network returns for each image, or for each pixel.
      per_pixel: whether it returns them for each pixel: the shape is then (n, height, width, count), otherwise
        (n, count).
      logits: whether they must be logits, so that an activation at the end is a mistake.
    """

    count: int
    per_pixel: bool = False
    logits: bool = True

    def shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of one output for inputs of the shape (height, width, channels) or (numbers,)."""
        return (*input_shape[:-1], self.count) if self.per_pixel else (self.count,)

    @property
    def each(self) -> str:
        """What each of the numbers is for, in words."""
        return "one for each class" if self.logits else "one for each target"
