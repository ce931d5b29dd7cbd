"""`python -m train.main`: trains a run, or a recipe's runs one after the other, from flags to the dev table."""

import contextlib
import sys

from bert_jax.cli.command import run_command
from bert_jax.cli.interrupt import Interrupt
from train.cli.starter import translate
from train.config import TrainConfig
from train.devices.supervisor import is_worker, supervise, working
from train.stages import prepare_stages, run_stages, with_recipe


def main(config: TrainConfig) -> None:
    """Reads and checks everything first; importing JAX takes seconds, and a mistake is answered sooner."""
    stages, machine = prepare_stages(config), config.machine
    if config.run.dry_run:
        from train.cli.forecast import print_forecast

        print_forecast(stages)
        return
    if machine.coordinator and not is_worker():
        sys.exit(supervise(machine.coordinator, machine.process_timeout, debug="--debug" in sys.argv))
    with working(machine.process_timeout) if is_worker() else contextlib.nullcontext(), Interrupt() as interrupt:
        run_stages(stages, interrupt, given=config)


if __name__ == "__main__":
    run_command(TrainConfig, main, "train.main", translate=translate, start=with_recipe, trains=True)
