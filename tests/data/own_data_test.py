"""Data of the user's own: read as it is, split by class, larger than memory, and never exchanged for other data."""

import dataclasses
import hashlib
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs import smoke
from gnexp.config import open_sections
from gnexp.config.arguments import DATASETS
from gnexp.data import checks, cifar10, holdout, mnist, stream
from gnexp.data.load import load
from gnexp.data.splits import Splits
from gnexp.errors import UserError
from gnexp.functions import signature
from gnexp.workdir import data as recorded

pytestmark = pytest.mark.any_backend


def section(name: str, **args) -> ConfigDict:
    """Returns a config's `data` section for a dataset with arguments."""
    data = smoke.get_config().data
    data.name, data.fallback = name, ""
    data.args = ConfigDict(args)
    return data


def same(one: Splits, other: Splits) -> None:
    """Asserts that two datasets hold the same, wherever it lies."""
    assert one.labels == other.labels and one.fingerprint == other.fingerprint
    for part in ("train", "validation", "test"):
        a, b = getattr(one, part), getattr(other, part)
        assert len(a) == len(b)
        for x, y in zip(stream.parts(a), stream.parts(b), strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                assert (x.shape, x.dtype) == (y.shape, y.dtype)
                np.testing.assert_array_equal(x[:], y[:])


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Returns a function that writes a user's module, and returns the name of its function `make`."""

    def write(text: str) -> str:
        name = f"own_{abs(hash(text)):x}"
        (tmp_path / f"{name}.py").write_text(f"import numpy as np\n\n{text}")
        return f"{name}:make"

    monkeypatch.syspath_prepend(tmp_path)
    return write


def test_the_arguments_of_the_built_in_datasets_are_those_of_their_functions():
    for name, fields in DATASETS.items():
        found = open_sections.without_given("data", signature.of(open_sections.function("data", name)))
        assert found.names == list(fields)
        for parameter in found.parameters:
            if parameter.default is not signature.REQUIRED:
                assert fields[parameter.name].accepts(parameter.default)


# What a function may return


@pytest.mark.parametrize(
    ("inputs", "targets", "expected"),
    [
        (
            "np.zeros((20, 6, 6), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None]",
            "i % 2",
            ((6, 6, 1), "uint8"),
        ),
        ("np.ones((20, 6, 6, 3), 'float64') / 2", "i % 2 == 1", ((6, 6, 3), "float32")),
        ("np.arange(60).reshape(20, 3)", "i / 7", ((3,), "float32")),
        ("list(range(20))", "i / 7", ((1,), "float32")),
        ("np.full((20, 9), 200, np.uint8)", "i % 2", ((9,), "float32")),
        (
            "np.zeros((20, 6, 6, 2))",
            "np.ones((20, 6, 6, 1), int) * (i % 3)[:, None, None, None]",
            ((6, 6, 2), "float32"),
        ),
    ],
)
def test_inputs_and_targets_of_many_kinds_are_taken(module, inputs, targets, expected):
    name = module(f"def make():\n    i = np.arange(20)\n    return {{'train': ({inputs}, {targets}, np.ones(20))}}\n")
    splits = load(section(name))
    assert (splits.input_shape, splits.input_dtype) == expected
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (14, 2, 4)
    assert splits.train.weights.tolist() == [1.0] * 14
    numbers = splits.train.targets.dtype == np.float32
    assert splits.labels == (() if numbers else tuple(map(str, range(splits.train.targets.max() + 1))))


_LAZY = """
class Lazy:
    def __len__(self):
        return 40

    def __getitem__(self, index):
        random = np.random.default_rng(index)
        image = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        return image, {target}, index / 10


def make():
    return {{"train": Lazy(), "labels": ("a", "b", "c")}}
"""


@pytest.mark.parametrize("target", ["index % 3", "image[..., 0] % 3"], ids=["labels", "masks"])
def test_a_source_is_the_same_in_memory_and_out_of_it(module, target):
    data = section(module(_LAZY.format(target=target)))
    inside = load(data)
    data.memory = 100
    outside = load(data)
    assert inside.train.in_memory and not outside.train.in_memory
    same(inside, outside)


def test_arrays_are_the_same_in_a_file_in_memory_and_out_of_it(tmp_path):
    random = np.random.default_rng(0)
    arrays = {
        "x_train": random.integers(0, 256, (50, 7, 7, 3), dtype=np.uint8),
        "y_train": np.arange(50) % 5,
        "w_train": np.ones(50),
        "x_val": random.integers(0, 256, (10, 7, 7, 3), dtype=np.uint8),
        "y_val": np.arange(10) % 5,
        "w_val": np.ones(10),
    }
    np.savez(tmp_path / "it.npz", **arrays, labels=np.array(list("abcde")))
    for name, array in {**arrays, "labels": np.array(list("abcde"))}.items():
        np.save(tmp_path / f"{name}.npy", array)
    one = load(section("arrays", path=str(tmp_path / "it.npz")))
    data = section("arrays", path=str(tmp_path))
    same(one, load(data))
    np.testing.assert_array_equal(one.validation.inputs, arrays["x_val"])
    assert one.labels == tuple("abcde")
    data.memory = 100
    outside = load(data)
    assert not outside.train.in_memory
    same(one, outside)


# What is held out


def test_a_share_of_each_class_is_held_out_of_data_that_comes_sorted():
    targets = np.repeat(np.arange(4, dtype=np.int32), [100, 50, 20, 10])
    order = holdout.order(targets, len(targets), seed=3)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(targets)))
    for count in (18, 60, 90):
        shares = np.bincount(targets[order[:count]], minlength=4) / np.bincount(targets) * len(targets) / count
        assert np.abs(np.bincount(targets[order[:count]], minlength=4) - np.bincount(targets) * count / 180).max() <= 1
        assert (shares > 0).all()
    assert not np.array_equal(order, holdout.order(targets, len(targets), seed=4))
    np.testing.assert_array_equal(order, holdout.order(targets, len(targets), seed=3))


def test_the_splits_are_disjoint_and_a_smaller_training_set_has_every_class(module):
    name = module(
        "def make():\n    y = np.repeat(np.arange(3), 40)\n"
        "    return {'train': (np.arange(120)[:, None] + np.zeros((120, 2)), y)}\n"
    )
    data = section(name)
    splits = load(data)
    seen = [set(split.inputs[:, 0].tolist()) for split in (splits.train, splits.validation, splits.test)]
    assert [len(rows) for rows in seen] == [84, 12, 24] and len(set.union(*seen)) == 120
    data.train_size = 9
    assert np.bincount(load(data).train.targets).tolist() == [3, 3, 3]
    data.split_seed = -1
    assert load(data).test.inputs[:, 0].tolist() == list(range(96, 120))
    data.train_size, data.validation = 0, "test"
    np.testing.assert_array_equal(load(data).validation.inputs, load(data).test.inputs)


def test_a_class_that_is_left_out_and_a_column_that_float32_hardly_tells_apart_are_said(module):
    name = module(
        "def make():\n    i = np.arange(40)\n    x = np.stack([i, 1.7e9 + i], axis=1)\n"
        "    return {'train': (x, i // 39), 'validation': (x[:4], i[:4] // 39)}\n"
    )
    config = section(name)
    config.train_size = 1
    said = load(config).remarks
    assert "no example of the class 1 is left to train on: the network cannot learn it" in said
    (narrow,) = [line for line in said if line.startswith("column")]
    assert narrow.startswith("column 1 of the inputs goes from 1700000000 to 1700000039, in float32 in steps of 2e+02:")


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8])
def test_narrow_columns_are_no_trouble(dtype):
    assert checks.narrowed(np.array([[-100, 0], [100, 1]]).astype(dtype)) == []


@pytest.mark.parametrize(
    ("inputs", "said"),
    [("8, 9)) * 255", True), ("8, 9))", False), ("8, 9)) * 255 - 9", False), ("7, 9)) * 255", False)],
)
def test_floats_that_may_be_images_not_divided_by_255_are_said(module, inputs, said):
    make = f"x = np.random.default_rng(0).random((30, {inputs}\n    return {{'train': (x, np.arange(30) % 2)}}\n"
    remarks = load(section(module(f"def make():\n    {make}"))).remarks
    assert any("if they are images, return uint8, or divide by 255" in line for line in remarks) == said


def test_what_is_in_two_splits_is_said(module):
    name = module(
        "def make():\n    x, y = np.random.default_rng(0).random((30, 2)), np.arange(30) % 2\n"
        "    return {'train': (x, y), 'test': (x[25:], y[25:])}\n"
    )
    data = section(name)
    data.split_seed, data.validation = -1, 3
    (line, _) = load(data).remarks
    assert "2 of the 5 examples of test are in train" in line or "2 of the 5" in line


# Images


def test_an_image_keeps_its_proportions_or_is_distorted(tmp_path):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = (255, 128, 0)  # the middle half
    for name in ("a", "b"):
        for number in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(wide).save(tmp_path / name / f"{number}.png")
    cut = load(section("image_folder", directory=str(tmp_path), size=10)).train.inputs[0]
    np.testing.assert_array_equal(cut[:, 1:-1], np.broadcast_to((255, 128, 0), (10, 8, 3)))
    whole = load(section("image_folder", directory=str(tmp_path), size=10, crop=False)).train.inputs[0]
    assert whole[5, 0].tolist() == [0, 0, 0] and whole[5, 5].tolist() == [255, 128, 0]
    tall = load(section("image_folder", directory=str(tmp_path), size=(5, 10)))
    assert tall.input_shape == (5, 10, 3)


def test_a_folder_has_its_splits_classes_and_grey_images(tmp_path):
    for split, count in {"train": 8, "val": 3, "test": 2}.items():
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                shade = np.full((4, 4), 100 * label + 10 * number + len(split), np.uint8)
                Image.fromarray(shade).save(folder / f"{number}.png")
    splits = load(section("image_folder", directory=str(tmp_path)))
    assert splits.labels == ("cat", "dog") and splits.input_shape == (4, 4, 1)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [16, 6, 4]
    np.testing.assert_array_equal(splits.validation.inputs[:, 0, 0, 0], [3, 13, 23, 103, 113, 123])
    np.testing.assert_array_equal(splits.validation.targets, [0, 0, 0, 1, 1, 1])


def painted(*paths: pathlib.Path) -> None:
    """Writes images of which no two are alike."""
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)


def test_split_folders_are_known_by_any_case_and_what_lies_beside_them_is_said(tmp_path):
    numbers = range(6)
    painted(*(tmp_path / f"{split}/{name}/{i}.png" for split in ("Train", "TEST") for name in "ab" for i in numbers))
    painted(*(tmp_path / f"dev/a/{i}.png" for i in numbers))
    splits = load(section("image_folder", directory=str(tmp_path)))
    assert splits.labels == ("a", "b") and len(splits.test) == 12
    assert any("folders Train, TEST; beside them, dev is not read" in line for line in splits.remarks)


def test_classes_may_have_the_names_of_splits(tmp_path):
    painted(*(tmp_path / f"{name}/{i}.png" for name in ("bus", "train", "valid") for i in range(6)))
    assert load(section("image_folder", directory=str(tmp_path))).labels == ("bus", "train", "valid")


def test_an_image_in_two_splits_is_said_whatever_its_mask(tmp_path):
    for split, number in {"train": 6, "test": 3}.items():
        painted(*(tmp_path / f"images/{split}/{i}.png" for i in range(number)))
        for i in range(number):
            path = tmp_path / f"masks/{split}/{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(4, k=len(split) - i, dtype=np.uint8)).save(path)
    data = section("image_pairs", images=str(tmp_path / "images"), masks=str(tmp_path / "masks"))
    data.validation = "test"
    assert any("3 of the 3 examples of test are in train as well" in line for line in load(data).remarks)


@pytest.fixture
def shared() -> pathlib.Path:
    """The folder of the real data."""
    folder = os.environ.get("GNEXP_DATA_DIR")
    if not folder or not (pathlib.Path(folder) / "segmentation").is_dir():
        pytest.skip("needs the real EM images: set GNEXP_DATA_DIR to the folder that holds segmentation/")
    return pathlib.Path(folder)


@pytest.mark.parametrize("size", [96, 64, 32])
def test_a_smaller_mask_lies_where_its_image_does(tmp_path, size):
    rows, columns = np.mgrid[:512, :512]
    disc = ((rows - 255.5) ** 2 + (columns - 255.5) ** 2 < 150**2).astype(np.uint8)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.fromarray(disc * 255).save(tmp_path / name / f"{number}.png")
    data = section("image_pairs", images=str(tmp_path / "images"), masks=str(tmp_path / "masks"), size=size)
    data.test, data.validation = 2, 2
    splits = load(data)
    image, mask = splits.train.inputs[0, ..., 0] > 127, splits.train.targets[0] == 1
    assert (image & mask).sum() / (image | mask).sum() > 0.985


def test_real_masks_are_those_of_their_images(shared):
    train = shared / "segmentation" / "train"
    data = section("image_pairs", images=str(train / "image"), masks=str(train / "label"))
    data.split_seed, data.test, data.validation = -1, 6, 3
    splits = load(data)
    data.memory = 1000
    same(splits, load(data))
    names = sorted((train / "image").glob("*.png"))
    np.testing.assert_array_equal(splits.test.inputs[-1, ..., 0], np.asarray(Image.open(names[-1])))
    mask = np.asarray(Image.open(train / "label" / names[-1].name))
    np.testing.assert_array_equal(splits.test.targets[-1], mask == 255)
    assert splits.labels == ("0", "255")


# The record


def test_a_workdir_does_not_go_on_with_other_data(train_here, tmp_path):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (60, 28, 28, 1), dtype=np.uint8), np.arange(60) % 10
    path = tmp_path / "it.npz"
    np.savez(path, x_train=x, y_train=y)
    ask = ("--config.data.name=arrays", f"--config.data.args.path={path}", "--config.epochs=1")
    ask += (f"--workdir={tmp_path / 'run'}",)
    assert train_here(*ask).returncode == 0
    (tmp_path / "run" / "result.json").unlink()  # as if it had not ended
    np.savez(path, x_train=x, y_train=np.where(np.arange(60) == 7, 1, y))
    refused = train_here(*ask)
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    assert "the data is not that with which" in refused.stderr and "train has other labels" in refused.stderr
    (moved := tmp_path / "moved.npz").write_bytes(b"")
    np.savez(moved, x_train=x, y_train=y)
    assert train_here(*ask[:1], f"--config.data.args.path={moved}", *ask[2:]).returncode == 0


def test_what_changed_is_named(tmp_path):
    def fingerprint(**splits) -> dict:
        return {"name": "x", "labels": ["a", "b"], "splits": splits, "held_out": {}, "split_seed": 0}

    def split(a: int, b: int, digest: str = "0", inputs: str = "uint8[4, 4, 1]") -> dict:
        counts = {"a": a, "b": b}
        return {"examples": a + b, "inputs": inputs, "targets": "int32[]", "classes": counts, "digest": digest}

    before = fingerprint(train=split(3, 4), test=split(2, 2))
    recorded.keep(tmp_path, before)
    recorded.check(tmp_path, before)
    for now, says in {
        "train had 4 examples of 'b' and has 3": fingerprint(train=split(3, 3, "1"), test=split(2, 2)),
        "the content of test has changed": fingerprint(train=split(3, 4), test=split(2, 2, "1")),
        "test is gone": fingerprint(train=split(3, 4)),
        "the inputs of train were uint8": fingerprint(train=split(3, 4, "1", "uint8[5, 5, 1]"), test=split(2, 2)),
    }.items():
        with pytest.raises(Exception, match="the data is not that") as caught:
            recorded.check(tmp_path, says)
        assert now in str(caught.value)


# Keras's datasets


def test_cifar_is_the_same_from_its_arrays_its_batches_and_its_archive(tmp_path, monkeypatch):
    """A small stand-in, whose sums are written into the place of the real ones: its batches are pickles as CIFAR's."""
    monkeypatch.delenv("GNEXP_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    random, parts, md5 = np.random.default_rng(0), {}, {}
    folder = tmp_path / "batches" / cifar10._CIFAR.folder
    folder.mkdir(parents=True)
    for number, name in enumerate(cifar10._CIFAR.md5):
        rows, labels = random.integers(0, 256, (20, 3072), dtype=np.uint8), [(number + i) % 10 for i in range(20)]
        content = pickle.dumps({b"data": rows, b"labels": labels}, protocol=2)
        (folder / name).write_bytes(content)
        md5[name] = hashlib.md5(content).hexdigest()
        parts.setdefault("test" if "test" in name else "train", []).append((rows, labels))
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    sha256 = hashlib.sha256((tmp_path / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10, "_CIFAR", dataclasses.replace(cifar10._CIFAR, md5=md5, sha256=sha256))
    arrays, sums = {}, {}
    for split, found in parts.items():
        rows, labels = (np.concatenate([each[part] for each in found]) for part in (0, 1))
        x = np.stack([rows[:, 1024 * c : 1024 * (c + 1)].reshape(-1, 32, 32) for c in range(3)], axis=-1)
        arrays |= {f"x_{split}": x, f"y_{split}": labels}
        sums[split] = hashlib.sha256(x.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "cifar10.npz", **arrays)
    monkeypatch.setattr(cifar10, "_SHA256", sums)

    data = section("cifar10")
    found = []
    for place in (folder, folder.parent, tmp_path, tmp_path / "npz"):
        data.directory = str(place)
        found.append(load(data))
        same(found[0], found[-1])
    np.testing.assert_array_equal(found[0].test.inputs, arrays["x_test"])
    (folder / "data_batch_3").write_bytes(b"cos\nsystem\n(S'true'\ntR.")  # a pickle that would run a command
    data.directory = str(folder)
    with pytest.raises(UserError, match="data_batch_3 is damaged: its MD5 sum is"):
        load(data)


@pytest.mark.slow  # Its arrays are compressed well: eight seconds of a processor, and more on a busy one.
def test_the_real_cifar10_has_its_known_mean_and_order():
    place = os.environ.get("GNEXP_DATA_DIR")
    if not place or not (pathlib.Path(place) / "cifar10").is_dir():
        pytest.skip("needs the real CIFAR-10: set GNEXP_DATA_DIR to the folder that holds cifar10/")
    found = cifar10.read(place)
    train, test = found["train"][0], found["test"]
    assert np.bincount(test[1]).tolist() == [1000] * 10
    # The first test images, as everybody's lists of predictions have them: cat, ship, ship, airplane, frog.
    assert [cifar10.LABELS[label] for label in test[1][:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    np.testing.assert_allclose(train.mean(axis=(0, 1, 2)) / 255, (0.4914, 0.4822, 0.4465), atol=5e-5)


def test_mnist_is_found_and_never_used_with_another_sum(tmp_path, monkeypatch):
    monkeypatch.delenv("GNEXP_DATA_DIR", raising=False)
    x, y = np.zeros((30, 28, 28), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None], np.arange(30) % 10
    (tmp_path / "mnist").mkdir()
    path = tmp_path / "mnist" / "mnist.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x[:10] + 100, y_test=y[:10])
    data = section("mnist")
    data.directory = str(tmp_path)
    with pytest.raises(UserError, match=r"mnist\.npz is damaged: its SHA-256 sum is"):
        load(data)
    monkeypatch.setattr(mnist, "_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert load(data).input_shape == (28, 28, 1)


def test_reading_keeps_little_of_a_file_in_memory(tmp_path):
    """200 MB of images are looked at and read once, in a process that may grow by 100 MB."""
    x = np.lib.format.open_memmap(tmp_path / "x_train.npy", "w+", np.uint8, (4000, 128, 128, 3))
    random = np.random.default_rng(0)
    for row in range(0, 4000, 500):
        x[row : row + 500] = random.integers(0, 256, (500, 128, 128, 3), dtype=np.uint8)
    del x
    np.save(tmp_path / "y_train.npy", np.arange(4000) % 5)
    code = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
import numpy as np
from configs import smoke
from gnexp.data import stream
from gnexp.data.load import load
data = smoke.get_config().data
data.name, data.memory = "arrays", "20MB"
data.args.path = "."
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
splits = load(data)
count = sum(len(batch) for batch in stream.in_order(splits.train, 32))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    count, grown = done.stdout.split()
    assert int(count) == 2800
    assert float(grown) < 100
