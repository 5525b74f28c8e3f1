"""A logdir, a TensorBoard on it and a browser, for all tests of the tab that need one."""

import pathlib
import shutil

import pytest
from tensorboard import default

from gnexp.board.plugin import SweepsPlugin
from tests.support.boards import TensorBoard, chromium
from tests.support.made_up import conditional_sweep
from tests.support.tab import Page

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="package")
def shown(tmp_path_factory):
    """Sweeps under way, and kept ones, below folders; two trainings."""
    folder = tmp_path_factory.mktemp("logdir")
    conditional_sweep(folder / "team" / "live", 30)
    shutil.copytree(ROOT / "results/epsilon", folder / "kept" / "epsilon")
    shutil.copytree(ROOT / "results/groups", folder / "kept" / "groups")
    for run in ("bn_bs1", "gn8_bs1"):
        shutil.copytree(ROOT / "results/original" / run, folder / "trainings" / run)
    return folder


@pytest.fixture(scope="package")
def board(shown):
    return TensorBoard(shown, [*default.get_static_plugins(), SweepsPlugin], "--path_prefix=/below")


@pytest.fixture(scope="package")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="package")
def browser(downloads):
    shown = chromium(1280, 1000, **{"download.default_directory": str(downloads)})
    yield shown
    shown.quit()


@pytest.fixture
def page(browser, board, caplog):
    """The tab; afterwards, nothing may have gone wrong in the console or for TensorBoard's security checks."""
    shown = Page(browser, board.url)
    shown.console()
    yield shown
    assert shown.console() == []
    assert not [
        record for record in caplog.records if "security" in record.name or "will become an error" in record.message
    ]
