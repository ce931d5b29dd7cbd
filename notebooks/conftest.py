"""How the tests run the notebooks: as a user would, and without a trace in anybody's home."""

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

collect_ignore_glob = ["0*.py"]  # the notebooks again, for reading; they are run as .ipynb


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Around each notebook. Tests beside them set flags for JAX that are not a user's."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "")
        patch.setenv("JAX_NUMPY_RANK_PROMOTION", "allow")
        patch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
        for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
            place = Path(folder) / name
            place.mkdir()
            patch.setenv(name, str(place))
        return (yield)
