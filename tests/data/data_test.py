"""The datasets: complete, split correctly, found in every place, and never used with a damaged file."""

import functools
import gzip
import hashlib
import http.server
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import unittest.mock
import urllib.request

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gnexp.data.load import available, load
from gnexp.errors import UserError

pytestmark = pytest.mark.any_backend

FILES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]
FASHION_MNIST, DIGITS = 60_000, 1437  # training images


@pytest.fixture
def section(config, monkeypatch, tmp_path):
    """Returns a config's `data` section that finds nothing on this machine, wherever Fashion-MNIST may be on it."""
    monkeypatch.delenv("GNEXP_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return config.data


@pytest.fixture
def offline(monkeypatch):
    """Makes every download fail at once, and returns the list of what was asked for."""
    import keras

    asked = []

    def get_file(fname, origin, **options):
        asked.append(origin)
        raise Exception(f"URL fetch failure on {origin}: None -- Network is unreachable")  # Keras raises this class.

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return asked


def place(folder: pathlib.Path, real: pathlib.Path) -> pathlib.Path:
    """Creates a folder with links to the four real files."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).symlink_to(real / "fashion-mnist" / name)
    return folder


def flip_a_byte(path: pathlib.Path) -> None:
    """Replaces a link with a copy that has one bit in the middle changed."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def idx(path: pathlib.Path) -> np.ndarray:
    """Reads a gzipped IDX file by its own header (http://yann.lecun.com/exdb/mnist)."""
    with gzip.open(path) as file:
        zeros, kind, rank = struct.unpack(">HBB", file.read(4))
        assert (zeros, kind) == (0, 8), "not an IDX file of unsigned bytes"
        shape = struct.unpack(f">{rank}I", file.read(4 * rank))
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


# Splits


@pytest.mark.parametrize(
    ("validation", "held_out"),
    [(1, 1), (100, 100), (DIGITS - 1, DIGITS - 1), (0.1, 144), (0.5, 718), (0.9996, DIGITS - 1), (0.0004, 1)],
)
def test_validation_is_the_end_of_the_training_set_and_in_no_other_split(section, validation, held_out):
    section.name, section.validation = "digits", "test"
    whole = load(section)
    section.validation = validation
    splits = load(section)
    for part in ("inputs", "targets"):
        mine, all_of_it = getattr(splits.train, part), getattr(whole.train, part)
        np.testing.assert_array_equal(mine, all_of_it[: DIGITS - held_out])
        np.testing.assert_array_equal(getattr(splits.validation, part), all_of_it[DIGITS - held_out :])
        np.testing.assert_array_equal(getattr(splits.test, part), getattr(whole.test, part))


def test_validation_on_the_test_set_holds_nothing_out(section):
    section.name, section.validation = "digits", "test"
    splits = load(section)
    np.testing.assert_array_equal(splits.validation.inputs, splits.test.inputs)
    np.testing.assert_array_equal(splits.validation.targets, splits.test.targets)
    assert len(splits.train.targets) == DIGITS


@pytest.mark.parametrize("validation", [DIGITS, 60_000, 0.0003, 0.9999])
def test_a_validation_that_leaves_one_side_empty_is_refused(section, validation):
    section.name, section.validation = "digits", validation
    with pytest.raises(UserError) as caught:
        load(section)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert f"config.data.validation={validation} " in message
    assert str(DIGITS) in message


# Digits


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Enlarges square images bilinearly, in float64: pixels lie at the centres of their squares."""
    old = images.shape[1]
    at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(at.astype(int), old - 2)
    weights = np.zeros((size, old))
    weights[np.arange(size), low] = 1 - (at - low)
    weights[np.arange(size), low + 1] = at - low
    return weights @ images @ weights.T


def test_digits_are_scikit_learns_each_once_with_its_own_label(section):
    section.name, section.validation = "digits", "test"
    splits = load(section)
    images = np.concatenate([splits.train.inputs, splits.test.inputs])
    labels = np.concatenate([splits.train.targets, splits.test.targets])
    assert (images.shape, images.dtype, labels.dtype) == ((1797, 28, 28, 1), np.uint8, np.int32)
    small, expected_labels = load_digits(return_X_y=True)
    expected = enlarged(small.reshape(-1, 8, 8) * (255 / 16), 28).reshape(1797, -1)
    found = images.reshape(1797, -1).astype(float)
    squares = (found**2).sum(1)[:, None] - 2 * found @ expected.T + (expected**2).sum(1)
    source = squares.argmin(axis=1)
    np.testing.assert_array_equal(np.sort(source), np.arange(1797))
    np.testing.assert_allclose(found, expected[source], atol=1.5)
    np.testing.assert_array_equal(labels, expected_labels[source])
    assert (images.min(), images.max()) == (0, 255)
    assert splits.labels == tuple("0123456789")


def test_every_digit_has_the_same_share_in_training_and_test(section):
    section.name, section.validation = "digits", "test"
    splits = load(section)
    train, test = (np.bincount(split.targets, minlength=10) for split in (splits.train, splits.test))
    assert (train.sum(), test.sum()) == (DIGITS, 360)
    np.testing.assert_allclose(test, (train + test) * 0.2, atol=1)


def test_digits_are_the_same_in_every_process(section):
    section.name = "digits"
    code = (
        f"import hashlib, sys; sys.path[:0] = {sys.path!r}\n"
        "from configs import smoke\n"
        "from gnexp.data.load import load\n"
        "splits = load(smoke.get_config().data)\n"
        "splits = (splits.train, splits.validation, splits.test)\n"
        "parts = (part for split in splits for part in (split.inputs, split.targets))\n"
        "print(*(hashlib.sha256(part.tobytes()).hexdigest() for part in parts))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    splits = load(section)
    parts = (part for split in (splits.train, splits.validation, splits.test) for part in (split.inputs, split.targets))
    assert process.stdout.split() == [hashlib.sha256(part.tobytes()).hexdigest() for part in parts]


def test_digits_are_always_available(section, offline):
    section.name = "digits"
    assert available(section) == ("digits", "")
    assert offline == []


# The real Fashion-MNIST


def test_fashion_mnist_is_read_as_its_files_say(section, real_data):
    section.directory, section.validation = str(real_data), 5000
    splits = load(section)
    train, test = (
        [idx(real_data / "fashion-mnist" / f"{split}-{kind}.gz") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
        for split in ("train", "t10k")
    )
    for split, (expected_images, expected_labels) in (
        (splits.train, (train[0][:55_000], train[1][:55_000])),
        (splits.validation, (train[0][55_000:], train[1][55_000:])),
        (splits.test, test),
    ):
        images, labels = split.inputs, split.targets
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
        np.testing.assert_array_equal(images, expected_images[..., np.newaxis])
        np.testing.assert_array_equal(labels, expected_labels)


def test_fashion_mnist_has_its_known_sizes_and_classes(section, real_data):
    section.directory, section.validation = str(real_data), "test"
    splits = load(section)
    assert splits.train.inputs.shape == (60_000, 28, 28, 1)
    assert splits.test.inputs.shape == (10_000, 28, 28, 1)
    assert np.bincount(splits.train.targets).tolist() == [6000] * 10
    assert np.bincount(splits.test.targets).tolist() == [1000] * 10
    # The mean and deviation that everybody normalizes Fashion-MNIST with.
    assert splits.train.inputs.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert splits.train.inputs.std() / 255 == pytest.approx(0.3530, abs=5e-5)
    assert splits.labels[0] == "T-shirt/top"
    assert [splits.labels[label] for label in splits.train.targets[:3]] == ["Ankle boot", "T-shirt/top", "T-shirt/top"]


@pytest.mark.parametrize("validation", [60_000, 0.000_001])
def test_fashion_mnist_counts_its_own_images(section, real_data, validation):
    section.directory, section.validation = str(real_data), validation
    with pytest.raises(UserError, match=str(FASHION_MNIST)):
        load(section)


# Damage


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_refused_with_the_name_of_the_file(section, real_data, offline, tmp_path, name):
    folder = place(tmp_path / "fashion-mnist", real_data)
    section.directory = str(tmp_path)
    load(section)
    flip_a_byte(folder / name)
    for use in (load, available):  # `available` must not fall back: that would hide the damage
        with pytest.raises(UserError, match=f"{re.escape(str(folder / name))} is damaged") as caught:
            use(section)
        assert len(str(caught.value).splitlines()) == 1
    assert offline == []


def test_a_missing_file_beside_the_others_is_named(section, real_data, offline, tmp_path):
    folder = place(tmp_path / "fashion-mnist", real_data)
    (folder / FILES[3]).unlink()
    section.directory = str(folder)
    with pytest.raises(UserError, match=f"{re.escape(str(folder / FILES[3]))} cannot be read: No such file"):
        available(section)


def test_a_missing_first_file_is_named_too(section, real_data, offline, tmp_path):
    folder = place(tmp_path / "fashion-mnist", real_data)
    (folder / FILES[0]).unlink()
    section.directory, section.fallback = str(folder), ""
    with pytest.raises(UserError, match=re.escape(str(folder / FILES[0]))):
        available(section)


def test_a_damaged_file_in_kerass_cache_is_fetched_again_and_never_used(section, real_data, offline, tmp_path):
    folder = place(tmp_path / "keras" / "datasets" / "fashion-mnist", real_data)
    load(section)
    assert offline == []
    flip_a_byte(folder / FILES[0])
    section.fallback = ""
    with pytest.raises(UserError, match=f"{re.escape(str(folder / FILES[0]))} is damaged"):
        load(section)
    assert offline[0].endswith(FILES[0])


# Where the files are looked for


@pytest.mark.parametrize("first", ["directory", "variable", "cache"])
def test_the_folder_asked_for_comes_before_the_variable_and_that_before_kerass_cache(
    section, offline, monkeypatch, tmp_path, first
):
    order = ["directory", "variable", "cache"]
    folders = {"directory": tmp_path / "a", "variable": tmp_path / "b", "cache": tmp_path / "keras" / "datasets"}
    for folder in folders.values():  # Each place holds damaged files, so that the message names the place used.
        (folder / "fashion-mnist").mkdir(parents=True)
    for name in order[order.index(first) :]:
        for file in FILES:
            (folders[name] / "fashion-mnist" / file).write_bytes(b"damaged")
    section.directory, section.fallback = str(folders["directory"]), ""
    monkeypatch.setenv("GNEXP_DATA_DIR", str(folders["variable"]))
    with pytest.raises(UserError, match=f"{re.escape(str(folders[first]))}/fashion-mnist/{FILES[0]} is damaged"):
        available(section)
    assert bool(offline) == (first == "cache"), "only the cache is mended by a download"


@pytest.mark.parametrize("below", ["", "fashion-mnist"])
@pytest.mark.parametrize("by", ["directory", "variable"])
def test_the_folder_and_the_one_above_it_may_be_named(section, real_data, offline, monkeypatch, by, below):
    if by == "directory":
        section.directory = str(real_data / below)
    else:
        monkeypatch.setenv("GNEXP_DATA_DIR", str(real_data / below))
    assert available(section) == ("fashion_mnist", "")
    assert offline == []


# No network


def test_without_network_the_fallback_is_taken_with_the_reason(section, offline):
    name, why = available(section)
    assert name == "digits"
    assert "Network is unreachable" in why
    assert len(why.splitlines()) == 1
    assert len(offline) == 1
    assert offline[0].startswith("https://")
    assert offline[0].endswith(FILES[0])


def test_a_download_waits_for_a_silent_network_no_longer_than_a_minute(section, monkeypatch):
    import keras

    patience = []

    def get_file(fname, origin, **options):
        patience.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(70.0)
        assert available(section)[0] == "digits"
        assert patience[0] <= 60
        assert socket.getdefaulttimeout() == 70.0, "everybody else's patience was changed for good"
    finally:
        socket.setdefaulttimeout(before)


@pytest.mark.parametrize("fallback", ["", "fashion_mnist"])
def test_without_network_and_fallback_the_error_says_where_to_put_the_files(section, offline, fallback):
    section.fallback = fallback
    for use in (available, load):
        with pytest.raises(UserError) as caught:
            use(section)
        message = str(caught.value)
        assert all(name in message for name in FILES)
        assert "--config.data.directory" in message
        assert "$GNEXP_DATA_DIR" in message


def test_the_folder_asked_for_is_named_where_it_holds_nothing(section, offline, tmp_path):
    section.directory = str(tmp_path)
    assert str(tmp_path) in available(section)[1]


def test_a_folder_that_is_not_there_is_a_mistake_and_no_reason_to_fall_back(section, offline, tmp_path):
    section.directory = str(tmp_path / "mistyped")
    with pytest.raises(UserError, match=r"config\.data\.directory='.*mistyped'.*no such folder"):
        available(section)


# Downloads


@pytest.fixture
def get_file(section, monkeypatch, tmp_path):
    """Watches Keras's own download, and gives it this test's cache: Keras read KERAS_HOME when it was imported."""
    import keras

    original = keras.utils.get_file
    (tmp_path / "keras").mkdir()

    def download(fname, origin, **options):
        origin = download.server + fname if download.server else origin
        return original(fname, origin=origin, cache_dir=tmp_path / "keras", **options)

    download.server = ""
    monkeypatch.setattr(keras.utils, "get_file", mock := unittest.mock.Mock(side_effect=download))
    urllib.request.install_opener(None)  # so that the next download reads the proxy variables
    yield mock
    urllib.request.install_opener(None)


def test_a_network_that_refuses_leads_to_the_fallback(section, get_file, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port, where nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    name, why = available(section)
    assert name == "digits"
    assert "Connection refused" in why
    get_file.assert_called_once()


@pytest.fixture
def server(get_file, monkeypatch, tmp_path):
    """Serves a folder on loopback, from which `get_file` then downloads; yields the folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        get_file.side_effect.server = f"http://127.0.0.1:{httpd.server_port}/"
        yield folder
        httpd.shutdown()


def test_a_download_goes_to_kerass_cache_and_is_checked_and_happens_once(
    section, get_file, server, real_data, tmp_path
):
    for name in FILES:
        shutil.copyfile(real_data / "fashion-mnist" / name, server / name)
    whole = (server / FILES[3]).read_bytes()
    (server / FILES[3]).write_bytes(whole[:-1])
    assert available(section)[0] == "digits", "a file one byte short was taken"
    assert [call.args[0] for call in get_file.call_args_list] == FILES
    (server / FILES[3]).write_bytes(whole)
    assert available(section) == ("fashion_mnist", "")
    for name in FILES:
        assert (tmp_path / "keras" / "datasets" / "fashion-mnist" / name).read_bytes() == (server / name).read_bytes()
    get_file.reset_mock()
    assert available(section) == ("fashion_mnist", "")
    get_file.assert_not_called()
