"""The rule for a file of pytest tests."""

load("@rules_python//python:defs.bzl", "py_test")

def pytest_test(name, deps = [], **kwargs):
    """Runs the tests of NAME.py, the slow ones left out.

    Args:
      name: of the test and, without .py, of its file.
      deps: what that file imports.
      **kwargs: as for py_test.
    """
    py_test(
        name = name,
        srcs = [
            name + ".py",
            "run_pytest.py",
        ],
        main = "run_pytest.py",
        args = ["$(rootpath %s.py)" % name],
        legacy_create_init = 0,  # The files that a test sees are those of the repository.
        deps = deps + [
            ":conftest",
            ":keras_backend",
        ],
        **kwargs
    )
