"""What TensorBoard's HParams plugin reads: a sweep's columns, and each session's start and end.

The plugin uses the first start and the first end that it finds in a run, so each is written once.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from gnexp.config.paths import flatten
from gnexp.config.schema import field
from gnexp.space.columns import Column

SUCCESS = api_pb2.STATUS_SUCCESS
FAILURE = api_pb2.STATUS_FAILURE

_LONGEST_LIST = 10


def of(config: ConfigDict) -> dict[str, bool | int | float | str]:
    """Returns a config's hyperparameters by dotted path, as values that the plugin can hold.

    A value whose type may differ between configs is text in all of them: the dashboard cannot sort a mixed column.
    """
    flat = flatten(config)
    # Where data comes from is not a hyperparameter: `data.name` is the dataset actually used.
    values = {path: value for path, value in flat.items() if not (known := field(path, flat)) or known.shown}
    values["data.validation"] = str(values["data.validation"])
    return {path: _plain(value) for path, value in values.items()}


def _plain(value: Any) -> bool | int | float | str:
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def experiment_record(columns: Sequence[Column], metrics: Mapping[str, str]) -> Summary:
    """Returns the record that defines the dashboard's columns and their order.

    Args:
      columns: the hyperparameters.
      metrics: the display name of each tag, the most important first.
    """
    # Built from protocol buffers, because the plugin's own API cannot say which hyperparameters differ.
    record = api_pb2.Experiment(
        time_created_secs=time.time(),
        hparam_infos=[_info(column) for column in columns],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=name) for tag, name in metrics.items()
        ],
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=record))


def _info(column: Column) -> api_pb2.HParamInfo:
    example = column.values[0]
    info = api_pb2.HParamInfo(name=column.name, differs=column.differs)
    if isinstance(example, bool):
        info.type = api_pb2.DATA_TYPE_BOOL
    elif isinstance(example, str):
        info.type = api_pb2.DATA_TYPE_STRING
    else:
        info.type = api_pb2.DATA_TYPE_FLOAT64
        # The dashboard filters longer lists as text, which it refuses for numbers.
        if column.interval or len(column.values) >= _LONGEST_LIST:
            info.domain_interval.min_value, info.domain_interval.max_value = min(column.values), max(column.values)
            return info
    if not column.interval:
        info.domain_discrete.extend(column.values)
    return info


def session_start(hparams: Mapping[str, bool | int | float | str], group: str = "") -> Summary:
    """Returns the start of a session.

    Args:
      hparams: every hyperparameter, as `of` returns them.
      group: the name of the session's group, which is a row in the dashboard; by default the session is a group of its
        own, named after its run.
    """
    # By default the group's name is a hash of the values: two trainings of one config would become one row.
    return hparams_pb(dict(hparams), trial_id=group, start_time_secs=time.time())


def session_end(status: int) -> Summary:
    """Returns the end of a session.

    Args:
      status: SUCCESS or FAILURE.
    """
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))


def _summary(tag: str, data: plugin_data_pb2.HParamsPluginData) -> Summary:
    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))
    value.tensor.CopyFrom(metadata.NULL_TENSOR)
    return Summary(value=[value])
