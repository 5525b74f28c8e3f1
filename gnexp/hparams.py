"""What TensorBoard's HParams plugin wants to know of a session: its start with every hyperparameter, and its end.

The plugin believes the first start and the first end that it finds in a run, so each is written once.
"""

import time
from collections.abc import Mapping

from ml_collections import ConfigDict
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from gnexp.config import flatten

SUCCESS = api_pb2.STATUS_SUCCESS
FAILURE = api_pb2.STATUS_FAILURE

# Where data comes from is not a hyperparameter: `data.name` is the dataset that was really used.
_NOT_HYPERPARAMETERS = ("data.directory", "data.fallback")


def of(config: ConfigDict) -> dict[str, bool | int | float | str]:
    """Returns a config's hyperparameters by dotted path, as values that the plugin can hold.

    A value whose type may differ between configs is text in all of them: the dashboard cannot sort a mixed column.
    """
    values = flatten(config)
    for path in _NOT_HYPERPARAMETERS:
        del values[path]
    values["data.validation"] = str(values["data.validation"])
    return {
        path: ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else value
        for path, value in values.items()
    }


def session_start(hparams: Mapping[str, bool | int | float | str]) -> Summary:
    """Returns the start of a session that is a group of its own, named for its run."""
    # By default the group's name is a hash of the values: two trainings of one config would become one row.
    return hparams_pb(dict(hparams), trial_id="", start_time_secs=time.time())


def session_end(status: int) -> Summary:
    """Returns the end of a session.

    Args:
      status: SUCCESS or FAILURE.
    """
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=metadata.create_summary_metadata(data))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return Summary(value=[value])
