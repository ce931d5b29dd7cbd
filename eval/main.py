"""`python -m eval.main --run_dir=R`: scores a run on the dev tables, every row once."""

import dataclasses
from pathlib import Path
from typing import Literal

from bert_jax.cli.command import run_command
from bert_jax.cli.interrupt import Interrupt
from eval.flags import OnDevices


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig(OnDevices):
    """Prints the dev table of a run: accuracy, F1 by class and macro, Pearson, Spearman, the means, and intervals.

    Of a masked LM: how well it predicts masked tokens of the tables' texts.
    """

    data_dir: Path | None = None
    """Folder with the tables. Default: the one the run was trained on."""
    split: Literal["dev", "train"] = "dev"
    """Which tables."""


def main(flags: EvalConfig) -> None:
    """Scores the run, and prints the table."""
    run = flags.open()
    with Interrupt() as interrupt:
        found = run.evaluate(flags.split, flags.data_dir, flags.batch_size, flags.devices, interrupt.check)

    from eval.report import print_intervals, print_scores

    for name, scores in found.items():
        if scores["skipped"] or scores["cut"]:
            print(f"{name}: {scores['left_out']} skipped, {scores['cut']} texts cut")
    by_task = {run.tasks[name]: scores for name, scores in found.items()}
    rows = {task: scores["rows"] for task, scores in by_task.items()}
    title = f"{flags.split}, {flags.checkpoint} checkpoint (after update {run.step}) of {flags.run_dir}"
    print_scores(by_task, rows, title)
    print_intervals({task: scores["interval"] for task, scores in by_task.items()})


if __name__ == "__main__":
    run_command(EvalConfig, main, "eval.main")
