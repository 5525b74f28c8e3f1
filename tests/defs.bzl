"""The rule for the tests of a wing."""

load("@rules_python//python:defs.bzl", "py_test")

def pytest_test(name, deps = [], data = [], **kwargs):
    """Runs the tests of a folder, the slow ones left out.

    Args:
      name: of the test: its folder's, with _tests at the end, since the test itself becomes a file beside the folder.
      deps: what its files import.
      data: as for py_test.
      **kwargs: as for py_test.
    """
    folder = name[:-len("_tests")]
    py_test(
        name = name,
        srcs = native.glob([folder + "/**/*.py"]) + ["run_pytest.py"],
        main = "run_pytest.py",
        args = ["tests/" + folder],
        timeout = "moderate",  # A small test says what it needs, not how fast the machine is.
        data = data + ["//:pyproject.toml"],
        legacy_create_init = 0,  # The files that a test sees are those of the repository.
        deps = deps + [":keras_backend"],
        **kwargs
    )
