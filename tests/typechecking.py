"""The checks that jaxtyping makes of signatures while tests run: installed by `conftest.py`, before all imports."""

from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

# Shapes and types of arguments and results are checked in these.
MODULES = (
    "bert_jax.batches.batches",
    "bert_jax.batches.encoded",
    "bert_jax.batches.packing",
    "bert_jax.dropout",
    "bert_jax.heads",
    "bert_jax.modules",
    "train.losses",
    "train.step",
)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check a function each time it is called, but no dataclass as it is made: JAX puts placeholders into its trees."""
    if function.__name__ == "__init__":
        return function
    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)  # an int is a float, as type checkers have it


def install() -> None:
    """Have these modules checked wherever they are imported from now on."""
    jaxtyping.install_import_hook(MODULES, f"{__name__}.{check.__name__}")
