"""Four CPU devices, so that `pmap` is tested everywhere; compiled fast rather than well. Set before JAX starts."""

import os
from pathlib import Path

import pytest

FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def course() -> Path:
    """The course's tables, where they are at hand; set CS224N_DATA to another folder than data/cs224n."""
    root = Path(__file__).parent.parent
    places = [os.environ.get("CS224N_DATA"), root / "data" / "cs224n", root.parent / "shared" / "data" / "cs224n"]
    for place in places:
        if place and (Path(place) / "ids-sst-train.csv").exists():
            return Path(place)
    pytest.skip("the course's tables are not at hand (set CS224N_DATA)")
