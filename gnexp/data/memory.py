"""How much memory data may take: the config's `data.memory`, by default a fourth of what this process can have."""

from ml_collections import ConfigDict

from gnexp.config.data_keys import in_bytes
from gnexp.terminal import machine

_PART = 4  # The backend has the training images once more, and selecting some of them copies those.


def of(config: ConfigDict) -> int:
    """Returns the bytes that a config's `data` section allows."""
    return in_bytes(config.memory) or machine.memory() // _PART
