"""Four CPU devices, so that `pmap` is tested everywhere; compiled fast rather than well. Set before JAX starts."""

import os
from pathlib import Path

import pytest

from tests.course import find_course

FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # tests leave nothing in anybody's home


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
