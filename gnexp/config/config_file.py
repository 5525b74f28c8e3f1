"""A config file that gives one config, whatever file that config came from."""

import pprint

from ml_collections import ConfigDict

from gnexp.config.stored import to_json

_TEXT = '''"""{title}"""

from gnexp.config import from_json


def get_config():
    """Returns the trial's config."""
    return from_json(
{values}
    )
'''


def text(title: str, config: ConfigDict) -> str:
    """Returns the text of a config file for `--config`.

    Args:
      title: its docstring.
      config: what its `get_config` returns.
    """
    return _TEXT.format(title=title, values=pprint.pformat(to_json(config), width=100))
