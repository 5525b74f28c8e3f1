"""The pictures of a classifier's mistakes: complete PNG files, with the right numbers and images."""

import io

import matplotlib.figure
import numpy as np
import PIL.Image
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.metrics import confusion_matrix

from gnexp.tasks import pictures

pytestmark = pytest.mark.any_backend

NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@pytest.fixture
def figures(monkeypatch) -> list[matplotlib.figure.Figure]:
    """Returns the list of figures that matplotlib draws, because numbers cannot be read back from pixels."""
    drawn, savefig = [], matplotlib.figure.Figure.savefig

    def save(figure, *arguments, **options):
        drawn.append(figure)
        return savefig(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)
    return drawn


def predictions(count: int, accuracy: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns images, labels, and probabilities of a classifier that is right for about the given share of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count).astype(np.int32)
    taken = np.where(rng.random(count) < accuracy, labels, rng.integers(0, 10, count))
    scores = rng.random((count, 10))
    scores[np.arange(count), taken] += 1.0
    images = rng.integers(0, 256, (count, 28, 28, 1)).astype(np.uint8)
    return images, labels, scores / scores.sum(axis=1, keepdims=True)


def decoded(picture: pictures.Picture) -> np.ndarray:
    """Returns a picture's pixels, decoded by Pillow; its stated size must be the true one."""
    image = PIL.Image.open(io.BytesIO(picture.png), formats=["PNG"])
    image.load()
    assert image.size == (picture.width, picture.height)
    return np.asarray(image.convert("RGB"))


def counts_shown(figure: matplotlib.figure.Figure) -> np.ndarray:
    """Returns the numbers in the cells of a confusion matrix, an empty cell as 0."""
    (axes,) = figure.axes
    counts = np.zeros((len(axes.get_yticks()), len(axes.get_xticks())), int)
    for text in axes.texts:
        column, row = (int(place) for place in text.get_position())
        assert counts[row, column] == 0
        counts[row, column] = int(text.get_text())
    return counts


# The confusion matrix


@pytest.mark.parametrize(("count", "accuracy"), [(1000, 0.8), (40, 0.0), (200, 1.0), (1, 0.0)])
def test_the_confusion_matrix_shows_scikit_learns_counts(figures, count, accuracy):
    _, labels, probabilities = predictions(count, accuracy)
    decoded(pictures.confusion_matrix(labels, probabilities, NAMES))
    expected = confusion_matrix(labels, probabilities.argmax(1), labels=range(10))
    np.testing.assert_array_equal(counts_shown(figures[0]), expected)
    (axes,) = figures[0].axes
    assert axes.get_title() == f"{np.trace(expected)} of {count} right"
    share = expected / np.maximum(expected.sum(axis=1, keepdims=True), 1)  # a class without images stays empty
    np.testing.assert_allclose(np.ma.filled(axes.images[0].get_array(), np.nan), share)


def test_the_true_classes_run_down_and_the_predicted_ones_across(figures):
    pictures.confusion_matrix(np.array([2]), np.eye(10)[[5]], NAMES)
    (axes,) = figures[0].axes
    assert counts_shown(figures[0])[2, 5] == 1
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    assert axes.get_yticklabels()[2].get_text() == "Pullover"
    assert axes.get_xticklabels()[5].get_text() == "Sandal"


def test_a_cell_is_as_dark_as_its_share_of_the_true_class(figures):
    labels = np.array([0, 0, 0, 0, 1])
    pixels = decoded(pictures.confusion_matrix(labels, np.eye(10)[[0, 0, 0, 3, 1]], NAMES))
    (axes,) = figures[0].axes

    def lightness(row, column):  # near a cell's corner, beside its number
        x, y = axes.transData.transform((column - 0.4, row - 0.4))
        return pixels[int(pixels.shape[0] - y), int(x)].mean()

    assert lightness(1, 1) < lightness(0, 0) < lightness(0, 3) < lightness(5, 5)
    assert lightness(5, 5) > 240


# The most wrong images


@pytest.mark.parametrize("mistakes", [0, 1, 5, 18, 40])
def test_the_worst_mistakes_are_shown_worst_first_with_both_labels(figures, mistakes):
    images, labels, probabilities = predictions(200, 1.0)
    for index in range(mistakes):  # the true label keeps less and less
        probabilities[index] = 0.01 / (index + 1)
        probabilities[index, (labels[index] + 1) % 10] = 1 - 9 * 0.01 / (index + 1)
    pixels = decoded(pictures.most_wrong(images, labels, probabilities, NAMES))
    shown = [axes for axes in figures[0].axes if axes.images]
    assert len(shown) == min(mistakes, 18)
    for index, axes in zip(range(mistakes - 1, -1, -1), shown, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[index, ..., 0])
        true, taken = axes.get_title().split("\n")
        assert true.startswith(NAMES[labels[index]])
        assert float(true[true.index("(") + 1 : -1]) == pytest.approx(0.01 / (index + 1), rel=0.5)
        assert NAMES[(labels[index] + 1) % 10] in taken
        assert float(taken[taken.index("(") + 1 : -1]) == pytest.approx(1 - 9 * 0.01 / (index + 1), abs=0.006)
    assert figures[0].get_suptitle() == (f"{mistakes} of 200 wrong" if mistakes else "none of 200 wrong")
    assert not any(axes.axison for axes in figures[0].axes), "empty places show axes"
    assert (pixels[-100:] == 255).all() == (mistakes == 0), "no row is left empty"


def test_images_are_shown_on_one_scale_of_grey(figures):
    images, labels, probabilities = predictions(10, 0.0)
    images[:] = 100 + images // 100
    pictures.most_wrong(images, labels, probabilities, NAMES)
    limits = {axes.images[0].get_clim() for axes in figures[0].axes if axes.images}
    assert limits == {(0, 255)}


# Both


@pytest.mark.parametrize("draw", ["confusion_matrix", "most_wrong"])
def test_no_text_runs_over_the_edge_or_into_another(figures, draw):
    images, labels, probabilities = predictions(60, 0.1)
    labels[:18], probabilities[:18] = 0, np.eye(10)[9]  # "T-shirt/top ... taken for Ankle boot (100.0%)", the longest
    if draw == "most_wrong":
        pictures.most_wrong(images, labels, probabilities, NAMES)
    else:
        pictures.confusion_matrix(labels, probabilities, NAMES)
    (figure,) = figures
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts, slanted = [*figure.texts, *(axes.title for axes in figure.axes)], []
    if figure.axes[0].axison:
        axes = figure.axes[0]
        texts += [*axes.texts, *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
        slanted = axes.get_xticklabels()
    boxes = [text.get_window_extent(renderer) for text in (*texts, *slanted)]
    for number, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        # The box around a slanted text is larger than the text.
        assert not any(box.overlaps(other) for other in boxes[number + 1 : len(texts)])


def test_the_same_predictions_give_the_same_bytes():
    images, labels, probabilities = predictions(100, 0.5)
    for draw in (
        lambda: pictures.confusion_matrix(labels, probabilities, NAMES),
        lambda: pictures.most_wrong(images, labels, probabilities, NAMES),
    ):
        assert draw() == draw()


def test_names_with_dollars_are_no_formulas():
    names = ["$20_$30", "$", r"\frac{$1$}"]
    probabilities = np.eye(3)[[1, 0, 2]]
    assert pictures.confusion_matrix(np.arange(3), probabilities, names).png
    assert pictures.most_wrong(np.zeros((3, 8, 8, 1), np.uint8), np.arange(3), probabilities, names).png
    assert pictures.labels(np.eye(3), np.eye(3) > 0, names).png
