"""`python -m eval.main --run_dir=R`: scores a run on the dev tables, every row once."""

import dataclasses
from pathlib import Path
from typing import Literal

from train.command import run_command
from train.config import check_positive
from train.inputs import find_source, read_examples, run_tasks
from train.interrupt import Interrupt
from train.rundir import open_run

RESAMPLES = 1000  # draws of each interval


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Prints the dev table of a run: accuracy, F1 by class and macro, Pearson, Spearman, the means, and intervals.

    Of a masked LM: how well it predicts masked tokens of the tables' texts.
    """

    run_dir: Path
    """Folder of the run."""
    data_dir: Path | None = None
    """Folder with the tables. Default: the one the run was trained on."""
    split: Literal["dev", "train"] = "dev"
    """Which tables."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which checkpoint."""
    batch_size: int = 32
    """Examples a batch, if they are of average length."""
    devices: int | None = None
    """Number of devices. Default: all."""


def main(flags: EvalConfig) -> None:
    """Reads the tables before JAX is imported, then restores and scores."""
    check_positive("batch_size", flags.batch_size)
    config = open_run(flags.run_dir)[1]
    source = find_source(config, flags.data_dir)
    tables = {task: read_examples(config, source, task, flags.split) for task in run_tasks(config)}

    from eval.metrics import bootstrap, interval, score_task
    from eval.report import print_intervals, print_scores
    from train.finished import restore_run
    from train.programs import Programs

    run = restore_run(flags.run_dir, flags.checkpoint, Programs(flags.devices))
    scores, spread = {}, {}
    with Interrupt() as interrupt:
        for task, table in tables.items():
            encoded = run.encode(table.examples)
            outputs = run.predict(task, encoded, flags.batch_size, interrupt.check)
            scores[task] = score_task(task, outputs, encoded.labels)
            spread[task] = interval(bootstrap(task, outputs, encoded.labels, RESAMPLES)[task.metric])
            if table.skipped or encoded.truncated:
                print(f"{task.name}: {table.left_out} skipped, {encoded.truncated} texts cut")
    rows = {task: len(table.examples) for task, table in tables.items()}
    title = f"{flags.split}, {flags.checkpoint} checkpoint (after update {run.step}) of {flags.run_dir}"
    print_scores(scores, rows, title)
    print_intervals(spread)


if __name__ == "__main__":
    run_command(EvalConfig, main, "eval.main")
