"""`python -m eval.submission --run_dir=R`: a run's predictions in the course's files, and a zip of them."""

import dataclasses
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bert_jax.data.tables import Table
from bert_jax.errors import InputError, StorageError, WeightsError, counted
from bert_jax.files import sync_folder, write_atomically
from bert_jax.tasks import Split, Task, find_tasks
from train.command import run_command
from train.config import TrainConfig, check_positive
from train.inputs import Source, find_source, read_split
from train.interrupt import Interrupt
from train.rundir import open_run, stage_folders

FOLDER = "predictions"  # of the files, and in the zip
Tables = dict[tuple[Task, Split], Table]


@dataclasses.dataclass(frozen=True)
class SubmissionConfig:
    """Writes predictions for the dev and the test tables of a run's tasks, in the course's files, and a zip of them.

    A run of a single task of sentiment has that project's names; of a recipe both stages are written then.
    """

    run_dir: Path
    """Folder of the run."""
    data_dir: Path | None = None
    """Folder with the tables. Default: the one the run was trained on."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which checkpoint."""
    batch_size: int = 32
    """Examples a batch, if they are of average length."""
    devices: int | None = None
    """Number of devices. Default: all."""
    output: Path | None = None
    """Folder that gets predictions/ and predictions.zip. Default: that of the run."""


def format_predictions(task: Task, ids: Sequence[str], outputs: np.ndarray) -> str:
    """The text of a prediction file: a heading, and a row for each id.

    Args:
      outputs: raw and finite, [examples, ...].

    >>> from bert_jax.tasks import TASKS
    >>> format_predictions(TASKS["quora"], ["a1", "b2"], np.array([-1.5, 2.0]))
    'id \\t Predicted_Is_Paraphrase \\na1 , 0.0 \\nb2 , 1.0 \\n'
    """
    from eval.metrics import predicted_labels  # SciPy takes a second to import

    number = int if task.kind == "classification" else float
    predicted = predicted_labels(task, outputs)
    values = [task.labels[int(label)] for label in predicted] if task.labels else map(number, predicted)
    rows = zip(ids, values, strict=True)
    return f"id \t {task.prediction_column} \n" + "".join(f"{id_} , {value} \n" for id_, value in rows)


def file_name(config: TrainConfig, task: Task, split: Split) -> str:
    """What the course calls the predictions for a split of one of a run's tasks."""
    if is_single(config):
        return f"{config.mode}-{task.course_name}-{split}-out.csv"
    return f"{task.course_name}-{split}-output.csv"


def is_single(config: TrainConfig) -> bool:
    """Whether a run is of the course's first project: one task, a classification."""
    return [task.kind for task in find_tasks(config.tasks)] == ["classification"]


def find_stages(path: Path) -> list[tuple[Path, TrainConfig]]:
    """The runs whose predictions are written: of a recipe the last stage, of a single task each stage with a head.

    Raises:
      InputError: the folder is no run, or a masked LM.
      WeightsError: it is one, but damaged or of another version.
    """
    opened = [open_run(folder) for folder in stage_folders(path) or [path]]
    stages = [(run.path, config) for run, config, *_ in opened]
    run, config, *_ = opened[-1]
    if config.mode == "mlm":
        wanted = f"python -m train.main --init={run.model} trains tasks from it"
        raise InputError(f"{path} is a masked LM, which gives texts no labels; {wanted}")
    return [stage for stage in stages if stage[1].mode != "mlm"] if is_single(config) else stages[-1:]


def read_splits(source: Source, tasks: Sequence[Task]) -> Tables:
    """The dev and test tables of tasks, with the rows that have no label; a test table may be missing, which is said.

    Raises:
      InputError: a dev table is missing, or a table is wrong.
    """
    tables: Tables = {}
    for task in tasks:
        tables[task, "dev"] = read_split(source, task, "dev", labelled=False)
        if source.has(task, "test"):
            tables[task, "test"] = read_split(source, task, "test", labelled=False)
        else:
            names = " or ".join(task.files.get("test", ()))
            why = f"{task.folder or source} has no {names}" if names else f"task {task.name} names no test file"
            print(f"warning: {why}: no predictions for the test table of {task.name}", file=sys.stderr)
    return tables


def predict(folder: Path, tables: Tables, flags: SubmissionConfig, check: Callable[[], None]) -> dict[str, str]:
    """The text of each prediction file of a run, by its name.

    Args:
      check: called before each batch; raises to stop.

    Raises:
      InputError: there are not so many devices.
      WeightsError: there is no checkpoint, or it cannot be used.
    """
    from train.finished import restore_run
    from train.programs import Programs

    run = restore_run(folder, flags.checkpoint, Programs(flags.devices))
    print(f"{flags.checkpoint} checkpoint (after update {run.step}) of {folder}")
    texts = {}
    for (task, split), table in tables.items():
        encoded = run.encode(table.examples)
        if encoded.truncated:
            cut = counted(encoded.truncated, "text")
            print(f"{task.name}, {split}: cut to {run.max_length} tokens: {cut}", file=sys.stderr)
        outputs = run.predict(task, encoded, flags.batch_size, check)
        if not np.isfinite(outputs).all():
            raise WeightsError(f"update {run.step} of {folder} gives outputs of {task.name} that are not finite")
        texts[file_name(run.config, task, split)] = format_predictions(task, encoded.ids, outputs)
    return texts


def write_files(output: Path, texts: dict[str, str]) -> Path:
    """Writes the files, and a zip whose bytes depend on them alone; none is ever half written.

    Raises:
      StorageError: one cannot be written.
    """
    folder, archive = output / FOLDER, output / f"{FOLDER}.zip"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomically(folder / name, text)
        unfinished = archive.with_name(f"{archive.name}.unfinished")
        with unfinished.open("wb") as file:
            with zipfile.ZipFile(file, "w") as entries:
                for name in sorted(texts):
                    entry = zipfile.ZipInfo(f"{FOLDER}/{name}")  # as of 1980; not compressed, as zlibs differ
                    entry.external_attr = 0o644 << 16
                    entries.writestr(entry, texts[name])
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(archive)
        sync_folder(output)
    except OSError as error:
        raise StorageError(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    return archive


def main(flags: SubmissionConfig) -> None:
    """Checks the run, the output and the tables before JAX is imported; writes once everything is predicted."""
    check_positive("batch_size", flags.batch_size)
    stages = find_stages(flags.run_dir)
    config = stages[-1][1]
    output = flags.output or flags.run_dir
    if not output.is_dir() and (output.exists() or not output.absolute().parent.is_dir()):
        raise StorageError(f"--output={output} is no folder and cannot be made one")
    tables = read_splits(find_source(config, flags.data_dir), find_tasks(config.tasks))
    texts: dict[str, str] = {}
    with Interrupt() as interrupt:
        for folder, _ in stages:
            texts |= predict(folder, tables, flags, interrupt.check)
    archive = write_files(output, texts)
    for name, text in texts.items():
        rows = counted(text.count("\n") - 1, "row")
        print(f"{rows:>14}  {output / FOLDER / name}")
    print(f"{counted(len(texts), 'file'):>14}  {archive}")


if __name__ == "__main__":
    run_command(SubmissionConfig, main, "eval.submission")
