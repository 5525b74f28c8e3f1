"""Group normalization whose number of groups is found when the channels are known."""

import keras

from gnexp.config import groups
from gnexp.group_normalization import GroupNormalization


@keras.saving.register_keras_serializable(package="gnexp")
class FittedGroupNormalization(GroupNormalization):
    """Group normalization that fits its groups to the channels of its inputs; see `config.groups.count`.

    Args:
      groups: as in `GroupNormalization`.
      fit: "exact", or "gcd" to take the greatest divisor that `groups`, or `channels_per_group`, shares with the
        channels.
      channels_per_group: used instead of `groups` if it is not 0.
      **kwargs: of `GroupNormalization`.

    Raises:
      ValueError: an argument is out of its range; when the layer is built, the channels cannot be split.
    """

    def __init__(self, groups=None, fit="exact", channels_per_group=0, **kwargs):
        super().__init__(groups, **kwargs)
        _check(fit, channels_per_group)
        self.fit = fit
        self.channels_per_group = int(channels_per_group)

    def _groups_of(self, channels):
        return groups.count(channels, self.groups, self.fit, self.channels_per_group)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "fit": self.fit, "channels_per_group": self.channels_per_group}


def _check(fit, channels_per_group):
    if fit not in groups.FITS:
        raise ValueError(f"fit must be one of {', '.join(groups.FITS)}. Received: fit={fit!r}")
    if not isinstance(channels_per_group, int) or isinstance(channels_per_group, bool) or channels_per_group < 0:
        raise ValueError(f"channels_per_group must be a whole number of 0 or more. Received: {channels_per_group!r}")
