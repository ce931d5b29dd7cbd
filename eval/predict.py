"""`python -m eval.predict --run_dir=R --task=T`: texts on stdin, one JSON object a line on stdout, in their order."""

import dataclasses
import json

from bert_jax.cli.command import read_stdin, run_command
from bert_jax.cli.interrupt import Interrupt
from bert_jax.errors import InputError, counted
from bert_jax.tasks import Task
from eval.flags import Judged


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(Judged):
    """Predicts for the texts on standard input, one a line; a pair is two columns with a tab between them."""

    task: str
    """Which of the run's tasks."""


def read_texts(task: Task, lines: list[str]) -> list[tuple[str, ...]]:
    """A text, or a pair, a line.

    Raises:
      InputError: a line has not as many columns as the task has texts.
    """
    found = []
    for number, line in enumerate(lines, start=1):
        texts = tuple(line.split("\t")) if task.is_pair else (line,)
        if len(texts) != len(task.text_columns):
            columns = counted(len(texts), "column")
            raise InputError(f"stdin:{number}: {columns}, but task {task.name} takes 2, separated by a tab")
        found.append(texts)
    return found


def main(flags: PredictConfig) -> None:
    """Checks the run, the task and the texts before JAX is imported."""
    run = flags.open()
    task = run.find_task(flags.task)
    texts = read_texts(task, read_stdin())
    with Interrupt() as interrupt:
        for answer in run.predict(task.name, texts, flags.batch_size, interrupt.check):
            print(json.dumps({"label": answer.label, "score": answer.score}))


if __name__ == "__main__":
    run_command(PredictConfig, main, "eval.predict")
