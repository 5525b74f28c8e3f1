"""Runs pytest on the files named on the command line, for Bazel; fails where it finds no test to run."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(["-m", "not slow", *sys.argv[1:]]))
