"""`python -m eval.predict --run_dir=R --task=T`: texts on stdin, one JSON object a line on stdout, in their order."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Literal

from bert_jax.data.tables import Example
from bert_jax.errors import InputError, counted, perhaps
from bert_jax.tasks import Task, find_tasks
from eval.answers import describe_output
from train.command import read_stdin, run_command
from train.config import check_positive
from train.interrupt import Interrupt


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """Predicts for the texts on standard input, one a line; a pair is two columns with a tab between them."""

    run_dir: Path
    """Folder of the run."""
    task: str
    """Which of the run's tasks."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which checkpoint."""
    batch_size: int = 32
    """Examples a batch, if they are of average length."""


def read_texts(task: Task, lines: list[str]) -> list[Example]:
    """One example a line.

    Raises:
      InputError: a line has not as many columns as the task has texts.
    """
    examples = []
    for number, line in enumerate(lines, start=1):
        texts = tuple(line.split("\t")) if task.is_pair else (line,)
        if len(texts) != len(task.text_columns):
            columns = counted(len(texts), "column")
            raise InputError(f"stdin:{number}: {columns}, but task {task.name} takes 2, separated by a tab")
        examples.append(Example(str(number), texts, None))
    return examples


def main(flags: PredictConfig) -> None:
    """Checks the run, the task and the texts before JAX is imported."""
    from train.rundir import open_run

    check_positive("batch_size", flags.batch_size)
    run_folder, config, _, _ = open_run(flags.run_dir)
    if config.mode == "mlm":
        wanted = f"python -m train.main --init={run_folder.model} trains tasks from it"
        raise InputError(f"{flags.run_dir} is a masked LM, which gives texts no labels; {wanted}")
    tasks = find_tasks(config.tasks)
    task = next((task for task in tasks if task.name == flags.task), None)
    if task is None:
        names = [task.name for task in tasks]
        guess = perhaps(flags.task, names)
        raise InputError(f"--task={flags.task} is no task of this run{guess}; it has {', '.join(names)}")
    examples = read_texts(task, read_stdin())

    from train.finished import restore_run
    from train.programs import Programs

    run = restore_run(flags.run_dir, flags.checkpoint, Programs(1))
    encoded = run.encode(examples)
    if encoded.truncated:
        print(f"cut to {run.max_length} tokens: {counted(encoded.truncated, 'text')}", file=sys.stderr)
    with Interrupt() as interrupt:
        outputs = run.predict(task, encoded, flags.batch_size, interrupt.check)
    for output in outputs:
        print(json.dumps(describe_output(task, output)))


if __name__ == "__main__":
    run_command(PredictConfig, main, "eval.predict")
