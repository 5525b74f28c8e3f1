"""The figures and losses of the tasks, against scikit-learn, NumPy and Keras itself."""

import dataclasses

import keras
import numpy as np
import pytest
from sklearn import metrics

from gnexp.config import beginning, objective
from gnexp.config.paths import flatten
from gnexp.config.validation import validate
from gnexp.data.load import load
from gnexp.data.splits import Split, Splits
from gnexp.errors import FunctionError, GnexpError, UserError
from gnexp.tasks.classification import Classification
from gnexp.tasks.create import create
from gnexp.tasks.multilabel import Multilabel
from gnexp.tasks.regression import Regression
from gnexp.tasks.segmentation import Segmentation
from gnexp.training import run
from gnexp.training.check import check
from gnexp.training.evaluation import evaluate
from gnexp.training.loop import Training
from gnexp.workdir import folder

COUNT = 1203  # of examples: more than two batches of an evaluation
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.uniform(0.5, 2, COUNT).astype(np.float32)


def splits(inputs, targets, weights=None, labels=()) -> Splits:
    """Returns a dataset whose parts are all the same."""
    split = Split(inputs, targets, weights)
    return Splits(split, split, split, tuple(labels))


def evaluated(task, outputs, extra=()):
    """Returns the evaluation of outputs for the examples of a task's dataset."""
    split = task.splits.train
    places = Split(np.arange(len(split)), split.targets, split.weights)
    return evaluate(task, lambda which: (outputs[which], 0.0), places, extra)


@pytest.fixture(params=[None, WEIGHTS], ids=["equal", "weighted"])
def weights(request):
    """Returns no weights, or some."""
    return request.param


def test_a_classification_is_measured_as_by_scikit_learn(weights):
    labels, logits = RANDOM.integers(0, 5, COUNT), RANDOM.normal(size=(COUNT, 5)).astype(np.float32)
    task = Classification(splits(logits, labels, weights, "abcde"), top_k=2)
    found = evaluated(task, logits)
    probabilities = task.predictions(logits)
    share = 1 if weights is None else weights.mean()  # As in Keras, the loss is divided by the number of examples.
    mean = metrics.log_loss(labels, probabilities, sample_weight=weights)
    assert found.loss == pytest.approx(mean * share, rel=1e-9)
    assert found.figures == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(labels, logits.argmax(axis=1), sample_weight=weights),
            "top_2_accuracy": metrics.top_k_accuracy_score(labels, logits, k=2, sample_weight=weights),
        }
    )


def test_smoothed_labels_are_those_of_keras():
    labels, logits = RANDOM.integers(0, 5, COUNT), RANDOM.normal(size=(COUNT, 5)).astype(np.float32)
    task = Classification(splits(logits, labels, labels="abcde"), label_smoothing=0.2)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)(np.eye(5)[labels], logits)
    assert evaluated(task, logits).loss == pytest.approx(float(theirs), rel=1e-6)
    given = keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(logits)
    assert keras.ops.convert_to_numpy(task.loss(*given)).mean() == pytest.approx(float(theirs), rel=1e-6)


def test_balanced_classes_weigh_as_in_scikit_learn():
    labels = RANDOM.integers(0, 3, 50) ** 2 % 3  # unequal numbers
    from sklearn.utils.class_weight import compute_sample_weight

    task = Classification(splits(labels, labels, labels="abc"), class_weight="balanced")
    present = len(np.unique(labels))
    expected = compute_sample_weight("balanced", labels) * present / 3
    np.testing.assert_allclose(task.weights(task.splits.train), expected, rtol=1e-6)
    task = Classification(splits(labels, labels, np.full(50, 2, np.float32), "abc"), class_weight=(1, 0, 3))
    np.testing.assert_array_equal(task.weights(task.splits.train), 2 * np.array([1, 0, 3])[labels])
    own = RANDOM.uniform(1, 9, 50).astype(np.float32)
    task = Classification(splits(labels, labels, own, "abc"), class_weight="balanced")
    sums = np.bincount(labels, task.weights(task.splits.train), 3)
    np.testing.assert_allclose(sums[sums > 0], own.sum() / 3, rtol=1e-5)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"task.label_smoothing": 0.1, "task.loss": "huber"}, r"label_smoothing=0\.1 .* config\.task\.loss='huber'"),
        ({"task.label_smoothing": 0.1, "task.name": "regression"}, "label_smoothing=0.1 is not allowed with .*'regr"),
        ({"task.class_weight": "balanced", "task.name": "segmentation"}, "class_weight='balanced' is not allowed with"),
        ({"task.top_k": 2, "task.name": "multilabel"}, "top_k=2 is not allowed with config.task.name='multilabel'"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(small, changes, says):
    small.objective = "val_loss"
    small.update_from_flattened_dict(changes)
    validate(small)
    with pytest.raises(UserError, match=says):
        beginning.check(small)


def test_labels_are_measured_as_by_scikit_learn(weights):
    targets, logits = RANDOM.integers(0, 2, (COUNT, 4)), RANDOM.normal(size=(COUNT, 4)).astype(np.float32)
    found = evaluated(Multilabel(splits(logits, targets, weights)), logits)
    assert found.figures == pytest.approx(
        {
            "accuracy": np.average((targets == (logits > 0)).mean(axis=1), weights=weights),
            "f1": metrics.f1_score(targets, logits > 0, average="micro", sample_weight=weights),
        },
        rel=1e-6,
    )
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    losses = -np.where(targets, np.log(probabilities), np.log1p(-probabilities)).mean(axis=1)
    assert found.loss == pytest.approx(np.mean(losses if weights is None else losses * weights), rel=1e-5)


@pytest.mark.any_backend
def test_any_logit_of_a_label_has_a_probability_without_a_warning():
    logits = np.array([[-1e4, -710, -700, -1, 0, 1, 1e4]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = Multilabel(splits(logits, np.ones((1, 7), int))).predictions(logits)
    np.testing.assert_allclose(found, np.exp(-np.logaddexp(0, -logits.astype(np.float64))), rtol=1e-12, atol=1e-300)


def test_masks_are_measured_as_by_scikit_learn():
    targets, logits = RANDOM.integers(0, 3, (COUNT, 4, 6)), RANDOM.normal(size=(COUNT, 4, 6, 4)).astype(np.float32)
    found = evaluated(Segmentation(splits(logits, targets, labels="abcd")), logits)
    flat, predicted = targets.reshape(-1), logits.argmax(axis=-1).reshape(-1)
    assert found.figures == pytest.approx(
        {
            "mean_iou": metrics.jaccard_score(flat, predicted, average="macro"),
            "dice": metrics.f1_score(flat, predicted, average="macro"),
            "accuracy": metrics.accuracy_score(flat, predicted),
        },
        rel=1e-6,
    )


def test_a_class_that_is_nowhere_does_not_count():
    targets = np.zeros((2, 3, 3), int)
    logits = np.stack([np.ones((2, 3, 3)), np.zeros((2, 3, 3))], axis=-1).astype(np.float32)
    assert evaluated(Segmentation(splits(logits, targets, labels="ab")), logits).figures["mean_iou"] == 1


@pytest.mark.parametrize("place", [0, 1e4])
@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 3)])
def test_a_regression_is_measured_as_by_scikit_learn(weights, shape, place):
    targets = (place + RANDOM.normal(size=shape)).astype(np.float32)
    outputs = (targets + 0.5 * RANDOM.normal(size=shape)).reshape(COUNT, -1).astype(np.float32)
    found = evaluated(Regression(splits(outputs, targets, weights)), outputs)
    mse = metrics.mean_squared_error(targets, outputs, sample_weight=weights)
    expected = {
        "mae": metrics.mean_absolute_error(targets, outputs, sample_weight=weights),
        "mse": mse,
        "r2": metrics.r2_score(targets, outputs, sample_weight=weights),
    }
    assert found.figures == pytest.approx(expected, rel=1e-4)
    assert found.loss == pytest.approx(mse if weights is None else mse * weights.mean(), rel=1e-4)


@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 3)])
def test_targets_far_from_those_of_the_training_have_their_r2(weights, shape):
    targets = (1e4 + RANDOM.normal(size=shape)).astype(np.float32)
    outputs = (targets + 0.5 * RANDOM.normal(size=shape)).reshape(COUNT, -1).astype(np.float32)
    task, far = Regression(splits(outputs, RANDOM.normal(size=shape))), Split(np.arange(COUNT), targets, weights)
    found = evaluate(task, lambda which: (outputs[which], 0.0), far, ()).figures["r2"]
    expected = metrics.r2_score(targets.astype(np.float64), outputs.astype(np.float64), sample_weight=weights)
    assert found == pytest.approx(expected, rel=1e-6)


def test_training_targets_without_weight_spoil_no_r2():
    """In a training, numbers are float32."""
    targets, outputs = RANDOM.normal(size=(2, COUNT)).astype(np.float32)
    targets[0], counted = 1e6, np.r_[0, np.ones(COUNT - 1)].astype(np.float32)
    task = Regression(splits(outputs, targets, counted))
    numbers = task.numbers(*map(keras.ops.convert_to_tensor, (targets, outputs[:, None])))
    means = {name: np.average(keras.ops.convert_to_numpy(numbers[name]), weights=counted) for name in task.counted}
    expected = metrics.r2_score(targets, outputs, sample_weight=counted)
    assert task.values(means)["r2"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("constant", [7.3, 123.456, 0.0, 1e5 / 3])
def test_constant_targets_have_no_r2(constant):
    outputs = np.zeros((COUNT, 1), np.float32)
    task = Regression(splits(outputs, RANDOM.normal(3, 1, COUNT).astype(np.float32)))
    constants = Split(np.arange(COUNT), np.full(COUNT, constant, np.float32))
    assert evaluate(task, lambda which: (outputs[which], 0.0), constants, ()).figures["r2"] == 0


def test_keras_counts_a_class_among_the_most_probable_ones():
    logits, labels = RANDOM.normal(size=(30, 8)).astype(np.float32), RANDOM.integers(0, 8, 30)
    task, name = Classification(splits(logits, labels, labels="abcdefgh")), "sparse_top_k_categorical_accuracy"
    found = evaluate(task, lambda _: (logits, 0.0), task.splits.test, (name,)).figures[name]
    assert found == pytest.approx(metrics.top_k_accuracy_score(labels, logits, k=5, labels=range(8)))


def test_further_figures_are_keras_s_and_ones_own(tmp_path, monkeypatch):
    (tmp_path / "figures_of_a_test.py").write_text(
        "import numpy as np\n\n\ndef worst(targets, predictions):\n"
        "    right = predictions.argmax(axis=1) == targets\n"
        "    return min(right[targets == label].mean() for label in np.unique(targets))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    labels, logits = RANDOM.integers(0, 3, COUNT), RANDOM.normal(size=(COUNT, 3)).astype(np.float32)
    task = Classification(splits(logits, labels, labels="abc"))
    extra = ("figures_of_a_test:worst", "SparseCategoricalCrossentropy")
    found = evaluated(task, logits, extra).figures
    recall = metrics.recall_score(labels, logits.argmax(axis=1), average=None)
    assert found["worst"] == pytest.approx(recall.min())
    assert found["sparse_categorical_crossentropy"] == pytest.approx(evaluated(task, logits).loss, rel=1e-5)


@pytest.mark.any_backend
@pytest.mark.parametrize("task", [Classification, Segmentation])
def test_losses_and_metrics_of_shares_get_one_hot_targets(table, task):
    config, _ = table
    shape = (30,) if task is Classification else (30, 4, 5)
    labels, logits = RANDOM.integers(0, 3, shape).astype(np.int32), RANDOM.normal(size=(*shape, 3)).astype(np.float32)
    own = task(splits(np.zeros((30, 2), np.float32), labels, labels="abc"))
    config.update(task={"name": task.__name__.lower()}, objective=f"val_{next(iter(own.figures))}")
    found = {}
    for name in ("categorical_crossentropy", "dice", "kl_divergence"):
        config.task.loss = name
        found[name] = evaluated(create(config, own.splits), logits, ("categorical_accuracy",))
    assert found["categorical_crossentropy"].loss == pytest.approx(evaluated(own, logits).loss, rel=1e-5)
    assert found["dice"].figures["categorical_accuracy"] == pytest.approx(np.mean(logits.argmax(-1) == labels))
    shares = own.predictions(logits)
    assert found["dice"].loss == pytest.approx(float(keras.losses.Dice()(np.eye(3)[labels], shares)), rel=1e-5)
    assert found["kl_divergence"].loss == pytest.approx(found["categorical_crossentropy"].loss, rel=1e-4)


# Whole trainings


@pytest.fixture
def table(small):
    """Returns the config of a training on a table of numbers, and scikit-learn's diabetes."""
    from sklearn.datasets import load_diabetes
    from sklearn.preprocessing import scale

    inputs, targets = load_diabetes(return_X_y=True)
    small.task.name, small.objective, small.epochs = "regression", "val_mae", 12
    small.model.name, small.model.norm = "mlp", "none"
    small.model.args.units = (16,)
    small.optimizer.learning_rate = 0.02
    inputs, targets = inputs.astype(np.float32) * 20, scale(targets).astype(np.float32)
    parts = [Split(inputs[part], targets[part]) for part in (slice(0, 300), slice(300, 370), slice(370, None))]
    return small, Splits(*parts)


@pytest.mark.any_backend
def test_a_regression_on_a_table_learns(table):
    training = Training(*table)
    first, *_, last = training.epochs()
    assert last["val_r2"] > max(0.2, first["val_r2"])
    assert set(last) == {
        *("epoch", "loss", "mae", "mse", "r2", "val_loss", "val_mae", "val_mse", "val_r2"),
        *("learning_rate", "seconds"),
    }
    assert training.best_value == min(epoch["val_mae"] for epoch in training.history)


def test_patience_ends_a_training_and_a_resumed_one_as_well(table):
    config, data = table
    config.epochs, config.patience, config.optimizer.learning_rate = 50, 2, 0.1
    training = Training(config, data)
    for _ in training.epochs():
        pass
    assert training.out_of_patience
    assert len(training.history) == training.best_epoch + 2 < 50
    again = Training(config, data)
    again.restore(*training.state())
    assert list(again.epochs()) == []


@pytest.mark.any_backend
@pytest.mark.parametrize("more", [1, 0])
def test_patience_is_on_record_only_where_it_ended_a_training(table, tmp_path, more):
    config, data = table
    config.epochs, config.patience, config.optimizer.learning_rate = 50, 2, 0.1
    training = Training(config, data)
    ran = len(list(training.epochs()))
    config.epochs = ran + more
    with folder.opened(tmp_path, config):
        done = run.train(config, data, tmp_path)
    assert (len(done.history), done.patience) == (ran, bool(more))


_OWN = """
import keras
import numpy as np
from gnexp.models.outputs import Outputs
from gnexp.tasks.regression import Regression
from gnexp.tasks.task import Task

class Good(Task):
    outputs = Outputs(1, logits=False)
    figures = {"off": "min"}
    def __init__(self, splits, power=2):
        super().__init__(splits)
        self.power = power
    def loss(self, targets, outputs):
        return keras.ops.abs(targets - outputs[:, 0]) ** self.power
    def numbers(self, targets, outputs):
        return {"off": keras.ops.abs(targets - outputs[:, 0])}

class Matrix(Good):
    def numbers(self, targets, outputs):
        return {"off": outputs}

class Hits(Good):
    figures = {"hit": "max"}
    def numbers(self, targets, outputs):
        return {"hit": keras.ops.abs(targets - outputs[:, 0]) < 0.5, "not_counted": targets}

class Lacks(Good):
    def values(self, means): return {}

class Breaks(Good):
    def values(self, means): return {"off": 1 / 0}

class Odd(Good):
    def values(self, means): return {"off": float("nan")}

class Predicts(Good):
    def predictions(self, outputs): return outputs["probabilities"]

class Without(Task):
    outputs = Outputs(1, logits=False)

class Shapeless(Task):
    figures = {"off": "min"}
    outputs = 1

class Mae(Regression):
    counted = ("mae",)
    figures = {"mae": "min"}
    def values(self, means): return means

class Lossy(Good):
    figures = {"loss": "min"}

class Backwards(Good):
    figures = {"off": "min", "accuracy": "min"}

class Downwards(Good):
    figures = {"off": "down"}

class Fails(Good):
    def loss(self, targets, outputs):
        raise KeyError("no such target")

class Heavy(Good):
    def weights(self, split): return np.ones(len(split))

class Draws(Good):
    def pictures(self, split, outputs): yield "a", b"png"

class Smudges(Good):
    def pictures(self, split, outputs): raise OSError("no ink")

class Reads(Good):
    @property
    def figures(self): raise OSError("no book")

class Spreads(Good):
    def loss(self, targets, outputs): return keras.ops.mean(keras.ops.square(targets - outputs))

class Counts(Good):
    def numbers(self, targets, outputs): return {"off": keras.ops.mean(keras.ops.abs(targets - outputs), axis=-1)}

class Nothing:
    def __init__(self, splits): pass

def loss(targets, outputs): return keras.ops.square(targets - outputs[:, 0])
def not_finite(targets, predictions): return float("nan")
def needs_two(targets, predictions): return {2: 1.0}[len(set(targets))]
def off(targets, predictions): return 0.0
def text(targets, predictions): return "good"
def alike(targets, predictions): return float(targets.shape == predictions.shape)
def spread(targets, outputs): return keras.ops.abs(targets - outputs)
def averaged(targets, outputs): return keras.ops.mean(keras.ops.square(targets - outputs), axis=-1)
def column(targets, outputs): return keras.ops.mean(keras.ops.square(targets[:, None] - outputs))
def of_batch(targets, outputs): return keras.ops.std(targets - outputs[:, 0])
def of_neighbours(targets, outputs): return keras.ops.square(targets - keras.ops.roll(outputs[:, 0], 1, axis=0))
def eager(targets, outputs): return keras.ops.convert_to_tensor(abs(np.asarray(outputs)[:, 0]))
def decides(targets, outputs): return outputs[:, 0] if keras.ops.mean(outputs) > 0 else -outputs[:, 0]
def leaves(targets, outputs): raise SystemExit(3)
def wide(targets, outputs): return keras.ops.cast(keras.ops.square(targets - outputs[:, 0]), "float16")
"""


@pytest.fixture
def own(table, tmp_path, monkeypatch):
    """Returns a config with a task of the user's own, and the dataset."""
    (tmp_path / "tasks_of_a_test.py").write_text(_OWN)
    monkeypatch.syspath_prepend(tmp_path)
    config, data = table
    config.task.name, config.objective, config.direction = "tasks_of_a_test:Good", "val_off", "min"
    return config, data


@pytest.mark.any_backend
def test_a_part_of_a_built_in_task_is_measured(own):
    config, data = own
    config.update(task={"name": "tasks_of_a_test:Mae"}, objective="val_mae", direction="")
    check(config, data)
    found = evaluate(create(config, data), lambda x: (np.zeros((len(x), 1), np.float32), 0.0), data.test)
    assert found.figures == {"mae": pytest.approx(np.abs(data.test.targets).mean(), rel=1e-5)}


@pytest.mark.any_backend
def test_a_loss_may_have_another_dtype(own):
    config, data = own
    config.task.loss, config.epochs = "tasks_of_a_test:wide", 1
    check(config, data)
    (epoch,) = Training(config, data).epochs()
    assert np.isfinite(epoch["loss"])


@pytest.mark.any_backend
def test_a_task_of_ones_own_trains(own):
    config, data = own
    config.task.args.power = 1
    config.epochs = 2
    check(config, data)
    _, last = Training(config, data).epochs()
    assert last["val_off"] == pytest.approx(last["val_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"task.name": "tasks_of_a_test:Matrix"}, r"numbers\(\) must return 'off' for each example"),
        ({"task.name": "tasks_of_a_test:Fails"}, r"cannot take a batch: .*tasks_of_a_test.py, line \d+: KeyError"),
        ({"task.name": "tasks_of_a_test:Nothing"}, "made a Nothing: it must make a gnexp.tasks.task.Task"),
        (
            {"objective": "val_of"},
            "config.objective='val_of' is not allowed: 'tasks_of_a_test:Good' has val_loss, val_off",
        ),
        ({"schedule.watch": "val_on"}, "config.schedule.watch='val_on' is not allowed"),
        ({"task.loss": "hubber"}, "config.task.loss='hubber' is not allowed: it must be a loss of Keras"),
        ({"task.figures": ("mean_error",)}, "config.task.figures='mean_error' is not allowed: it must be a metric"),
        ({"task.figures": ("tasks_of_a_test:text",)}, "text is 'good': it must be a number"),
        ({"task.figures": ("tasks_of_a_test:off",)}, "cannot have a figure 'off': two figures have that name"),
        (
            {"task.figures": ("tasks_of_a_test:of",)},
            "config.task.figures='tasks_of_a_test:of': .* has no function 'of'",
        ),
        ({"task.loss": "tasks_of_a_test:lost"}, "config.task.loss='tasks_of_a_test:lost': .* has no function 'lost'"),
        ({"task.loss": "LossFunctionWrapper"}, "config.task.loss='LossFunctionWrapper' is not allowed: it must be a"),
        ({"task.loss": "tasks_of_a_test:spread"}, r"loss has the shape \(2, 2\) for 2 examples: .*write targets"),
        ({"task.loss": "tasks_of_a_test:averaged"}, r"the loss of 2 examples together .* write targets\[:, None\]"),
        ({"task.name": "tasks_of_a_test:Spreads"}, r"the loss of 2 examples together .* spread over each other"),
        ({"task.name": "tasks_of_a_test:Counts"}, r"'off' of numbers\(\) of 2 examples .* spread over each other"),
        ({"task.loss": "tasks_of_a_test:eager"}, r"cannot take a batch: .*tasks_of_a_test.py, line \d+: "),
        ({"task.loss": "tasks_of_a_test:decides"}, r"cannot take a batch: .*tasks_of_a_test.py, line \d+: "),
        ({"task.loss": "tasks_of_a_test:leaves"}, r"cannot take a batch: .*tasks_of_a_test.py, line \d+: SystemExit"),
        ({"task.name": "tasks_of_a_test:Lossy"}, "cannot have a figure 'loss': gnexp itself uses that name"),
        ({"task.name": "tasks_of_a_test:Lacks"}, r"values\(\) returned nothing: it must return off"),
        ({"task.name": "tasks_of_a_test:Breaks"}, r"Breaks fails: .*tasks_of_a_test.py, line \d+: ZeroDivisionError"),
        (
            {"task.name": "tasks_of_a_test:Predicts", "task.figures": ("tasks_of_a_test:not_finite",)},
            r"Predicts fails: .*tasks_of_a_test.py, line \d+: IndexError",
        ),
        (
            {"task.name": "tasks_of_a_test:Heavy"},
            r"weights\(\) returned float64 of the shape \(\d+,\): it must be None",
        ),
        ({"task.name": "tasks_of_a_test:Draws"}, r"pictures\(\) yielded \('a', b'png'\): it must yield a tag and a"),
        ({"task.name": "tasks_of_a_test:Smudges"}, r"Smudges' fails: .*tasks_of_a_test.py, line \d+: OSError: no ink"),
        ({"task.name": "tasks_of_a_test:Reads"}, r"Reads' fails: .*tasks_of_a_test.py, line \d+: OSError: no book"),
        ({"task.name": "tasks_of_a_test:Without"}, "has the figures None: they must be a dict from names"),
        ({"task.name": "tasks_of_a_test:Shapeless"}, "has the outputs 1: they must be a gnexp.models.outputs.Outputs"),
        ({"direction": "max"}, "config.direction='max' is not allowed with .*'val_off': .*Good' says 'min'"),
        ({"task.name": "tasks_of_a_test:Backwards"}, "direction 'min' for 'accuracy', of which higher is better"),
        ({"task.name": "tasks_of_a_test:Downwards"}, "direction 'down' for 'off': it must be max or min"),
    ],
    ids=str,
)
def test_a_mistake_in_a_task_is_one_line_before_the_first_step(own, changes, line):
    config, data = own
    config.update_from_flattened_dict(changes)
    with pytest.raises(GnexpError, match=line) as caught:
        check(config, data)
    assert "\n" not in str(caught.value)


@pytest.mark.any_backend
@pytest.mark.parametrize("jit_compile", [False, True])
def test_numbers_may_be_truth_values(own, jit_compile):
    config, data = own
    config.task.name, config.objective, config.direction = "tasks_of_a_test:Hits", "val_hit", "max"
    config.jit_compile, config.epochs = jit_compile, 1
    check(config, data)
    (epoch,) = Training(config, data).epochs()
    assert 0 < epoch["hit"] < 1


@pytest.mark.any_backend
def test_a_figure_that_is_nan_ends_the_training_but_not_the_check_of_two_examples(own):
    config, data = own
    for changes in ({"task.figures": ("tasks_of_a_test:not_finite",)}, {"task.name": "tasks_of_a_test:Odd"}):
        config.update_from_flattened_dict(changes)
        check(config, data)
        with pytest.raises(FunctionError, match=r"(off|not_finite) is nan: it must be a finite number"):
            next(Training(config, data).epochs())


def test_the_check_sees_two_classes_and_does_not_ask_what_they_weigh(own):
    config, data = own
    config.task.figures = ("tasks_of_a_test:needs_two",)
    weights = np.ones(300, np.float32)
    weights[:100] = 0
    targets = np.where(np.arange(300) < 200, 0, 1).astype(np.float32)
    check(config, dataclasses.replace(data, train=Split(data.train.inputs, targets, weights)))


@pytest.mark.parametrize("loss", ["column", "of_batch", "of_neighbours"])
def test_a_loss_of_columns_or_of_the_batch_is_not_taken_for_one_that_spreads(own, loss):
    config, data = own
    config.task.loss = f"tasks_of_a_test:{loss}"
    check(config, data)


_OF_ALL_CLASSES = """
from sklearn import metrics

def ovr(targets, predictions): return metrics.roc_auc_score(targets, predictions, multi_class="ovr")
def log(targets, predictions): return metrics.log_loss(targets, predictions)
def wrong(targets, predictions): return metrics.roc_auc_score(targets, predictions[:, :2], multi_class="ovr")
"""


def test_a_figure_that_needs_all_classes_is_checked_with_them(table, tmp_path, monkeypatch):
    (tmp_path / "figures_of_all_classes.py").write_text(_OF_ALL_CLASSES)
    monkeypatch.syspath_prepend(tmp_path)
    config, _ = table
    labels = np.sort(RANDOM.integers(0, 30, COUNT)).astype(np.int32)
    data = splits(RANDOM.normal(size=(COUNT, 4)).astype(np.float32), labels, labels=list(map(str, range(30))))
    config.update(task={"name": "classification", "figures": ("figures_of_all_classes:ovr",)}, objective="val_loss")
    check(config, data)
    config.task.figures = ("figures_of_all_classes:log",)
    check(config, data)
    config.task.figures = ("figures_of_all_classes:wrong",)
    with pytest.raises(FunctionError, match=r"wrong fails: .*figures_of_all_classes.py, line 6: ValueError"):
        check(config, data)


def test_another_loss_takes_the_place_of_the_tasks(own):
    config, data = own
    for name, expected in (("tasks_of_a_test:loss", "mse"), ("mean_absolute_error", "mae"), ("Huber", None)):
        config.update(task={"name": "regression", "loss": name}, objective="val_mae")
        task = create(config, data)
        found = evaluated(Regression(data), data.train.targets[:, None] + 0.5)
        replaced = evaluate(task, lambda _: (data.train.targets[:, None] + 0.5, 0.0), data.train)
        assert replaced.loss == pytest.approx(found.figures[expected] if expected else 0.125, rel=1e-5)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"task.name": "regression"},
            "config.objective='val_accuracy' is not allowed: 'regression' has val_loss, val_mae",
        ),
        (
            {"objective": "val_f1"},
            "config.objective='val_f1' is not allowed: 'classification' has val_loss, val_accuracy",
        ),
        (
            {"task.name": "a:B", "objective": "val_x"},
            "config.direction='' is not allowed with config.objective='val_x'",
        ),
        (
            {"objective": "val_acuracy"},
            "config.objective='val_acuracy' is not allowed: 'classification' has val_loss, val_accuracy; "
            "did you mean 'val_accuracy'?",
        ),
        ({"schedule.watch": "val_mae"}, "config.schedule.watch='val_mae' is not allowed"),
        (
            {"task.name": "a:B", "schedule.watch": "val_x"},
            "config.direction='' is not allowed with config.schedule.watch='val_x'",
        ),
        (
            {"direction": "min"},
            "config.direction='min' is not allowed with config.objective='val_accuracy', of which higher is better",
        ),
        ({"task.figures": ("accuracy",)}, "cannot have a figure 'accuracy': two figures have that name"),
    ],
    ids=str,
)
def test_an_objective_that_cannot_be_is_refused(config, values, line):
    flat = flatten(config) | values
    with pytest.raises(UserError, match=line):
        objective.check(flat, objective.figures(flat))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("classification", (3,)),
        ("multilabel", ()),
        ("segmentation", ()),
        ("segmentation", (4, 4, 1)),
        ("regression", (2, 2)),
    ],
)
def test_targets_of_another_task_are_refused(config, name, shape):
    config.task.name = name
    with pytest.raises(
        UserError, match=f"config.task.name='{name}' is not allowed: the targets of the dataset are int32"
    ):
        create(config, splits(np.zeros((5, 8, 8, 1)), np.zeros((5, *shape), np.int32), labels="ab"))


def test_top_k_and_class_weights_fit_the_classes():
    data = splits(np.zeros(3), np.arange(3), labels="abc")
    with pytest.raises(UserError, match=r"config\.task\.top_k=3 is not allowed: it must be less than the 3 classes"):
        Classification(data, top_k=3)
    with pytest.raises(UserError, match=r"config.task.class_weight=\(1, 2\) is not allowed: it must have 3 numbers"):
        Classification(data, class_weight=(1, 2))


def test_a_network_that_gives_nan_is_told_apart_from_a_failing_figure(own):
    config, data = own
    config.task.figures = ("tasks_of_a_test:not_finite",)
    task = create(config, data)
    nothing = np.full((len(data.test), 1), np.nan, np.float32)
    assert np.isnan(evaluate(task, lambda _: (nothing, 0.0), data.test).loss)


@pytest.mark.parametrize("name", ["poisson", "hinge", "kl_divergence", "mean_squared_error", "Huber"])
def test_keras_losses_and_metrics_are_the_same_of_flat_targets_and_of_a_column(table, name):
    config, data = table
    targets = np.abs(data.train.targets) + 0.5
    outputs = np.random.default_rng(0).uniform(0.5, 2, (len(targets), 1)).astype(np.float32)
    config.update(task={"name": "regression", "loss": name}, objective="val_mae")
    figures = () if name == "Huber" else (name,)
    found = []
    for shape in ((-1,), (-1, 1)):
        split = Split(data.train.inputs, targets.reshape(shape).astype(np.float32))
        task = create(config, dataclasses.replace(data, train=split, validation=split, test=split))
        found.append(evaluate(task, lambda _: (outputs, 0.0), split, figures))
    wanted = keras.losses.get(name)
    wanted = type(wanted)(reduction=None) if isinstance(wanted, keras.losses.Loss) else wanted
    reference = keras.ops.convert_to_numpy(wanted(targets[:, None].astype(np.float32), outputs)).mean()
    for each in found:
        assert each.loss == pytest.approx(reference, rel=1e-4)
        assert not figures or each.figures[name] == pytest.approx(reference, rel=1e-4)


def test_an_own_figure_of_one_number_gets_predictions_like_its_targets(own):
    config, data = own
    config.update(task={"name": "regression", "figures": ("tasks_of_a_test:alike",)}, objective="val_mae", direction="")
    zeros = np.zeros((300, 1), np.float32)
    found = evaluate(create(config, data), lambda _: (zeros, 0.0), data.train, config.task.figures)
    assert found.figures["alike"] == 1


@pytest.mark.parametrize("name", ["dice", "Tversky", "kl_divergence"])
def test_a_loss_of_probabilities_gets_probabilities(table, name):
    config, data = table
    split = Split(data.train.inputs, (RANDOM.random((300, 4)) < 0.5).astype(np.float32))
    config.update(task={"name": "multilabel", "loss": name}, objective="val_f1")
    task = create(config, dataclasses.replace(data, train=split, validation=split, test=split))
    logits = RANDOM.normal(size=(300, 4)).astype(np.float32)
    wanted = keras.losses.get(name)
    probabilities = 1 / (1 + np.exp(-logits))
    mean = keras.ops.convert_to_numpy(wanted(split.targets, probabilities)).mean()
    assert evaluate(task, lambda _: (logits, 0.0), split).loss == pytest.approx(mean, rel=1e-4)


def test_labels_other_than_0_and_1_are_refused(table):
    config, data = table
    split = Split(data.train.inputs, np.where(RANDOM.random((300, 4)) < 0.5, -1, 1).astype(np.float32))
    config.update(task={"name": "multilabel"}, objective="val_f1")
    with pytest.raises(
        UserError, match="'multilabel' is not allowed: the targets of the dataset hold -1, and it needs 0"
    ):
        create(config, dataclasses.replace(data, train=split, validation=split, test=split))


_LABELS = """
import numpy as np

class Lazy:
    def __init__(self, labels): self.labels = labels
    def __len__(self): return 40
    def __getitem__(self, index):
        targets = np.arange(self.labels) % 2
        targets[3] = 7 if index == 20 else 1
        return np.random.default_rng(index).random(9), targets.astype(np.float32)

def make(labels=4): return {"train": Lazy(labels)}
"""


@pytest.mark.any_backend
@pytest.mark.parametrize("labels", [4, 90])
def test_labels_other_than_0_and_1_are_refused_that_are_larger_than_memory(small, tmp_path, monkeypatch, labels):
    (tmp_path / "labels_of_a_test.py").write_text(_LABELS)
    monkeypatch.syspath_prepend(tmp_path)
    small.update(task={"name": "multilabel"}, objective="val_f1")
    small.data.update(name="labels_of_a_test:make", fallback="", args={"labels": labels}, memory=100)
    data = load(small.data)
    assert not data.train.in_memory
    with pytest.raises(UserError, match="the targets of the dataset hold 7, and it needs 0 or 1 for each label"):
        create(small, data)


@pytest.mark.parametrize("count", [2, 3])
def test_a_loss_for_other_targets_is_refused_whatever_the_number_of_classes(table, count):
    config, data = table
    split = Split(data.train.inputs, (np.arange(300) % count).astype(np.int32))
    data = dataclasses.replace(data, train=split, validation=split, test=split, labels=tuple("abc"[:count]))
    config.update(task={"name": "classification", "loss": "mse"}, objective="val_accuracy")
    with pytest.raises(FunctionError, match=r"config.task.loss=.mse. cannot take a batch: "):
        check(config, data)
