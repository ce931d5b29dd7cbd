"""`python -m train.main`: trains a run from its flags to its dev table."""

from train.command import run_command
from train.config import TrainConfig, resolve
from train.inputs import read_inputs


def run(config: TrainConfig) -> None:
    """Reads and checks everything first; importing JAX takes seconds, and a mistake is answered sooner."""
    inputs = read_inputs(resolve(config))
    from train.run import train

    train(inputs)


if __name__ == "__main__":
    run_command(TrainConfig, run, "train.main")
