"""The stages of a recipe, one after the other, each a run that starts where the one before ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bert_jax.errors import InputError
from train.config import OF_A_PROCESS, SAME_CONTENT, TrainConfig
from train.identity import changes_of_record, make_record
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
    with contextlib.ExitStack() as quiet:
        for number, stage in enumerate(stages, start=1):
            inputs = read_inputs(stage)
            if stage.coordinator and programs is None:
                programs = join(inputs)
                interrupt = programs.parallel.listen(interrupt)
                if not programs.parallel.is_first:
                    silence = quiet.enter_context(Path(os.devnull).open("w"))
                    quiet.enter_context(contextlib.redirect_stdout(silence))
                    quiet.enter_context(contextlib.redirect_stderr(silence))
            is_last = number == len(stages)
            title = f"stage {number} of {len(stages)}: {stage.mode}" if len(stages) > 1 else None
            programs, complete = run_stage(inputs, interrupt, programs, is_last, title)
            if not complete and not is_last:
                print("\nThe next stage starts from the end of this one; a larger --max_steps, or none, goes on.")
                return


def run_stage(
    inputs: Inputs, interrupt: Interrupt, programs: Programs | None, is_last: bool, title: str | None
) -> tuple[Programs | None, bool]:
    """Trains one stage, unless it is complete; its programs, if any are needed, and whether it is complete now."""
    stage = inputs.config
    writes = programs is None or programs.parallel.is_first
    if title is not None:  # of a recipe
        assert stage.run_dir is not None
        if writes:
            make_recipe_folder(stage.run_dir.parent)
        print(f"\n{title}")
    with start_run(
        stage, inputs.bert, inputs.tokenizer, inputs.hashes, inputs.checkpoint_bytes, inputs.own, writes
    ) as folder:
        if not is_last and is_complete(inputs, folder, programs):
            print(f"complete: {folder.path}")
            return programs, True
        interrupt.check()
        from train.programs import Programs
        from train.run import train

        programs = programs or Programs(stage.devices, stage.parallel)
        train(inputs, folder, interrupt, programs, is_last)
        return programs, is_last or is_complete(inputs, folder, programs)


def is_complete(inputs: Inputs, folder: RunDir, programs: Programs | None) -> bool:
    """Whether a stage has done all its updates and left the model that the next one starts from."""
    complete = folder.model.exists() and (last_evaluation(folder.metrics) or 0) >= len(inputs.schedule)
    return programs.parallel.from_first(complete) if programs else complete


def join(inputs: Inputs) -> Programs:
    """Makes this process one of several; the programs of all their devices.

    Raises:
      InputError: they do not find together, or are not to train the same.
    """
    from train.parallel import join_processes
    from train.programs import Programs

    config = inputs.config
    assert config.coordinator is not None
    join_processes(config.coordinator, config.num_processes, config.process_id, config.process_timeout)
    programs = Programs(config.devices, config.parallel)
    record = make_record(config, inputs.bert, inputs.hashes)
    changes = changes_of_record(programs.parallel.from_first(record), record, OF_A_PROCESS | SAME_CONTENT)
    if changes:
        raise InputError(f"this process is not to train what process 0 is: {', '.join(changes)}")
    return programs
