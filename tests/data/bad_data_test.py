"""Bad datasets: each is answered before the first step, in one line that names what is wrong and what must be."""

import pathlib
import re

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from configs import smoke
from gnexp.data.load import load
from gnexp.errors import GnexpError

pytestmark = pytest.mark.any_backend

# Functions of a user's, each with one mistake. `good()` gives 12 images of 3 classes and their labels.
_FUNCTIONS = """
import numpy as np

random = np.random.default_rng(0)


def good(n=12):
    return random.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8), np.arange(n) % 3


def changed(x=lambda x: x, y=lambda y: y, **others):
    images, labels = good()
    return {"train": (x(images), y(labels)), **others}


class Lazy:
    def __init__(self, get, n=12):
        self.get, self.n = get, n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.get(index)


def nothing(): return None
def generator(): return {"train": (pair for pair in zip(*good()))}
def no_train(): return {"test": good()}
def key(): return changed(training=good())
def empty(): return {"train": (np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, int))}
def counts(): return changed(y=lambda y: y[:-1])
def words(): return changed(y=lambda y: np.array(["cat"] * 12))
def gap(): return changed(y=lambda y: 2 * y)
def negative(): return changed(y=lambda y: y - 1)
def beyond(): return changed(labels=("cat", "dog"))
def lacking(): return changed(labels=("cat", "dog", "bird", "fish"))
def single(): return changed(y=lambda y: 0 * y)
def strange_test(): return changed(test=(good()[0], good()[1] + 1))
def nan(): return changed(x=lambda x: np.where(np.arange(12)[:, None, None, None] == 7, np.nan, x / 255))
def as_float(): return changed(x=lambda x: x.astype("float32"))
def signed(): return changed(x=lambda x: x / 127.5 - 1)
def as_uint8(): return changed(x=lambda x: (x / 255).astype("uint8"))
def wide(): return changed(x=lambda x: x.astype("int64"))
def sizes(): return changed(test=(np.zeros((3, 8, 9, 3), np.uint8), np.arange(3)))
def kinds(): return changed(test=(good()[0] / 255, good()[1]))
def weights(): return {"train": (*good(), np.full(12, -1.0))}
def weightless(): return {"train": (*good(), np.zeros(12))}
def channels_first(): return changed(x=lambda x: np.moveaxis(x, -1, 1))
def few(): return {"train": good(1)}
def ragged(): return {"train": Lazy(lambda i: (np.zeros((8, 8 + i // 9, 3), np.uint8), i % 3))}
def no_pair(): return {"train": Lazy(lambda i: np.zeros((8, 8, 3), np.uint8))}
def raises(): return {"train": Lazy(lambda i: (np.zeros((8, 8, 3), np.uint8), i % 3) if i < 5 else {}["five"])}
def fails(): raise KeyError("the disk")
def twice(): return changed(labels=("cat", "dog", "cat"))
def number(): return changed(labels=3)
def unordered(): return changed(labels={"cat", "dog", "bird"})
def once(): return changed(labels=map(str, range(3)))
def remark(): return changed(remarks=5)
def none(): return {"train": None, "test": good()}
def lists(): return {"train": ([[1, 2], [3]], [0, 1])}
def targets(): return {"train": (np.zeros((2, 3)), [[0, 1], [1]])}
def uneven(): return {"train": Lazy(lambda i: ([[1, 2], [3]], i % 3))}
def some_weigh(): return {"train": Lazy(lambda i: (np.zeros((8, 8, 3), np.uint8), i % 3, 1.0)[: 3 - i // 9])}
def no_numbers(): return {"train": (np.zeros((12, 0)), np.arange(12) % 3)}
def prices(): return changed(y=lambda y: y * 1_000_000_000)
def imaginary(): return changed(y=lambda y: y * 1j)
def exits(): raise SystemExit(3)


class Short(Lazy):
    targets = [0, 1, 2]


class NoLength(Lazy):
    def __len__(self):
        raise OSError("unplugged")


class Fragile(Lazy):
    def __init__(self):
        super().__init__(None)

    def __getitem__(self, index):
        return np.zeros((8, 8, 3), np.uint8), index % 3

    def __setstate__(self, state):
        raise OSError("another machine")


def short(): return {"train": Short(lambda i: (np.zeros((8, 8, 3), np.uint8), i % 3))}
def no_length(): return {"train": NoLength(None)}
def fragile(): return {"train": Fragile()}
def as_names(): return changed(labels=np.array(["cat", "dog", "bird"]))
"""

_SAYS = {
    "nothing": "returned None: it must return a mapping",
    "generator": "train is a generator: it must be a tuple",
    "no_train": "returned test.* and no `train`",
    "key": "the key 'training'",
    "empty": "train has no examples",
    "counts": "12 inputs, 11 targets: there must be as many",
    "words": "its targets are text: they must be numbers; the names of classes go into `labels`",
    "gap": "no example of the class 1, 3, of 5 classes: .* or return floats if they are to be predicted",
    "negative": "has the label -1: it must be 0 to 1, as the first class is 0; return floats if",
    "beyond": "has the label 2: it must be 0 to 1, as there are 2 labels",
    "lacking": "no example of the class 'fish', of 4 classes",
    "single": "a single class",
    "strange_test": "test has the label 3|train has no example of the class 3",
    "nan": "example 7 holds NaN or infinity",
    "as_float": "floats from 0 to 255: .*return uint8, or divide by 255",
    "signed": "floats from -1 to 1: they must be from 0 to 1",
    "as_uint8": "no value is above 1: floats from 0 to 1 were taken for uint8",
    "wide": "int64 .*: images must be uint8",
    "sizes": r"test has inputs uint8\[8, 9, 3\] and .*train uint8\[8, 8, 3\]",
    "kinds": r"test has inputs float32\[8, 8, 3\] and .*train uint8",
    "weights": "sample weights must be numbers of 0 or more",
    "weightless": "train: its sample weights are all 0",
    "channels_first": r"shape \(3, 8, 8\), channels first: they must come last, \(8, 8, 3\)",
    "few": "config.data.test=0.2 is not allowed: of the 1 training images|a single class",
    "ragged": r"shapes \(8, 8, 3\) and \(8, 9, 3\)",
    "no_pair": r"example 0 is a ndarray: it must be \(input, target\)",
    "raises": r"example 5 cannot be read: .*bad_data.py, line \d+: KeyError: 'five'",
    "fails": r"cannot be read: .*bad_data.py, line \d+: KeyError: 'the disk'",
    "twice": "each name must be there once",
    "number": "returned labels=3: it must be the names of the classes, .*as a list",
    "unordered": "returned labels={.*}: it must be the names of the classes",
    "once": "returned labels=<map .*>: it must be the names of the classes",
    "remark": "returned remarks=5: it must be lines of text",
    "none": "returned test.* and no `train`",
    "lists": "train: its inputs are no array: ",
    "targets": "train: its targets are no array: ",
    "uneven": "train are no array: ",
    "some_weigh": "train: example 9 has no weight, and the first one has",
    "no_numbers": "train has inputs without a single number",
    "prices": "no example of the class 1, 2, 3, 4, 5 and 1999999993 more, of 2000000001 classes",
    "imaginary": "its targets are complex numbers",
    "exits": r"cannot be read: .*bad_data.py, line \d+: SystemExit: 3",
    "short": "train has 12 examples and 3 `targets`",
    "no_length": r"train cannot be read: .*bad_data.py, line \d+: OSError: unplugged",
}


def section(name: str, **args) -> ConfigDict:
    """Returns a config's `data` section for a dataset with arguments."""
    data = smoke.get_config().data
    data.name, data.fallback = name, ""
    data.args = ConfigDict(args)
    return data


def refusal(data: ConfigDict) -> str:
    """Returns why a dataset is refused, which must be a line that names the dataset or a file."""
    with pytest.raises(GnexpError) as caught:
        load(data)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and len(message) < 600
    return message


@pytest.fixture(scope="module", autouse=True)
def functions(tmp_path_factory):
    """Puts the users' functions where they are found."""
    folder = tmp_path_factory.mktemp("functions")
    (folder / "bad_data.py").write_text(_FUNCTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.mark.parametrize("name", _SAYS)
def test_a_bad_dataset_is_refused(name):
    message = refusal(section(f"bad_data:{name}"))
    assert f"config.data.name='bad_data:{name}'" in message or "config.data.test=" in message
    assert re.search(_SAYS[name], message)


def test_names_of_classes_may_be_an_array():
    assert load(section("bad_data:as_names")).labels == ("cat", "dog", "bird")


def test_what_cannot_be_unpickled_where_it_is_read_is_said_with_its_cause(capfd):
    data = section("bad_data:fragile")
    data.memory = "1"
    message = refusal(data)
    assert re.search(r"cannot be unpickled .*: .*bad_data.py, line \d+: OSError: another machine", message)
    assert "Traceback" not in capfd.readouterr().err


def test_the_dataset_that_the_bad_ones_are_made_from_is_good():
    data = section("bad_data:changed")
    splits = load(data)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 1, 2)


def picture(path: pathlib.Path, height: int = 8, width: int = 8, value: int | None = None) -> pathlib.Path:
    """Writes an image of noise, or of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(str(path)) + height)
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels if value is None else np.full((height, width), value, np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A good folder of two classes."""
    for number in range(1, 5):
        for name in ("a", "b"):
            picture(tmp_path / "all" / name / f"{number}.{'jpg' if number == 2 else 'png'}")
    return tmp_path / "all"


def test_a_folder_without_classes_images_or_itself_is_refused(folder, tmp_path):
    assert "there is no such folder" in refusal(section("image_folder", directory=str(tmp_path / "none")))
    (folder / "c").mkdir()
    assert re.search(r"all/c is a class without images", refusal(section("image_folder", directory=str(folder))))
    assert "and no folders" in refusal(section("image_folder", directory=str(folder / "a")))
    picture(tmp_path / "split" / "test" / "a" / "1.png")
    assert "no folder train" in refusal(section("image_folder", directory=str(tmp_path / "split")))
    picture(tmp_path / "split" / "train" / "b" / "1.png")
    assert "test/a is a class that" in refusal(section("image_folder", directory=str(tmp_path / "split")))
    (tmp_path / "split" / "Training").mkdir()
    message = refusal(section("image_folder", directory=str(tmp_path / "split")))
    assert "split has the folders Training and train: one of them must hold the train images" in message


def test_images_of_several_sizes_need_a_size(folder):
    other = picture(folder / "b" / "5.png", width=9)
    message = refusal(section("image_folder", directory=str(folder)))
    assert f"{other} 8x9" in message and "config.data.args.size=96" in message
    assert load(section("image_folder", directory=str(folder), size=8)).input_shape == (8, 8, 3)


@pytest.mark.parametrize("kind", ["cut", "text", "empty"])
def test_a_file_that_cannot_be_decoded_is_named_or_left_out_and_counted(folder, kind):
    broken = folder / "a" / "2.jpg"
    content = broken.read_bytes()
    broken.write_bytes({"cut": content[: len(content) // 2], "text": b"no image", "empty": b""}[kind])
    assert f"cannot be decoded: {broken} (" in refusal(section("image_folder", directory=str(folder)))
    splits = load(section("image_folder", directory=str(folder), skip_broken=True))
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 7
    assert any(f"1 of 8 files are left out, which cannot be decoded: {broken}" in line for line in splits.remarks)


def test_two_images_of_one_name_are_refused(tmp_path):
    for name in ("1.png", "2.png", "2.jpg"):
        picture(tmp_path / "x" / name)
        picture(tmp_path / "y" / name.replace("jpg", "png"), value=0)
    message = refusal(section("image_pairs", images=str(tmp_path / "x"), masks=str(tmp_path / "y")))
    assert f"{tmp_path}/x/2.jpg and {tmp_path}/x/2.png have one name" in message


def test_pairs_must_be_pairs(tmp_path):
    for number in range(6):
        picture(tmp_path / "x" / f"{number}.png")
        picture(tmp_path / "y" / f"{number}.png", value=255 * (number % 2))
    pairs = {"images": str(tmp_path / "x"), "masks": str(tmp_path / "y")}
    assert load(section("image_pairs", **pairs)).labels == ("0", "255")
    picture(tmp_path / "y" / "1.png", value=7)
    assert "the masks have the values 0, 7, 255" in refusal(section("image_pairs", **pairs))
    assert "has the values 7, which" in refusal(section("image_pairs", values=(0, 255), **pairs))
    picture(tmp_path / "y" / "1.png", height=9, value=255)
    assert "they must be alike" in refusal(section("image_pairs", **pairs))
    (tmp_path / "y" / "1.png").unlink()
    assert f"{tmp_path / 'x' / '1.png'} has no partner in {tmp_path / 'y'}" in refusal(section("image_pairs", **pairs))


def test_arrays_must_be_there_and_numbers(tmp_path):
    path = tmp_path / "it.npz"
    assert "there is no such file" in refusal(section("arrays", path=str(path)))
    path.write_bytes(b"no archive")
    assert "is no .npz file" in refusal(section("arrays", path=str(path)))
    np.savez(path, x_train=np.zeros((3, 2)))
    assert "x_train, and no y_train" in refusal(section("arrays", path=str(path)))
    np.savez(path, a=np.zeros(3))
    assert "it must have x_train and y_train" in refusal(section("arrays", path=str(path)))
    np.savez(path, x_train=np.array([{}, {}]), y_train=np.zeros(2))
    assert "holds Python objects" in refusal(section("arrays", path=str(path)))


def test_a_mistake_ends_the_command_in_a_line_before_anything_is_written(train_here, folder, tmp_path):
    (folder / "b" / "3.png").write_bytes(b"")
    directory = f"--config.data.args.directory={folder}"
    done = train_here("--config.data.name=image_folder", directory, f"--workdir={tmp_path / 'run'}")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and "b/3.png (it is no image)" in done.stderr
    assert not (tmp_path / "run").exists()
