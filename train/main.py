"""`python -m train.main`: trains a run from its flags to its dev table."""

from train.command import run_command
from train.config import TrainConfig, resolve
from train.inputs import read_inputs
from train.interrupt import Interrupt
from train.rundir import start_run


def run(config: TrainConfig) -> None:
    """Reads and checks everything first; importing JAX takes seconds, and a mistake is answered sooner."""
    with Interrupt() as interrupt:
        inputs = read_inputs(resolve(config))
        with start_run(inputs.config, inputs.bert, inputs.tokenizer, inputs.hashes, inputs.checkpoint_bytes) as folder:
            interrupt.check()
            from train.run import train

            train(inputs, folder, interrupt)


if __name__ == "__main__":
    run_command(TrainConfig, run, "train.main")
