"""The HParams plugin's own reader must understand our records."""

import time

import pytest
from tensorboard.plugins.hparams import api_pb2, metadata

from gnexp.config.schema import FIELDS
from gnexp.events import hparams

pytestmark = pytest.mark.any_backend


def _content(summary):
    (value,) = summary.value
    assert value.metadata.plugin_data.plugin_name == "hparams"
    return value.tag, value.metadata.plugin_data.content


def test_a_start_carries_every_hyperparameter_with_its_type(config):
    tag, content = _content(hparams.session_start(hparams.of(config)))
    assert tag == metadata.SESSION_START_INFO_TAG
    start = metadata.parse_session_start_info_plugin_data(content)
    fixed = {path for path, field in FIELDS.items() if field.shown and not path.endswith(".args")}
    args = {f"model.args.{key}" for key in config.model.args}
    assert set(start.hparams) == {path for path in fixed if not path.startswith("sweep.")} | args
    assert start.hparams["model.groups"].number_value == 8
    assert start.hparams["model.epsilon"].number_value == 1e-6
    assert start.hparams["deterministic"].bool_value is True
    assert start.hparams["optimizer.name"].string_value == "amsgrad"
    assert start.hparams["model.args.filters"].string_value == "32, 64"
    assert start.group_name == ""
    assert start.start_time_secs == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("validation", [0.1, 5000, "test"])
def test_a_value_of_many_types_is_text_in_every_session(config, validation):
    config.data.validation = validation
    assert hparams.of(config)["data.validation"] == str(validation)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(hparams.SUCCESS, api_pb2.STATUS_SUCCESS), (hparams.FAILURE, api_pb2.STATUS_FAILURE)],
)
def test_an_end_carries_its_status_and_time(status, expected):
    tag, content = _content(hparams.session_end(status))
    assert tag == metadata.SESSION_END_INFO_TAG
    end = metadata.parse_session_end_info_plugin_data(content)
    assert end.status == expected
    assert end.end_time_secs == pytest.approx(time.time(), abs=60)
