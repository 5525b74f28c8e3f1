"""The tab Sweeps over HTTP: what it answers, and what it must never do."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import tomllib

import pytest
from scipy import stats
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from gnexp import report
from gnexp.analysis import outcomes
from gnexp.board import as_json, board, html, watched
from gnexp.board.plugin import ROUTES, SweepsPlugin
from gnexp.config.paths import flatten
from gnexp.config.stored import to_json
from gnexp.space import by, choice, floats
from gnexp.workdir import files
from tests.support import made_up, pages

pytestmark = pytest.mark.any_backend

ROOT = pathlib.Path(__file__).parents[2]
MARKUP = '<img src=x onerror="document.title=1"></script><b>&amp;'
SPACE = {
    "model.groups": choice(1, 2),
    "optimizer.name": choice("adam", "sgd", role="nuisance"),
    "optimizer.momentum": by("optimizer.name", role="nuisance", sgd=floats(0.5, 0.99)),
}


def made(directory: pathlib.Path) -> pathlib.Path:
    """Makes a sweep of six trials with conditional values, of which one failed and one still runs."""
    folder = pages.sweep(directory, SPACE, executions=3)
    for number in range(4):
        values = {"model.groups": number % 2 + 1, "optimizer.name": "adam"}
        pages.trial(folder, number, values, [0.8 + 0.01 * number + 0.002 * seed for seed in range(3)])
    sgd = {"model.groups": 1, "optimizer.name": "sgd", "optimizer.momentum": 0.7}
    pages.trial(folder, 4, sgd, status="FAILED", message=f"seed 0: {MARKUP}")
    failed = folder / "trials" / "0004" / "seed-0"
    failed.mkdir(parents=True)
    (failed / "config.json").write_text("{}")
    (failed / "result.json").write_text(json.dumps({"status": "failure", "message": MARKUP}))
    (failed / "traceback.txt").write_text(f"Traceback\n{MARKUP}")
    pages.trial(folder, 5, {"model.groups": 2, "optimizer.name": "adam"}, [0.9], status="RUNNING")
    return folder


class Asked:
    """The plugin's handlers for a logdir, as TensorBoard calls them."""

    def __init__(self, logdir):
        self._apps = SweepsPlugin(base_plugin.TBContext(logdir=str(logdir))).get_plugin_apps()

    def response(self, route, name="", arg=""):
        """Returns the response, whatever its status."""
        return Client(self._apps[f"/{route}"]).get(query_string={"name": name, "arg": arg})

    def __call__(self, route, name="", arg=""):
        """Returns the answer; asks only once what was read before counts as old."""
        time.sleep(watched._SECONDS)
        return json.loads(self.response(route, name, arg).data)


@pytest.fixture
def logdir(tmp_path):
    folder = tmp_path / "runs"
    made(folder / "deep" / "er" / "sweep")
    return folder


@pytest.fixture
def ask(logdir):
    return Asked(logdir)


SWEEP = "deep/er/sweep"


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_list_has_sweeps_and_trainings_at_any_depth(logdir):
    shutil.copytree(ROOT / "results/epsilon", logdir / "kept")
    shutil.copytree(ROOT / "results/original/gn8_bs1", logdir / "a" / "training")
    (logdir / "another's").mkdir()
    (logdir / "another's" / "config.json").write_text("[1]")
    listed = {entry["name"]: entry for entry in Asked(logdir)("list")["entries"]}
    assert {name: entry["kind"] for name, entry in listed.items()} == {
        SWEEP: "sweep",
        "kept": "sweep",
        "a/training": "training",
    }
    assert listed[SWEEP]["counts"] == {"completed": 4, "running": 1, "failed": 1}
    assert listed[SWEEP]["best"][:2] == ["0003", pytest.approx(0.832)]
    assert listed["kept"]["finished"] and listed["a/training"]["epochs"] == [13, 13]
    written = (logdir / "a" / "training" / "result.json").stat().st_mtime
    assert listed["a/training"]["last"] == pytest.approx(written, abs=1)
    assert listed["kept"]["network"] == "cnn group8"
    inside = Asked(logdir / SWEEP)("list")
    assert [entry["name"] for entry in inside["entries"]] == ["."]


def test_a_sweep_that_is_finished_is_listed_from_its_result(logdir, ask, monkeypatch):
    record = {"status": "success", "trials": {"completed": 5, "failed": 1}, "failures": {}}
    record["best"] = [{"trial": "0003", "mean": 0.832, "interval95": 0.005, "scores": [], "values": {}}]
    (logdir / SWEEP / "result.json").write_text(json.dumps(record))
    monkeypatch.setattr(watched, "read_trial", None)
    (entry,) = ask("list")["entries"]
    assert entry["finished"] and entry["best"] == ["0003", 0.832, 0.005] and entry["expected"] == 6


def test_a_row_has_values_mean_and_interval(ask):
    found = ask("sweep", SWEEP)
    rows = {row["id"]: row for row in found["trials"]}
    assert [row["status"] for row in rows.values()] == ["completed"] * 4 + ["failed", "running"]
    scores = [0.82, 0.822, 0.824]
    low, high = stats.t.interval(0.95, 2, loc=0.822, scale=stats.sem(scores))
    assert rows["0002"]["mean"] == pytest.approx(0.822)
    assert rows["0002"]["interval"] == pytest.approx((high - low) / 2)
    assert rows["0004"]["message"] == f"seed 0: {MARKUP}" and "mean" not in rows["0004"]
    assert rows["0005"]["scores"] == [0.9] and "mean" not in rows["0005"]
    columns = {column["path"]: column for column in found["columns"]}
    assert columns["optimizer.momentum"]["conditional"] and columns["optimizer.momentum"]["range"] == [0.5, 0.99]
    assert columns["model.groups"]["role"] == "scientific" and columns["model.groups"]["values"] == [1, 2]
    assert columns["optimizer.name"]["role"] == "nuisance" and not columns["optimizer.name"]["numeric"]


def test_only_what_changed_is_read_and_sent_again(logdir, ask, monkeypatch):
    version, read = ask("sweep", SWEEP)["version"], []
    original = watched.read_trial
    monkeypatch.setattr(watched, "read_trial", lambda *given: read.append(given[1].parent.name) or original(*given))
    again = ask("sweep", SWEEP, version)
    assert (again["version"], again["trials"], again["all"], read) == (version, [], False, [])
    shutil.rmtree(logdir / SWEEP / "oracle" / "trial_0005")
    pages.trial(logdir / SWEEP, 6, {"model.groups": 2, "optimizer.name": "adam"}, [0.95, 0.95, 0.95])
    gone = ask("sweep", SWEEP, version)
    assert gone["all"] and [row["id"] for row in gone["trials"]] == ["0000", "0001", "0002", "0003", "0004", "0006"]
    assert read == ["trial_0006"]
    pages.trial(logdir / SWEEP, 7, {"model.groups": 2, "optimizer.name": "adam"}, status="RUNNING")
    added = ask("sweep", SWEEP, gone["version"])
    assert [row["id"] for row in added["trials"]] == ["0007"] and not added["all"]
    assert ask("sweep", SWEEP, "of another server.1")["all"]


def test_a_trial_that_ends_is_noticed(logdir, ask):
    version = ask("sweep", SWEEP)["version"]
    path = logdir / SWEEP / "oracle" / "trial_0005" / "trial.json"
    shutil.rmtree(path.parent)
    pages.trial(logdir / SWEEP, 5, {"model.groups": 2, "optimizer.name": "adam"}, [0.9, 0.91, 0.92])
    (row,) = ask("sweep", SWEEP, version)["trials"]
    assert row["status"] == "completed" and row["mean"] == pytest.approx(0.91)
    assert ask("sweep", SWEEP, version)["best"][0] == "0005"


def test_the_answer_is_that_of_the_report(logdir, ask):
    shutil.copytree(ROOT / "results/epsilon", logdir / "kept")
    found = ask("answer", "kept")
    page = (ROOT / "results/epsilon/report/README.md").read_text()
    assert found["how"] in page and found["compared"] in page
    rows = pages.table(page, "What the sweep asks")
    assert [[str(cell) for cell in row] for row in found["rows"]] == [list(row.values()) for row in rows]
    assert [point["test"] for point in found["points"]] == [
        pytest.approx(float(row["test accuracy"].split()[0]), abs=1e-4) for row in rows
    ]


def test_a_trial_in_full(ask):
    found = ask("trial", SWEEP, "0004")
    assert ["optimizer.momentum", 0.9, 0.7] in found["beside"] and found["message"] == f"seed 0: {MARKUP}"
    (seed,) = found["seeds"]
    assert seed["traceback"] == f"Traceback\n{MARKUP}" and seed["folder"] == "trials/0004/seed-0"
    names: dict = {}
    exec(found["file"], names)
    again = flatten(to_json(names["get_config"]()))
    assert again == found["config"] and again["optimizer.momentum"] == 0.7 and "sweep.tuner" not in again
    curves = ask("curves", SWEEP, "0000,0003,")["curves"]
    assert [(curve["trial"], curve["seed"]) for curve in curves] == [
        (t, s) for t in ("0000", "0003") for s in (0, 1, 2)
    ]
    assert curves[0]["epochs"]["val_accuracy"][-1] == pytest.approx(0.8)
    some = ask("curves", SWEEP, "0003,9999")  # as a link may have it
    assert {curve["trial"] for curve in some["curves"]} == {"0003"} and some["absent"] == ["9999"]


def test_a_trial_names_its_searched_values_also_where_they_are_the_configs_own(ask):
    found = ask("trial", SWEEP, "0001")
    assert {path for path, *_ in found["beside"]} == {"model.groups", "optimizer.name"}


def test_the_timeline_has_a_lane_for_each_training_at_a_time(logdir, ask):
    for trial, seed, start, took in (("0000", 0, 0, 50), ("0000", 1, 55, 50), ("0001", 0, 10, 60)):
        folder = logdir / SWEEP / "trials" / trial / f"seed-{seed}"
        begun = {"started": f"2026-01-01T00:{start // 60:02}:{start % 60:02}+00:00", "host": "node"}
        (folder / "provenance.json").write_text(json.dumps([begun]))
        end = 1767225600 + start + took
        os.utime(folder / "result.json", (end, end))
    found = ask("timeline", SWEEP)
    bars = {(bar["trial"], bar["seed"]): (bar["lane"], bar["end"] - bar["start"]) for bar in found["bars"]}
    assert bars == {("0000", 0): (0, 50), ("0000", 1): (0, 50), ("0001", 0): (1, 60)}
    assert found["lanes"] == ["node, 1", "node, 2"]


@pytest.mark.parametrize("damage", ['[{"started": ""}]', '[{"started": "20', "[{}]", '["x"]'])
def test_an_odd_date_hides_one_bar_and_nothing_else(logdir, ask, damage):
    for trial, text in (("0000", damage), ("0001", '[{"started": "2026-01-01T00:00:00+00:00"}]')):
        (logdir / SWEEP / "trials" / trial / "seed-0" / "provenance.json").write_text(text)
    found = ask("timeline", SWEEP)
    assert [bar["trial"] for bar in found["bars"]] == ["0001"] and found["unread"] == 1


def test_an_answer_that_goes_wrong_keeps_no_other_from_the_report(logdir, monkeypatch):
    monkeypatch.setattr(board.timeline, "timeline", lambda watched: 1 / 0)
    found = html.gather(board.Board(logdir))
    assert "ZeroDivisionError" in found["timeline"][SWEEP][""]["problem"] and found["trial"][SWEEP]


def test_a_pause_does_not_count_for_the_time_left(logdir, ask):
    ends = [*range(0, 600, 60), 172_800, 172_860]
    for number, end in enumerate(ends):
        if number > 5:
            pages.trial(logdir / SWEEP, number, {"model.groups": 2, "optimizer.name": "adam"}, [0.9, 0.9, 0.9])
        path = logdir / SWEEP / "oracle" / f"trial_{number:04}" / "trial.json"
        os.utime(path, (1_767_225_600 + end,) * 2)
    config = files.read_json(logdir / SWEEP / "config.json")
    config["sweep"]["max_trials"] = 21
    (logdir / SWEEP / "config.json").write_text(json.dumps(config))
    assert ask("sweep", SWEEP)["left"] < 10 * 70


def test_a_seed_that_has_ended_before_another_failed_is_no_failure(logdir, ask):
    path = logdir / SWEEP / "oracle" / "trial_0000" / "trial.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "INVALID", "message": "seed 2: why"}))
    shutil.rmtree(logdir / SWEEP / "trials" / "0000" / "seed-2")
    for seed in (0, 1):
        begun = [{"started": "2026-01-01T00:00:00+00:00", "host": "node"}]
        (logdir / SWEEP / "trials" / "0000" / f"seed-{seed}" / "provenance.json").write_text(json.dumps(begun))
    states = {bar["seed"]: bar["status"] for bar in ask("timeline", SWEEP)["bars"] if bar["trial"] == "0000"}
    assert states == {0: outcomes.COMPLETED, 1: outcomes.COMPLETED}


@pytest.fixture
def race(logdir):
    return made_up.race(logdir / "race")


def test_the_best_of_a_race_is_of_all_its_seeds(race, ask):
    found = ask("sweep", race.name)
    assert found["best"][:2] == ["0002", pytest.approx(0.9)] and found["leading"] == ["0002", "0003"]
    means = {row["id"]: row["mean"] for row in found["trials"]}
    assert means == pytest.approx({"0000": 0.9, "0001": 0.95, "0002": 0.9, "0003": 0.825})  # over the seeds by then
    trial = ask("trial", race.name, "0003")
    assert trial["config"]["seed"] == 1 and [seed["seed"] for seed in trial["seeds"]] == [0, 1]
    assert [seed["folder"] for seed in trial["seeds"]] == ["trials/0001/seed-0", "trials/0003/seed-1"]
    assert [value for path, _, value in trial["beside"] if path == "model.norm"] == ["batch"]
    assert [curve["seed"] for curve in ask("curves", race.name, "0003")["curves"]] == [0, 1]
    assert "4 trials completed" in report.report(race).read_text()


def test_a_damaged_trial_of_a_race_takes_its_setting_along_and_nothing_else(race, ask):
    (race / "oracle" / "trial_0000" / "trial.json").write_text("{")
    found = ask("sweep", race.name)
    assert "0000" in found["problems"][0] and found["leading"] == ["0003"] and len(found["trials"]) == 3


@pytest.fixture
def secret(logdir):
    """A sweep outside of the logdir, and a link to it inside."""
    folder = made(logdir.parent / "outside")
    text = (folder / "config.json").read_text().replace('"digits"', '"top secret"')
    (folder / "config.json").write_text(text)
    (logdir / "link").symlink_to(folder)
    (logdir / SWEEP / "trials" / "0004" / "seed-0" / "traceback.txt").unlink()
    (folder / "traceback.txt").write_text("top secret")
    (logdir / SWEEP / "trials" / "0004" / "seed-0" / "traceback.txt").symlink_to(folder / "traceback.txt")
    return folder


@pytest.mark.parametrize("name", ["../outside", "deep/../../outside", "link", "{outside}", "deep\0", "", ".", "~"])
@pytest.mark.parametrize("route", [route for route in ROUTES if route != "list"])
def test_no_path_from_outside_reaches_the_disk(ask, secret, route, name):
    response = ask.response(route, name.format(outside=secret), "0000")
    assert response.status_code == 404 and b"secret" not in response.data.replace(name.encode(), b"")
    assert b"secret" not in ask.response("list").data


@pytest.mark.parametrize("trial", ["../0004", "0004/seed-0", "..", "", "9999"])
def test_no_trial_from_outside_either(ask, secret, trial):
    assert ask.response("trial", SWEEP, trial).status_code == 404
    assert b"secret" not in ask.response("trial", SWEEP, "0004").data
    if trial:
        assert ask.response("curves", SWEEP, trial).status_code == 404


def test_static_files_are_named_one_by_one(ask):
    routes = {route for route in ask._apps if route.startswith("/static/")}
    assert "/static/index.js" in routes and not any("*" in route or ".." in route for route in ask._apps)
    response = Client(ask._apps["/static/index.js"]).get()
    assert response.headers["Content-Type"].startswith("text/javascript")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_is_written(logdir, ask):
    before = files_of(logdir)
    for route in ROUTES:
        ask(route, SWEEP, "0000" if route in ("trial", "curves") else "")
    assert files_of(logdir) == before


@pytest.mark.parametrize("damage", ['{"trial_id": "00', "[]", "{}", "", '{"trial_id": "0002", "status": "COMPLETED"}'])
def test_a_damaged_trial_is_named_and_the_others_are_shown(logdir, ask, damage):
    path = logdir / SWEEP / "oracle" / "trial_0002" / "trial.json"
    good = path.read_text()
    path.write_text(damage)
    found = ask("sweep", SWEEP)
    assert [row["id"] for row in found["trials"]] == ["0000", "0001", "0003", "0004", "0005"]
    (problem,) = found["problems"]
    assert problem.startswith("trial 0002 cannot be read")
    path.write_text(good)
    repaired = ask("sweep", SWEEP, found["version"])
    assert [row["id"] for row in repaired["trials"]] == ["0002"] and not repaired["problems"]


def test_a_damaged_config_is_said_and_once_it_is_repaired_all_is_shown(logdir, ask):
    version = ask("sweep", SWEEP)["version"]
    path = logdir / SWEEP / "config.json"
    good = path.read_text()
    path.write_text(good[:100])
    for route in ("sweep", "answer", "trial"):
        assert "config.json is damaged" in ask(route, SWEEP, "0000")["problem"]
    time.sleep(2)
    (entry,) = ask("list")["entries"]
    assert "config.json is damaged" in entry["problem"]
    path.write_text(good)
    assert len(ask("sweep", SWEEP, version)["trials"]) == 6


def test_a_sweep_that_is_deleted_while_it_is_shown(logdir, ask):
    version = ask("sweep", SWEEP)["version"]
    shutil.rmtree(logdir / SWEEP)
    assert "deleted or moved" in ask("sweep", SWEEP, version)["problem"]
    time.sleep(2)
    assert ask("list")["entries"] == [] and "problem" in ask("sweep", SWEEP, version)
    made(logdir / SWEEP)
    time.sleep(2)
    assert len(ask("sweep", SWEEP, version)["trials"]) == 6


def test_what_json_does_not_have_is_null():
    assert as_json.text({"a": [float("nan"), -float("inf"), 1.0]}) == '{"a":[null,null,1.0]}'


def test_a_damaged_result_of_the_sweep_hides_no_trial(logdir, ask):
    (logdir / SWEEP / "result.json").write_text("{")
    found = ask("sweep", SWEEP)
    assert len(found["trials"]) == 6 and "result.json is damaged" in found["problems"][0]


def test_the_plugin_imports_nothing_that_could_keep_tensorboard_from_starting():
    script = "import sys, gnexp.board.plugin; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"keras", "tensorflow", "plotly", "scipy", "ml_collections", "matplotlib"} & set(done.stdout.split())


def test_what_goes_wrong_in_our_own_code_is_said_in_the_tab(logdir, monkeypatch):
    monkeypatch.setitem(sys.modules, "gnexp.board.board", None)
    ask = Asked(logdir)
    assert ask.response("list").status_code == 200 and "gnexp.board.board" in ask("list")["problem"]
    plugin = SweepsPlugin(base_plugin.TBContext(logdir=str(logdir)))
    assert plugin.is_active()
    assert "--logdir" in Asked("")("list")["problem"] or "gnexp.board.board" in Asked("")("list")["problem"]


def test_the_entry_point_is_the_plugin():
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["tensorboard_plugins"]
    assert points == {"sweeps": f"{SweepsPlugin.__module__}:{SweepsPlugin.__name__}"}
    assert SweepsPlugin(base_plugin.TBContext(logdir="")).frontend_metadata().tab_name == "Sweeps"


def test_the_report_is_one_file_in_which_markup_is_text(logdir):
    shutil.copytree(ROOT / "results/original/gn8_bs1", logdir / "a" / "training")
    (path,) = report.pages(logdir)  # They lie deeper than the page in Markdown looks.
    text = path.read_text(encoding="utf-8")
    assert MARKUP not in text and "<img" not in text and not re_network(text.partition("<body>")[0])
    _, _, rest = text.partition('id="gnexp-data">')
    found = json.loads(rest.partition("</script>")[0])
    assert found["trial"][SWEEP]["0004"]["message"] == f"seed 0: {MARKUP}"
    assert (
        len(found["sweep"][SWEEP][""]["trials"]) == 6 and found["training"]["a/training"][""]["curves"]["val_accuracy"]
    )
    assert {curve["trial"] for curves in found["curves"][SWEEP].values() for curve in curves} == {
        "0000",
        "0001",
        "0002",
        "0003",
    }


def re_network(text: str) -> bool:
    """Tells whether the head of a page asks for anything from elsewhere."""
    return "src=" in text or "href=" in text


def test_a_report_of_a_sweep_or_of_one_training_is_made_too(logdir, tmp_path):
    markdown, page = report.pages(logdir / SWEEP)
    assert (markdown.name, page.name) == ("README.md", "index.html")
    shutil.copytree(ROOT / "results/original/gn8_bs1", tmp_path / "one")
    assert report.pages(tmp_path / "one") == [tmp_path / "one" / "report" / "index.html"]


def test_every_module_of_the_page_is_short_and_in_the_bundle():
    script = html.bundle()
    for path in (ROOT / "gnexp/board/static").glob("*.js"):
        text = path.read_text()
        assert text.count("\n") <= 300 and "innerHTML" not in text
        assert f'modules["{path.name}"] = (' in script
    assert "\nimport " not in script and "\nexport " not in script


def test_a_sweep_with_more_trials_than_asked_for_has_no_time_left(logdir, ask):
    config = json.loads((logdir / SWEEP / "config.json").read_text())
    config["sweep"]["max_trials"] = 2
    (logdir / SWEEP / "config.json").write_text(json.dumps(config))
    assert ask("sweep", SWEEP)["left"] == 0


def test_the_answer_is_worked_out_beside_the_table_and_not_for_every_trial(logdir, ask, monkeypatch):
    go, begun = threading.Event(), threading.Event()

    def answer(swept):
        begun.set()
        assert go.wait(30)
        return {"trials": len(swept.trials)}

    monkeypatch.setitem(board._WORKED_OUT, "answer", (answer, 10_000))
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask("answer", SWEEP)))
    asking.start()
    assert begun.wait(30)
    version = ask("sweep", SWEEP)["version"]
    go.set()
    asking.join()
    pages.trial(logdir / SWEEP, 6, {"model.groups": 2, "optimizer.name": "adam"}, [0.95, 0.95, 0.95])
    assert ask("sweep", SWEEP, version)["version"] != version
    assert answers == [{"trials": 6, "version": version}] == [ask("answer", SWEEP)]
