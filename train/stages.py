"""The stages of a recipe, one after the other, each a run that starts where the one before ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from train.config import TrainConfig
from train.inputs import Inputs, read_inputs, read_tables
from train.interrupt import Interrupt
from train.log import last_evaluation
from train.rundir import RunDir, make_recipe_folder, start_run

if TYPE_CHECKING:
    from train.programs import Programs


def run_stages(stages: Sequence[TrainConfig], interrupt: Interrupt, programs: Programs | None = None) -> None:
    """Trains what is not yet trained of some stages; those that are complete are passed over.

    All tables are read and checked before the first stage begins, and before JAX is imported.

    Args:
      stages: as `resolve_stages` gives them.
      programs: of earlier runs in this process.

    Raises:
      UserError: whatever is wrong with the settings, tables, weights or the folder, or goes wrong while training.
    """
    for later in stages[1:]:
        read_tables(later)
    for number, stage in enumerate(stages, start=1):
        inputs = read_inputs(stage)
        if len(stages) > 1:
            assert stage.run_dir is not None
            make_recipe_folder(stage.run_dir.parent)
            print(f"\nstage {number} of {len(stages)}: {stage.mode}")
        with start_run(
            stage, inputs.bert, inputs.tokenizer, inputs.hashes, inputs.checkpoint_bytes, inputs.own
        ) as folder:
            is_last = number == len(stages)
            if not is_last and is_complete(inputs, folder):
                print(f"complete: {folder.path}")
                continue
            interrupt.check()
            from train.programs import Programs
            from train.run import train

            programs = programs or Programs(stage.devices)
            train(inputs, folder, interrupt, programs, is_last)
            if not is_last and not is_complete(inputs, folder):
                print("\nThe next stage starts from the end of this one; a larger --max_steps, or none, goes on.")
                return


def is_complete(inputs: Inputs, folder: RunDir) -> bool:
    """Whether a stage has done all its updates and left the model that the next one starts from."""
    return folder.model.exists() and last_evaluation(folder.metrics) == len(inputs.schedule)
