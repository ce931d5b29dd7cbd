"""How BERT is fitted to several sentence tasks at once, and the program as a library: `fit` and `open_run`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.api import Prediction, Run, fit, open_run

__all__ = ["Prediction", "Run", "fit", "open_run"]


def __getattr__(name: str) -> Any:  # so that `import train` alone takes no time
    if name in __all__:
        from train import api

        return getattr(api, name)
    raise AttributeError(f"module 'train' has no attribute {name!r}")
