"""How many groups group normalization splits a number of channels into."""

import math

FITS = ("exact", "gcd")


def count(channels: int, groups: int, fit: str = "exact", channels_per_group: int = 0) -> int:
    """Returns the number of groups for a layer's channels.

    With `fit="gcd"`, a number that does not divide the channels is replaced by the greatest divisor that it shares with
    them, as opacus does it (`opacus/validators/batch_norm.py`: `math.gcd(32, channels)` groups).

    Args:
      channels: the layer's channels, 1 or more.
      groups: 1 or more, or -1 for a group per channel.
      fit: one of `FITS`.
      channels_per_group: if it is not 0, it is used instead of `groups`.

    Raises:
      ValueError: the channels cannot be split so; the message says what would fit.
    """
    asked = channels_per_group or (channels if groups == -1 else groups)
    divisor = math.gcd(asked, channels) if fit == "gcd" else asked
    if channels % divisor:
        what = "channels per group" if channels_per_group else "groups"
        raise ValueError(f"{asked} {what} do not divide {channels} channels; allowed: {in_words(channels)}")
    return channels // divisor if channels_per_group else divisor


def in_words(channels: int) -> str:
    """Returns the divisors of a number of channels, as a message lists them."""
    return ", ".join(str(divisor) for divisor in range(1, channels + 1) if channels % divisor == 0)
