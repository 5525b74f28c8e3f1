"""Puts the commit that a wheel is built from into it; everything else is in pyproject.toml."""

import json
import pathlib
import subprocess

from setuptools import setup
from setuptools.command.build_py import build_py


class _BuildPy(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        git = ["git", "--no-optional-locks", "-C", str(pathlib.Path(__file__).parent)]
        try:
            commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
            status = [*git, "status", "--porcelain", "--untracked-files=no"]
            changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return
        record = {"commit": commit.strip(), "changed": bool(changed.strip())}
        (pathlib.Path(self.build_lib) / "gnexp" / "built_from.json").write_text(json.dumps(record) + "\n")


setup(cmdclass={"build_py": _BuildPy})
