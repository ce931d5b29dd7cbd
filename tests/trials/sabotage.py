"""Builds of the program that lack one guard. A trial that passes on such a build tries nothing.

Each function below takes one guard out by replacing a function of the program, in this process alone. They import what
they patch, so that a sabotage costs no other trial an import of JAX.
"""

import os
from collections.abc import Callable

from tests.trials.harness import SABOTAGE

SABOTAGES: dict[str, Callable[[], None]] = {}


def sabotage(function: Callable[[], None]) -> Callable[[], None]:
    """Registers a sabotage under its function's name."""
    SABOTAGES[function.__name__] = function
    return function


def apply_sabotage() -> None:
    """Takes out the guard that the environment names, if it names one."""
    name = os.environ.get(SABOTAGE)
    if name:
        SABOTAGES[name]()
