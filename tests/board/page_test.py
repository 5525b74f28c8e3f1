"""The tab Sweeps in a real TensorBoard and a real browser."""

import csv
import json
import math
import shutil
import time
import urllib.parse

import pytest

from gnexp import report
from gnexp.space import by, choice
from gnexp.workdir import files
from tests.support import pages
from tests.support.made_up import MARKUP, add_trials, conditional_sweep, race

pytestmark = [pytest.mark.any_backend, pytest.mark.slow]

PANELS = ["answer", "progress", "curves", "slices", "parallel", "contour", "importance", "distribution", "timeline"]


def test_every_panel_is_drawn_and_markup_stays_text(page):
    page.open(open=["team/live"], kind="sweep")
    for panel in PANELS:
        page.drawn(panel)
    failed = page.browser.execute_script("return document.title") + " ".join(page.texts("td"))
    assert MARKUP in failed and not failed.startswith("1")
    assert not page.all("main img") and not page.all("td b")
    summaries = page.texts("details > summary")
    assert summaries.count("As a table") == len(PANELS) - 1  # the answer is one


def test_the_pictures_hold_the_figures(page):
    page.open(open=["team/live"], kind="sweep")
    page.drawn("progress")
    script = "return document.querySelector('#panel-progress .figure').data.map((trace) => [trace.x.length, trace.y])"
    (done, scores), (_, best), (failed, _) = page.browser.execute_script(script)
    assert (done, failed) == (25, 3) and max(scores) == best[-1] and best == sorted(best)
    page.drawn("parallel")
    script = """return document.querySelector('#panel-parallel .figure').data[0].dimensions.map(
        (axis) => axis.values.length)"""
    assert set(page.browser.execute_script(script)) == {28}  # also those that failed
    assert page.texts("#panel-parallel .axis-extent-bottom-text")[-2:] == ["none", "failed"]


def test_a_brush_filters_the_table_and_a_reload_keeps_it(page):
    page.open(open=["team/live"], kind="sweep")
    page.drawn("parallel")
    script = """
        const figure = document.querySelector('#panel-parallel .figure');
        const axis = figure.data[0].dimensions.findIndex((each) => each.label === 'val_accuracy');
        Plotly.restyle(figure, {[`dimensions[${axis}].constraintrange`]: [[0.9, 1]]}, [0]);"""
    page.browser.execute_script(script)
    page.until(lambda: "brushes" in page.choice())
    left = page.until(lambda: not page.status().startswith("30") and page.status())
    assert page.choice()["brushes"] == {"mean": [[0.9, None]]}  # Later trials may be better still.
    page.browser.switch_to.default_content()
    page.browser.refresh()
    page.enter()
    page.until(page.trials)
    assert page.status() == left
    page.button("Clear filters").click()
    page.until(lambda: page.status() == "30 of 30 trials")


_TICKS = """
    const axis = document.querySelectorAll('#panel-parallel .y-axis')[arguments[0]];
    return [...axis.querySelectorAll('.tick')].filter((tick) => tick.style.display !== 'none').map((tick) => {
        const { x, width, y, height } = tick.querySelector('line').getBoundingClientRect();
        return [tick.textContent, x + width, y + height / 2];
    });"""


@pytest.mark.parametrize(
    ("number", "path", "ends"),
    [(3, "optimizer.learning_rate", ["0.001", "0.1"]), (4, "optimizer.momentum", ["0.6", "0.8"])],
)
def test_a_brush_that_is_drawn_selects_what_lies_under_it(page, shown, number, path, ends):
    page.open(open=["team/live"], kind="sweep")
    page.drawn("parallel")
    page.until(lambda: any(text == ends[1] for text, *_ in page.browser.execute_script(_TICKS, number)))
    places = {text: (x, y) for text, x, y in page.browser.execute_script(_TICKS, number)}
    page.drag(places[ends[0]], places[ends[1]])
    ((low, high),) = page.until(lambda: page.choice().get("brushes"))[path]
    scale = math.log10 if path == "optimizer.learning_rate" else float
    assert [low, high] == pytest.approx([scale(float(end)) for end in ends], abs=0.05)  # a few pixels
    trials = [json.loads(each.read_text()) for each in (shown / "team/live/oracle").glob("trial_*/trial.json")]
    values = [trial["hyperparameters"]["values"].get(path) for trial in trials]
    left = sum(value is not None and low <= scale(value) <= high for value in values)
    page.until(lambda: page.status() == f"{left} of 30 trials")
    aside = places[ends[0]][0], places[ends[0]][1] + 15
    page.drag(aside, aside)  # A click beside it takes it away.
    page.until(lambda: page.status() == "30 of 30 trials")


def test_an_axis_that_is_moved_keeps_each_brush_where_it_is(page):
    page.open(open=["team/live"], kind="sweep", brushes={"mean": [[0.9, None]]})
    page.drawn("parallel")
    left = page.until(lambda: not page.status().startswith("30") and page.status())
    # What Plotly does when the name of an axis is dragged to the left end.
    page.browser.execute_script("""
        const figure = document.querySelector('#panel-parallel .figure');
        const { dimensions } = figure.data[0];
        dimensions.unshift(dimensions.splice(dimensions.findIndex((each) => each.label === 'val_accuracy'), 1)[0]);
        figure.emit('plotly_restyle', [{ dimensions: [dimensions] }, [0]]);""")
    page.until(lambda: page.choice().get("axesOrder", [""])[0] == "mean")
    assert page.choice()["brushes"] == {"mean": [[0.9, None]]} and page.status() == left
    names = "return document.querySelector('#panel-parallel .figure').data[0].dimensions.map((each) => each.label)"
    page.until(lambda: page.browser.execute_script(names)[0] == "val_accuracy")


def test_new_trials_appear_and_nothing_chosen_is_lost(page, shown):
    page.open(open=["team/live"], kind="sweep", filters={"optimizer.name": "sgd"}, picked=["0003"])
    page.until(page.trials)
    before = page.status()
    assert before == "13 of 30 trials"
    page.drawn("slices")
    page.browser.execute_script("document.querySelector('.rows').scrollTop = 12")
    place = page.browser.execute_script("return scrollY")
    add_trials(shown / "team" / "live", range(30, 34))
    page.until(lambda: page.status() == "15 of 34 trials")
    assert page.browser.execute_script("return [scrollY, document.querySelector('.rows').scrollTop]") == [place, 12]
    assert page.choice()["picked"] == ["0003"] and page.choice()["filters"] == {"optimizer.name": "sgd"}
    for number in range(30, 34):
        shutil.rmtree(shown / "team/live/oracle" / f"trial_{number:04}")
    page.until(lambda: page.status() == before)


def focus(page):
    return page.browser.execute_script("return document.activeElement.ariaLabel ?? document.activeElement.textContent")


def test_the_focus_stays_where_it_is(page, shown):
    page.open(open=["team/live"], kind="sweep")
    page.drawn("progress")
    page.browser.execute_script("document.querySelector('table.trials tbody input').focus()")
    marked = focus(page)
    page.browser.switch_to.active_element.send_keys(" ")
    page.until(lambda: "picked" in page.choice())
    assert focus(page) == marked
    try:
        add_trials(shown / "team" / "live", [30])  # the best of all, so that it comes first
        page.until(lambda: page.status() == "31 of 31 trials")
        assert focus(page) == marked
    finally:
        for folder in ("oracle/trial_0030", "trials/0030"):
            shutil.rmtree(shown / "team" / "live" / folder)
    page.until(lambda: page.status() == "30 of 30 trials")
    page.browser.execute_script("document.querySelector('table.trials th button').focus()")
    page.browser.switch_to.active_element.send_keys("\ue007")
    page.until(lambda: page.choice().get("sort", [""])[0] == "id")
    assert focus(page).startswith("trial")
    page.browser.execute_script("document.querySelector('#panel-progress select').focus()")
    page.browser.switch_to.active_element.send_keys("\ue015")
    page.until(lambda: page.choice().get("progressX") == "time")
    time.sleep(0.5)
    assert focus(page) == "the trialstime"


def test_a_click_on_what_a_filter_changes_is_not_lost(page, downloads):
    page.open(open=["team/live"], kind="sweep")
    page.until(page.trials)
    before = set(downloads.glob("*.csv"))
    page.one("input[aria-label='Filter optimizer.name']").send_keys("sgd")
    page.button("CSV").click()
    (saved,) = page.until(lambda: set(downloads.glob("*.csv")) - before)
    rows = list(csv.DictReader(saved.read_text(encoding="utf-8").splitlines()))
    saved.unlink()
    assert {row["optimizer.name"] for row in rows} == {"sgd"}


def test_the_curves_of_every_figure_are_offered_and_their_table_is_that_of_the_picture(page, shown):
    folder = conditional_sweep(shown / "losses", 6)
    for path in folder.glob("trials/*/seed-*/result.json"):
        record = files.read_json(path)
        record["history"] = [{**epoch, "loss": 0.4, "val_loss": 0.5} for epoch in record["history"]]
        files.write_json(path, record)
    page.open(open=["losses"], kind="sweep")
    page.drawn("curves")
    names = page.until(lambda: len(page.texts("#panel-curves option")) > 1 and page.texts("#panel-curves option"))
    page.one("#panel-curves summary").click()
    box = page.one("#panel-curves select")
    box.find_elements("css selector", "option")[names.index("loss")].click()
    page.until(lambda: page.choice().get("curveFigure") == "val_loss")
    assert "last val_loss" in page.texts("#panel-curves th")
    page.browser.execute_script("document.querySelector('table.trials tbody input').click()")
    (picked,) = page.until(lambda: page.choice().get("picked"))
    page.until(lambda: set(page.texts("#panel-curves tbody td:first-child")) == {picked})
    shutil.rmtree(folder)


def test_a_race_has_one_best_trial_everywhere(page, shown):
    directory = race(shown / "race")
    page.open(open=["race"], kind="sweep")
    page.drawn("progress")
    assert page.trials() == ["0002", "0003", "0001", "0000"] and "best: trial 0002" in page.texts("main > p")[0]
    script = "return document.querySelector(`#panel-${arguments[0]} .figure`).data"
    assert page.browser.execute_script(script, "progress")[1]["y"] == pytest.approx([0.9, 0.95, 0.9, 0.9])
    page.drawn("distribution")
    assert page.browser.execute_script(script, "distribution")[0]["x"] == pytest.approx([0.825, 0.9])
    page.button("0002").click()
    page.until(lambda: "trials/0000/seed-0" in page.one("dialog[open]").text)
    assert "val_accuracy 0.9000" in page.one("dialog[open]").text
    shutil.rmtree(directory)


def test_compared_sweeps_share_no_axis_of_different_objectives_and_one_may_be_gone(page, shown):
    losses = pages.sweep(shown / "other" / "live", {"model.groups": choice(1, 2)}, executions=2, objective="val_loss")
    for number in (0, 1):
        pages.trial(losses, number, {"model.groups": number + 1}, [3e-6, 4e-6], objective="val_loss", tests=[0.8, 0.9])
    names = ["team/live", "other/live", "kept/epsilon", "gone/live"]
    page.open(open=names, kind="sweep")
    figures = """return [...document.querySelectorAll('.panel .figure')].map((figure) =>
        [figure.layout?.xaxis.title.text, (figure.data ?? []).map((trace) => trace.name)])"""
    for panel in ("progress", "distribution", "progress1", "distribution1"):
        page.drawn(panel)
    _, accuracy, _, loss = page.browser.execute_script(figures)
    assert accuracy == ["val_accuracy", ["team/live", "kept/epsilon"]] and loss == ["val_loss", ["other/live"]]
    assert "gone/live" in "".join(page.texts(".failure"))
    row = next(text for text in page.texts("tbody tr") if text.startswith("other/live"))
    assert "val_loss 3.5e-06" in row and "accuracy " in row
    page.open(open=["other/live"], kind="sweep")
    page.until(page.trials)
    assert "3.5e-06" in page.texts("table.trials tbody td")
    assert page.console() and page.console() == []  # the 404 of the one that is gone
    shutil.rmtree(losses)


def test_a_link_of_wrong_types_or_of_another_state_opens_what_there_is(page):
    page.open(open=["team/live"], kind="sweep", brushes={"mean": [0.7, 0.8]}, filters={"mean": 3}, sort="mean", trial=1)
    page.until(lambda: page.status() == "30 of 30 trials")
    first = page.texts("table.trials tbody tr:first-child td.number")
    page.filter("val_accuracy", f"={first[3]}")  # as it is written there
    page.until(lambda: page.status() == "1 of 30 trials")
    page.open(open=["team/live"], kind="sweep", picked=["0003", "9999"], filters={"model.gone": "1"})
    page.until(lambda: page.status() == "30 of 30 trials")
    page.drawn("curves")
    page.until(lambda: "There is no trial 9999." in page.texts("#panel-curves .note")[0])
    page.open(open="full")
    page.until(lambda: "team/live" in page.texts("tbody button.link"))


def test_a_link_is_followed_in_an_open_tab_and_the_address_keeps_the_choice(page):
    page.open(open=["team/live"], kind="sweep")
    page.until(page.trials)
    link = urllib.parse.quote(json.dumps({"open": ["kept/epsilon"], "kind": "sweep"}))
    page.browser.execute_script(f"window.parent.location.hash = 'sweeps&sweeps-choice={link}'")
    page.until(lambda: page.texts("h1") == ["kept/epsilon"] and page.trials())
    # What TensorBoard does when its tabs are changed and changed back.
    page.browser.execute_script("window.parent.history.pushState({}, '', '#sweeps')")
    page.until(lambda: "sweeps-choice" in page.browser.execute_script("return window.parent.location.hash"))
    assert page.choice()["open"] == ["kept/epsilon"]


def test_a_combination_without_the_axis_has_a_place_in_the_answers_picture(page, shown):
    space = {"model.norm": choice("layer", "group", role="nuisance")}
    space["model.groups"] = by("model.norm", group=choice(1, 2, 4))
    folder = pages.sweep(shown / "none", space, executions=2)
    all_values = [{"model.norm": "layer"}, *({"model.norm": "group", "model.groups": each} for each in (1, 2, 4))]
    for number, values in enumerate(all_values):
        pages.trial(folder, number, values, [0.8 + 0.01 * number, 0.81 + 0.01 * number])
    page.open(open=["none"], kind="sweep")
    page.drawn("answer")
    script = """
        const { data, layout } = document.querySelector('#panel-answer .figure');
        return [data.flatMap((trace) => trace.customdata), layout.xaxis.ticktext];"""
    trials, names = page.browser.execute_script(script)
    assert set(trials) == {"0000", "0001", "0002", "0003"} and names == ["none", "1", "2", "4"]
    shutil.rmtree(folder)


def test_the_dialog_of_a_trial_that_runs_follows_it(page, shown):
    values = {"model.groups": 1, "model.norm": "group", "optimizer.name": "adam", "optimizer.learning_rate": 0.001}
    folder = shown / "team" / "live"
    pages.trial(folder, 40, values, [0.8], status="RUNNING")
    page.open(open=["team/live"], kind="sweep", trial="0040")
    page.until(lambda: "Trial 0040: running" in page.one("dialog[open]").text)
    shutil.rmtree(folder / "oracle" / "trial_0040")
    pages.trial(folder, 40, values, [0.8, 0.8, 0.8])
    page.until(lambda: "Trial 0040: completed" in page.one("dialog[open]").text)
    for part in ("oracle/trial_0040", "trials/0040"):
        shutil.rmtree(folder / part)


def test_a_trial_opens_by_keyboard_and_says_why_it_failed(page):
    page.open(open=["team/live"], kind="sweep", sort=["status", -1], states=["failed"])
    page.until(page.trials)
    page.one(".rows").send_keys("\ue015", "\ue013", "\ue007")  # down, up, Enter
    dialog = page.one("dialog[open]")
    page.until(lambda: "Traceback" in dialog.text)
    first = page.trials()[0]
    assert f"Trial {first}: failed" in dialog.text and MARKUP in dialog.text
    assert f"--config=trial-{first}.py" in dialog.text and page.choice()["trial"] == first
    assert not page.all("dialog img")
    dialog.send_keys("\ue00c")  # Escape
    page.until(lambda: not page.all("dialog[open]"))
    assert "trial" not in page.choice()
    page.open(open=["team/live"], kind="sweep", trial=first)  # a link to it
    page.until(lambda: "Traceback" in page.one("dialog[open]").text)


def test_sweeps_and_trainings_are_listed_searched_and_compared(page):
    page.open()
    names = ["kept/epsilon", "kept/groups", "team/live", "trainings/bn_bs1", "trainings/gn8_bs1"]
    page.until(lambda: page.texts("tbody button.link") == names)
    assert page.all("td[title='kept/epsilon']")  # A long path is cut off.
    page.one("input[type=search]").send_keys("completed")  # That word is not on the page.
    page.until(lambda: not page.texts("tbody button.link"))
    page.one("input[type=search]").clear()
    page.one("input[type=search]").send_keys("kept")
    page.until(lambda: page.texts("tbody button.link") == names[:2])
    for place in (0, 1):
        page.all("tbody input")[place].click()
    page.until(lambda: page.button("Compare").is_enabled())
    page.button("Compare").click()
    page.drawn("progress")
    page.drawn("distribution")
    assert "grid" in page.texts("td") and "sweep.max_trials" in page.texts("td")
    page.open(open=names[3:], kind="training")
    page.drawn("curves")
    assert "model.norm" in page.texts("td")


def test_it_follows_the_dark_mode_and_fits_any_width(page):
    page.open(open=["team/live"], kind="sweep")
    page.drawn("slices")
    colors = []
    color = "return document.querySelector('#panel-slices .figure')._fullLayout.font.color"
    for dark in ("false", "true"):
        page.browser.execute_script(f"window.parent.document.body.classList.toggle('dark-mode', {dark})")
        page.until(lambda: page.browser.execute_script(color) not in colors)
        colors.append(page.browser.execute_script(color))
    assert page.browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    page.drawn("parallel")
    scale = "return document.querySelector('#panel-parallel .figure').data[0].line.colorscale"
    assert page.browser.execute_script(scale)[0] != "C"  # The dark end of Cividis is not seen on a dark ground.
    for width in (600, 1280, 3840):
        page.browser.set_window_size(width, 1000)
        time.sleep(0.5)
        wide = page.browser.execute_script("return [document.body.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]
    page.browser.set_window_size(1280, 1000)


def test_without_plotly_the_tab_says_what_to_install(page):
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*plotly.js*"]})
    try:
        page.open(open=["kept/epsilon"], kind="sweep")
        page.until(lambda: any("pip install plotly" in text for text in page.texts(".figure .note")))
        assert page.trials()
    finally:
        page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    assert all("plotly.js" in message for message in page.console())


def test_a_sweep_that_goes_away_while_it_is_shown(page, shown):
    conditional_sweep(shown / "gone", 6)
    page.open(open=["gone"], kind="sweep")
    page.until(page.trials)
    shutil.rmtree(shown / "gone")
    page.until(lambda: "deleted or moved" in "".join(page.texts("[role=alert]")))
    assert page.trials()  # what was shown stays
    page.open()
    assert all("404" in message for message in page.console())


def test_the_report_opens_without_a_server(page, shown):
    path = report.pages(shown / "team" / "live")[-1]
    page.browser.switch_to.default_content()
    page.browser.get(path.as_uri())
    page.until(page.trials)
    for panel in PANELS:
        page.drawn(panel)
    page.all("table.trials tbody button.link")[0].click()
    page.until(lambda: "Train it again" in page.one("dialog[open]").text)
    page.button("Close").click()
    failed = page.browser.execute_script("return document.querySelector('tr.failed')?.dataset.key")
    page.browser.execute_script("document.querySelector('tr.failed input').click()")
    page.drawn("curves")
    page.until(lambda: f"does not hold the curves of trial {failed}." in page.texts("#panel-curves .note")[0])


def test_the_table_is_sorted_filtered_and_saved(page, downloads):
    page.open(open=["team/live"], kind="sweep")
    page.until(page.trials)
    by_score = page.trials()
    next(each for each in page.all("table.trials th button") if each.text.startswith("trial")).click()
    page.until(lambda: page.trials()[0] == "0000")
    assert by_score[0] != "0000" and page.choice()["sort"] == ["id", 1]
    page.filter("optimizer.name", "sgd")
    page.filter("model.groups", "2..4")
    left = [f"{number:04}" for number in range(30) if number % 9 in (1, 3, 5, 8) and number % 4 in (1, 2)]
    page.until(lambda: page.trials() == left)
    assert page.status() == f"{len(left)} of 30 trials"
    page.button("CSV").click()
    saved = page.until(lambda: list(downloads.glob("live*.csv")))[0]
    rows = list(csv.DictReader(saved.read_text(encoding="utf-8").splitlines()))
    assert [row["id"] for row in rows] == page.trials()
    assert {row["optimizer.name"] for row in rows} == {"sgd"} and all(row["optimizer.momentum"] for row in rows)
    page.button("JSON").click()
    saved = page.until(lambda: list(downloads.glob("live*.json")))[0]
    assert [row["id"] for row in json.loads(saved.read_text())] == page.trials()


def test_it_works_in_the_frame_of_a_notebook_of_another_origin(page, board, tmp_path):
    (tmp_path / "notebook.html").write_text(f'<iframe src="{board.url}#sweeps" width="1200" height="900"></iframe>')
    page.browser.switch_to.default_content()
    page.browser.get((tmp_path / "notebook.html").as_uri())
    page.browser.switch_to.frame(0)
    page.enter()
    page.until(lambda: "team/live" in page.texts("tbody button.link"))
    page.button("team/live").click()
    page.drawn("progress")
    assert page.choice()["open"] == ["team/live"]
