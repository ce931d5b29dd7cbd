"""`python -m eval.submission --run_dir=R`: a run's predictions in the course's files, and a zip of them."""

import dataclasses
import io
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bert_jax.cli.command import run_command
from bert_jax.cli.interrupt import Interrupt
from bert_jax.data.tables import Table
from bert_jax.definition import find_tasks
from bert_jax.errors import StorageError, WeightsError, counted
from bert_jax.files import write_atomically
from bert_jax.tasks import KINDS, Split, Task
from eval.flags import OnDevices
from train.api import Run, open_run
from train.inputs import Source, find_source, read_split
from train.resolve import RunConfig
from train.runs.folder import stage_folders

FOLDER = "predictions"  # of the files, and in the zip
Tables = dict[tuple[Task, Split], Table]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmissionConfig(OnDevices):
    """Writes predictions for the dev and the test tables of a run's tasks, in the course's files, and a zip of them.

    A run of a single task of sentiment has that project's names; of a recipe both stages are written then.
    """

    data_dir: Path | None = None
    """Folder with the tables. Default: the one the run was trained on."""
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
    from eval.metrics import SCORES  # SciPy takes a second to import

    kind = SCORES[task.kind]
    values = [kind.cell(task, each) for each in kind.predict(task, outputs)]
    rows = zip(ids, values, strict=True)
    return f"id \t {task.prediction_column} \n" + "".join(f"{id_} , {value} \n" for id_, value in rows)


def file_name(config: RunConfig, task: Task, split: Split) -> str:
    """What the course calls the predictions for a split of one of a run's tasks."""
    if is_single(config):
        return f"{config.training.mode}-{task.course_name}-{split}-out.csv"
    return f"{task.course_name}-{split}-output.csv"


def is_single(config: RunConfig) -> bool:
    """Whether a run is of the course's first project: one task, a classification."""
    (first, *others) = find_tasks(config.tables.tasks)
    return not others and KINDS[first.kind].per_class


def find_stages(flags: SubmissionConfig) -> list[Run]:
    """The runs whose predictions are written: of a recipe the last stage, of a single task each stage with a head.

    Raises:
      InputError: the folder is no run, or a masked LM.
      WeightsError: it is one, but damaged or of another version.
    """
    folders = stage_folders(flags.run_dir) or [flags.run_dir]
    stages = [open_run(folder, flags.checkpoint) for folder in folders]
    stages[-1].check_labels(flags.run_dir)
    return [stage for stage in stages if not stage.is_masked_lm] if is_single(stages[-1].config) else stages[-1:]


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


def predict(
    run: Run, tables: Tables, batch_size: int, devices: int | None, check: Callable[[], None]
) -> dict[str, str]:
    """The text of each prediction file of a run, by its name.

    Args:
      check: called before each batch; raises to stop.

    Raises:
      InputError: there are not so many devices.
      WeightsError: there is no checkpoint, or it cannot be used.
    """
    restored = run.restore(devices)
    print(f"{run.checkpoint} checkpoint (after update {restored.step}) of {run.path}")
    texts = {}
    for (task, split), table in tables.items():
        encoded = restored.encode(table.examples)
        if encoded.truncated:
            cut = counted(encoded.truncated, "text")
            print(f"{task.name}, {split}: cut to {restored.max_length} tokens: {cut}", file=sys.stderr)
        outputs = restored.predict(task, encoded, batch_size, check)
        if not np.isfinite(outputs).all():
            raise WeightsError(f"update {restored.step} of {run.path} gives outputs of {task.name} that are not finite")
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
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as entries:
            for name in sorted(texts):
                entry = zipfile.ZipInfo(f"{FOLDER}/{name}")  # as of 1980; not compressed, as zlibs differ
                entry.external_attr = 0o644 << 16
                entries.writestr(entry, texts[name])
        write_atomically(archive, buffer.getvalue())
    except OSError as error:
        raise StorageError(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    return archive


def main(flags: SubmissionConfig) -> None:
    """Checks the run, the output and the tables before JAX is imported; writes once everything is predicted."""
    stages = find_stages(flags)
    config = stages[-1].config
    output = flags.output or flags.run_dir
    if not output.is_dir() and (output.exists() or not output.absolute().parent.is_dir()):
        raise StorageError(f"--output={output} is no folder and cannot be made one")
    tables = read_splits(find_source(config.tables, flags.data_dir), find_tasks(config.tables.tasks))
    texts: dict[str, str] = {}
    with Interrupt() as interrupt:
        for run in stages:
            texts |= predict(run, tables, flags.batch_size, flags.devices, interrupt.check)
    archive = write_files(output, texts)
    for name, text in texts.items():
        rows = counted(text.count("\n") - 1, "row")
        print(f"{rows:>14}  {output / FOLDER / name}")
    print(f"{counted(len(texts), 'file'):>14}  {archive}")


if __name__ == "__main__":
    run_command(SubmissionConfig, main, "eval.submission")
