"""The report of several trainings side by side, also while they run."""

import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from gnexp.analysis import trainings
from gnexp.analysis.intervals import interval95, prediction95, with_spread
from gnexp.analysis.trainings import Compared, Figures, Group, History, Record
from gnexp.config.objective import Objective, bounds, words
from gnexp.reports import page, trainings_plots
from gnexp.reports.page import Section
from gnexp.terminal.words import count, figure, short

_HEADERS = (
    "training",
    "epochs",
    "seeds",
    "last {validation}",
    "best {validation}",
    "test {figure}",
    "seconds per epoch",
)
_REFERENCE_HEADERS = tuple(f"reference: {what}" for what in ("epochs", "last", "best", "seconds"))


def write(directory: pathlib.Path) -> pathlib.Path:
    """Writes the page of the trainings in a folder, replacing an earlier one, and returns its path.

    Raises:
      UserError: there are none; nothing is written.
    """
    compared = trainings.read(directory)
    sections = [*_curves(compared), _figures(compared), _trained(compared)]
    return page.write(directory, _introduction(directory, compared), sections, board=False)


def _introduction(directory: pathlib.Path, compared: Compared) -> str:
    found = compared.trainings
    datasets = ", ".join(sorted({training.config["data.name"] for training in found}))
    text = [f"# Trainings in {directory.resolve().name}\n\n{count(len(found), 'training')} on {datasets}."]
    unfinished = [training.name for training in found if not training.finished]
    if unfinished:
        text.append(f"**Not finished: {', '.join(unfinished)}.**")
    wanted = trainings.validation(compared.headline)
    if others := [each.name for each in found if each.history and wanted not in each.history[0]]:
        text.append(f"Not compared, for lack of {wanted}: {', '.join(others)}.")
    if compared.sweeps:
        text.append(f"Sweeps have pages of their own: {', '.join(compared.sweeps)}.")
    if any(training.config["data.validation"] == "test" for training in found):
        text.append(
            "Where the validation set is the test set (`data.validation` is `test`), it chose the best epoch, and with "
            "the schedule `plateau` it set the learning rate: the figures are of the test set, and the best flatters."
        )
    if compared.source:
        text.append(f"The reference: {compared.source}")
    return " ".join(text) + page.remarks(directory / training.name for training in found)


def _curves(compared: Compared) -> list[Section]:
    groups = compared.groups
    if not groups:
        return [Section("Curves", ["No training has finished an epoch yet."])]
    colors = trainings_plots.colors(groups)
    text = "Solid: ours; of several seeds, the mean of those that were trained for longest, and each as a thin line."
    if any(group.reference for group in groups):
        text += " Dashed: the reference."
    text += " A value far from all others lies outside of the picture."
    sections = [Section("Curves", [text], "curves", trainings_plots.curves(groups, compared.headline, colors))]
    sizes: dict[int, list[Group]] = {}
    for group in groups:
        if group.trainings:
            sizes.setdefault(group.trainings[0].config["data.batch_size"], []).append(group)
    for size, members in sorted(sizes.items()):
        if len(members) > 1 and len(members) < len(groups):
            figure = trainings_plots.curves(members, compared.headline, colors)
            sections.append(Section(f"Batch size {size}", [], f"curves-batch-{size}", figure))
    return sections


def _figures(compared: Compared) -> Section:
    rows, remarks, headline = [], [], compared.headline
    referred = any(group.reference for group in compared.groups)
    for group in compared.groups:
        for epochs in group.lengths:
            figures, reference = group.after(epochs), group.reference[:epochs]
            means = [_mean(each, headline.name) for each in _accuracies(figures)]
            row = [group.name, epochs, ", ".join(map(str, figures.seeds)), *means]
            rows.append([*row, _range(figures.seconds), *(_reference(reference, headline) if referred else ())])
            if len(figures.seeds) > 1 and len(reference) == epochs:
                remarks.append(_beside(group.name, epochs, figures, trainings.best(reference, headline)))
        if not group.trainings:
            rows.append([group.name, *[""] * (len(_HEADERS) - 1), *_reference(group.reference, headline)])
    text = (
        "Each row is of the seeds that got that far, each counted once: the mean with its 95% interval (Student's t, "
        "cut off at what the figure can be) where there are several. Seconds are the median over the epochs, training "
        "and validation together, with the lowest and the highest."
    )
    if len(remarks) > 1:
        remarks.append("Where there is no difference, one such verdict in twenty is outside of the noise all the same.")
    names = {"validation": trainings.validation(headline), "figure": words(headline.name)}
    headers = [*(header.format(**names) for header in _HEADERS), *(_REFERENCE_HEADERS if referred else ())]
    return Section("Figures", [text, page.table(rows, headers), *remarks])


def _accuracies(figures: Figures) -> tuple[Sequence[float], ...]:
    return figures.last, figures.best, figures.test


def _mean(values: Sequence[float], figure: str) -> str:
    return with_spread(statistics.fmean(values), interval95(values), bounds(figure)) if values else ""


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def _reference(epochs: History, headline: Objective) -> list[Any]:
    if not epochs:
        return [""] * len(_REFERENCE_HEADERS)
    seconds = [epoch["seconds"] for epoch in epochs]
    return [
        len(epochs),
        figure(epochs[-1][trainings.validation(headline)]),
        figure(trainings.best(epochs, headline)),
        _range(seconds),
    ]


def _beside(name: str, epochs: int, figures: Figures, reference: float) -> str:
    difference = statistics.fmean(figures.best) - reference
    said = f"{name}, best of {epochs} epochs: our mean minus the reference is {difference:+.4f}."
    if len(set(figures.best)) == 1:
        return f"{said} Our seeds have no spread to judge it by."
    within = prediction95(figures.best)
    verdict = "inside the noise" if abs(difference) <= within else "**outside of the noise**"
    return f"{said} Another seed of ours would lie within {within:.4f} of our mean (95%, Student's t): {verdict}."


def _trained(compared: Compared) -> Section:
    found = compared.trainings
    differing = [
        path
        for path in found[0].config
        if path not in trainings.NO_MATTER and len({repr(training.config.get(path)) for training in found}) > 1
    ]
    rows = [
        [
            training.name,
            *(short(training.config.get(path, "")) for path in differing),
            training.config["seed"],
            f"{len(training.history)} of {training.config['epochs']}",
            _state(training),
        ]
        for training in found
    ]
    return Section("What was trained", [page.table(rows, ["training", *differing, "seed", "epochs", "state"])])


def _state(training: Record) -> str:
    if training.finished:
        return "finished"
    return page.code(training.ended["message"]) if training.ended else "not finished"
