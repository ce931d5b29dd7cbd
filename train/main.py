"""`python -m train.main`: trains a run, or a recipe's runs one after the other, from flags to the dev table."""

import sys

from train.command import run_command
from train.config import TrainConfig
from train.inputs import Inputs, read_inputs, read_tables
from train.interrupt import Interrupt
from train.log import last_evaluation
from train.recipes import idle_flags, resolve_stages, with_recipe, without
from train.rundir import RunDir, make_recipe_folder, start_run
from train.starter import translate


def run(config: TrainConfig) -> None:
    """Reads and checks everything first; importing JAX takes seconds, and a mistake is answered sooner."""
    idle = idle_flags(config)
    if idle:
        flags = ", ".join(f"--{name}={getattr(config, name)}" for name in idle)
        print(f"warning: {flags} has no effect here", file=sys.stderr)
    stages = resolve_stages(without(config, idle))
    if config.dry_run:
        from train.forecast import print_forecast

        print_forecast(stages)
        return
    with Interrupt() as interrupt:
        for later in stages[1:]:
            read_tables(later)
        for number, stage in enumerate(stages, start=1):
            inputs = read_inputs(stage)
            if config.recipe:
                assert stage.run_dir is not None
                make_recipe_folder(stage.run_dir.parent)
                print(f"\nstage {number} of {len(stages)} of {config.recipe}: {stage.mode}")
            with start_run(stage, inputs.bert, inputs.tokenizer, inputs.hashes, inputs.checkpoint_bytes) as folder:
                is_last = number == len(stages)
                if not is_last and is_complete(inputs, folder):
                    print(f"complete: {folder.path}")
                    continue
                interrupt.check()
                from train.run import train

                train(inputs, folder, interrupt, is_last)
                if not is_last and not is_complete(inputs, folder):
                    print("\nThe next stage starts from the end of this one; a larger --max_steps, or none, goes on.")
                    return


def is_complete(inputs: Inputs, folder: RunDir) -> bool:
    """Whether a stage has done all its updates and left the model that the next one starts from."""
    return folder.model.exists() and last_evaluation(folder.metrics) == len(inputs.schedule)


if __name__ == "__main__":
    run_command(TrainConfig, run, "train.main", prepare=lambda flags: with_recipe(translate(flags)))
