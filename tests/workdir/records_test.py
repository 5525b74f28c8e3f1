"""JSON files are read back as they were written, or refused in one line that names them."""

import json
import math

import pytest

from gnexp.config.stored import to_json
from gnexp.errors import DamagedError, UserError
from gnexp.workdir import files, provenance, result, trial_record
from gnexp.workdir.folder import read_config

pytestmark = pytest.mark.any_backend

_EPOCH = {
    "epoch": 1,
    "loss": 0.5,
    "accuracy": 0.5,
    "val_loss": 0.1,
    "val_accuracy": 0.9,
    "learning_rate": 1e-3,
    "seconds": 3.5,
}
_RESULT = {
    "status": "success",
    "dataset": "digits",
    "validation": 0.5,
    "objective": "val_accuracy",
    "best_value": 0.9,
    "best_epoch": 1,
    "test_accuracy": 0.8,
    "test_loss": 0.7,
    "seconds": 3.5,
    "history": [_EPOCH],
}
_TRIAL = {
    "trial_id": "0003",
    "hyperparameters": {
        "space": [{"class_name": "Choice", "config": {"name": "model.groups", "values": [1, 2], "conditions": []}}],
        "values": {"model.groups": 2},
    },
    "metrics": {"metrics": {}},
    "score": 0.5,
    "best_step": 0,
    "status": "COMPLETED",
    "message": None,
}


def _flips(content: bytes):
    for place in range(len(content)):
        yield content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        yield content[:place]


@pytest.mark.parametrize("value", [_RESULT, [{"a": 1.5}, {"b": [True, None, "ü\udcff"]}]], ids=["dict", "list"])
def test_no_byte_of_a_file_can_change_unnoticed(tmp_path, value):
    path = tmp_path / "record.json"
    files.write_json(path, value)
    refused = 0
    for damaged in _flips(path.read_bytes()):
        path.write_bytes(damaged)
        try:
            found = files.read_json(path)
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            # Only white space, or a key of the checksum, which then is an unknown key.
            assert found == value or not known(found, value)
    assert refused > len(damaged)


def known(found, value) -> bool:
    """Tells whether a value has no key that the other has not."""
    pairs = zip(found, value, strict=True) if isinstance(value, list) else [(found, value)]
    return all(one.keys() <= other.keys() for one, other in pairs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "null",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": -Infinity}',
        '{"a": 1' + "0" * 400 + "}",
        "[" * 100000,
        "[" * 60 + "]" * 60,
        '{"a": ' * 900 + "1" + "}" * 900,
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        "\ufeff{}",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_json_of_ours_is_one_line_naming_the_file(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        DamagedError, match=f"^{path} is damaged .*: restore it, or choose another --workdir$"
    ) as caught:
        files.read_json(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("wrap", [lambda record: record, lambda record: [{"a": 1}, record]], ids=["dict", "list"])
def test_a_newer_format_is_said_to_be_newer(tmp_path, wrap):
    path = tmp_path / "record.json"
    path.write_text(json.dumps(wrap({"format": 2, "checksum": "blake4:1"})))
    with pytest.raises(UserError, match=f"{path} has the format 2, of a newer gnexp: upgrade gnexp"):
        files.read_json(path)


@pytest.mark.parametrize("seal", [{"format": 1}, {"checksum": "x"}, {"format": "1", "checksum": "x"}, {"format": True}])
def test_half_a_seal_is_damage(tmp_path, seal):
    (tmp_path / "record.json").write_text(json.dumps({"a": 1, **seal}))
    with pytest.raises(DamagedError, match="its checksum is wrong; if you edited it, remove its entries"):
        files.read_json(tmp_path / "record.json")


def test_what_an_older_gnexp_wrote_is_read(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(_RESULT))
    assert result.finished(tmp_path) == result.Result(**result.nested(_RESULT))
    (tmp_path / "result.json").write_text(json.dumps({"status": "failure", "message": "m"}))
    assert result.failed(tmp_path) == "m"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "MAGIC"},
        {"status": None},
        {"more": 1},
        {"best_value": "0.9"},
        {"best_value": None},
        {"best_value": True},
        {"best_epoch": 0},
        {"best_epoch": 2},
        {"best_epoch": 1.5},
        {"history": []},
        {"history": {}},
        {"history": [3]},
        {"history": [{**_EPOCH, "epoch": 2}]},
        {"history": [{**_EPOCH, "loss": "0.5"}]},
        {"history": [{"epoch": 1}]},
        {"history": [{**_EPOCH, "more": []}]},
        {"validation": []},
    ],
    ids=str,
)
def test_a_result_that_is_none_is_damaged(tmp_path, change):
    files.write_json(tmp_path / "result.json", {**_RESULT, **change})
    for reader in (result.finished, result.failed):
        with pytest.raises(DamagedError, match=r"result\.json is damaged"):
            reader(tmp_path)


@pytest.mark.parametrize("missing", _RESULT)
def test_a_result_without_one_of_its_values_is_damaged(tmp_path, missing):
    files.write_json(tmp_path / "result.json", {key: value for key, value in _RESULT.items() if key != missing})
    with pytest.raises(DamagedError, match=r"result\.json is damaged"):
        result.finished(tmp_path)


@pytest.mark.parametrize("value", ["x", {}, [1], [{}], [{"started": 1}], [{"started": "now", "command": "x"}]], ids=str)
def test_a_provenance_that_is_none_is_damaged(tmp_path, value):
    files.write_json(tmp_path / "provenance.json", value)
    with pytest.raises(DamagedError, match=r"provenance\.json is damaged"):
        provenance.read(tmp_path / "provenance.json")


@pytest.mark.parametrize(
    "change",
    [
        {"trial_id": "../../elsewhere"},
        {"trial_id": "0004"},
        {"status": "MAGIC"},
        {"score": "0.5"},
        {"message": 3},
        {"hyperparameters": {**_TRIAL["hyperparameters"], "values": {}}},
        {"hyperparameters": {**_TRIAL["hyperparameters"], "values": {"model.groups": [2]}}},
        {"hyperparameters": []},
        {"more": 1},
    ],
    ids=str,
)
def test_a_trial_that_is_none_is_damaged(tmp_path, change):
    path = tmp_path / "trial_0003" / "trial.json"
    files.write_json(path, _TRIAL)
    assert trial_record.read(path) == _TRIAL
    files.write_json(path, {**_TRIAL, **change})
    with pytest.raises(DamagedError, match=r"trial\.json is damaged"):
        trial_record.read(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", -1),
        ("epochs", "x"),
        ("model", 3),
        ("data", []),
        ("schedule", None),
        ("optimizer.learning_rate", 0),
        ("model.groups", 10**40),
        ("sweep", 3),
        ("sweep", {}),
        ("objective", "MAGIC"),
    ],
)
def test_a_stored_config_with_a_value_that_its_key_cannot_have_is_damaged(tmp_path, config, path, value):
    stored = to_json(config)
    *sections, key = path.split(".")
    section = stored
    for name in sections:
        section = section[name]
    section[key] = value
    files.write_json(tmp_path / "config.json", stored)
    with pytest.raises(DamagedError, match=r"config\.json is damaged"):
        read_config(tmp_path)


def test_numbers_come_back_to_the_last_bit(tmp_path):
    numbers = [0.1 + 0.2, math.pi, 5e-324, 1.7976931348623157e308, -0.0, 2**63, 1 << 64]
    files.write_json(tmp_path / "numbers.json", {"numbers": numbers})
    found = files.read_json(tmp_path / "numbers.json")["numbers"]
    assert [repr(number) for number in found] == [repr(number) for number in numbers]


def test_a_damaged_error_survives_being_sent_to_another_process(tmp_path):
    import pickle

    error = DamagedError(tmp_path, "why")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
