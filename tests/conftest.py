"""What holds for all tests, set before JAX starts and before what is tested is imported.

Four CPU devices, so that `pmap` is tested everywhere; programs compiled fast rather than well; shapes and
types in signatures checked (`typechecking.py`), and no axis added but by us.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests import typechecking
from tests.course import find_course

FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"  # in the commands that tests start, too
typechecking.install()

# What one test compiles the next ones load, in whatever process. The folder goes with the session.
if "PYTEST_XDIST_WORKER" not in os.environ:
    programs = tempfile.mkdtemp(prefix="bert-jax-programs-")
    atexit.register(shutil.rmtree, programs, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2**30)  # with a limit JAX locks the folder while it writes
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"


@pytest.fixture(scope="session")
def course() -> Path:
    """The course's tables."""
    folder = find_course()
    if folder is None:
        pytest.skip("the course's tables are not at hand (set CS224N_DATA)")
    return folder


@pytest.fixture
def server(monkeypatch):
    """A web server on this machine; nobody waits between two attempts to reach it."""
    from tests.loopback import serving

    monkeypatch.setattr("bert_jax.data.download.WAITS", (0.0, 0.0))
    with serving() as server:
        yield server
