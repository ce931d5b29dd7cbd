"""`python -m train.main`: trains a run, or a recipe's runs one after the other, from flags to the dev table."""

import contextlib
import sys

from train.command import run_command
from train.config import TrainConfig
from train.events import check_tensorboard
from train.interrupt import Interrupt
from train.recipes import idle_flags, resolve_stages, with_recipe, without
from train.sections import RUN_SECTIONS
from train.stages import run_stages
from train.starter import translate
from train.supervisor import is_worker, supervise, working


def main(config: TrainConfig) -> None:
    """Reads and checks everything first; importing JAX takes seconds, and a mistake is answered sooner."""
    idle = idle_flags(config)
    if idle:
        flags = ", ".join(f"--{name}={getattr(config, name)}" for name in idle)
        print(f"warning: {flags} {'has' if len(idle) == 1 else 'have'} no effect here", file=sys.stderr)
    stages = resolve_stages(without(config, idle))
    if config.tensorboard:
        check_tensorboard()
    if config.dry_run:
        from train.forecast import print_forecast

        print_forecast(stages)
        return
    if config.coordinator and not is_worker():
        sys.exit(supervise(config.coordinator, config.process_timeout, debug="--debug" in sys.argv))
    with working(config.process_timeout) if is_worker() else contextlib.nullcontext(), Interrupt() as interrupt:
        run_stages(stages, interrupt)


if __name__ == "__main__":
    run_command(
        TrainConfig,
        main,
        "train.main",
        prepare=lambda flags: with_recipe(translate(flags)),
        trains=True,
        sections=RUN_SECTIONS,
    )
