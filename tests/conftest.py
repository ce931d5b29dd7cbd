"""Four CPU devices, so that `pmap` is tested everywhere; compiled fast rather than well. Set before JAX starts."""

import os
from pathlib import Path

import pytest

FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def course() -> Path:
    """The course's tables: in $CS224N_DATA, or in data/cs224n of this folder or of one beside it."""
    root = Path(__file__).parent.parent
    places = [os.environ.get("CS224N_DATA"), root / "data" / "cs224n", *root.parent.glob("*/data/cs224n")]
    for place in places:
        if place and (Path(place) / "ids-sst-train.csv").exists():
            return Path(place)
    pytest.skip("the course's tables are not at hand (set CS224N_DATA)")
