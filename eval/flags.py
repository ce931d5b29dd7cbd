"""The flags of the commands that open a run: which one, which checkpoint, and how it is computed."""

import dataclasses
from pathlib import Path
from typing import Literal

from bert_jax.cli.settings import AT_LEAST_1, setting
from train.api import Run, open_run
from train.extend import load_extension


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfRun:
    """A run and one of its checkpoints."""

    run_dir: Path
    """Folder of the run."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which checkpoint."""
    extend: Path | None = setting(None, early=load_extension)
    """The file that it was trained with, if that added kinds of tasks. It is run."""

    def open(self) -> Run:
        """The run; what it needs of `extend` has been added when that flag was read."""
        return open_run(self.run_dir, self.checkpoint)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged(OfRun):
    """A run that is given texts in batches."""

    batch_size: int = setting(32, range=AT_LEAST_1)
    """Examples a batch, if they are of average length."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnDevices(Judged):
    """A run that is given texts in batches, on several devices if there are."""

    devices: int | None = None
    """Number of devices. Default: all."""
