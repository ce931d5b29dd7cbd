"""The folder of a run: what it was asked for, its vocabulary, its log and its checkpoints.

config.json  config.toml  tokenizer/  metrics.jsonl  checkpoints/  lock; at the end learning_curves.png; of masked LM
and of heads alone also model/. config.json is the record by which a run is known again; config.toml is for people, and
never read here. Tasks of one's own are in tasks/NAME.toml, so that later commands know them whatever has become of
the file that defined them. The folder of a recipe holds those of its stages. `eval.submission` adds predictions/ and
predictions.zip to either.
"""

import contextlib
import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bert_jax.batches.tokenizer import Tokenizer, read_tokenizer
from bert_jax.config import BertConfig, ModelConfig
from bert_jax.definition import define, split_names
from bert_jax.errors import InputError, StorageError, UserError, WeightsError, refused
from bert_jax.files import read_json, replace_folder, write_atomically
from bert_jax.tasks import Task
from bert_jax.weights.folder import save_model
from train.config import MAY_CHANGE, SAME_CONTENT, TrainConfig
from train.resolve import RunConfig, model_config, repeat
from train.runs.lock import locked
from train.runs.record import changes_of_record, check_extensions, differences, fingerprint, make_record, read_run, said

# Stages, settings, and files for the course.
OF_A_RECIPE = re.compile(r"[1-9]-[a-z]+|config\.toml(\.unfinished)?|predictions(\.zip(\.unfinished)?)?")
RUNS = Path("runs")  # the only folder, beside that of the run itself, that is made if it is not there


def _inside(name: str) -> Any:
    """A path in a run's folder, by what it is called there."""
    return property(lambda run: run.path / name)


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths inside a run's folder, and the fingerprint of the run: its settings, tables, vocabulary and weights."""

    path: Path
    fingerprint: str
    config: ClassVar[Path] = _inside("config.json")
    settings: ClassVar[Path] = _inside("config.toml")
    tokenizer: ClassVar[Path] = _inside("tokenizer")
    tasks: ClassVar[Path] = _inside("tasks")
    metrics: ClassVar[Path] = _inside("metrics.jsonl")
    curves: ClassVar[Path] = _inside("learning_curves.png")
    checkpoints: ClassVar[Path] = _inside("checkpoints")
    model: ClassVar[Path] = _inside("model")


@contextlib.contextmanager
def start_run(
    config: RunConfig,
    bert: BertConfig,
    tokenizer: Tokenizer,
    files: dict[str, str],
    checkpoint_bytes: int,
    own: Sequence[Task] = (),
    writes: bool = True,
) -> Iterator[RunDir]:
    """Makes the folder of a run, or goes on in it if it is the same run, and holds it against other processes.

    A run that was refused or stopped before it left anything has nothing to lose: its folder is free for any other.

    Args:
      files: SHA-256 of each table, of definitions of tasks, of the vocabulary and of the weights, by name.
      checkpoint_bytes: size of one checkpoint.
      own: the tasks of one's own that the settings name.
      writes: of several processes the first one; the others leave the folder to it.

    Raises:
      InputError: the folder holds something else, or the settings make no model.
      WeightsError: the folder holds a run of other settings, tables or weights.
      StorageError: the folder cannot be made or written, or the disk is too small.
      InUseError: another process works in it.
    """
    files_named = [name for name in split_names(config.tables.tasks) if name.endswith(".toml")]
    assert len(own) == len(files_named), "later commands know these tasks by what is written here"
    record = make_record(config, bert, files)
    run = RunDir(config.run.run_dir, fingerprint(record))
    model_config(config, bert)
    if own and "," in str(run.path):  # which later commands could not find its tasks in
        raise InputError(f"{run.path} has a comma in it; with a task of your own, --run_dir has none")
    if not writes:
        yield run
        return
    _check_folder(run)
    _check_room(run, 4 * checkpoint_bytes)  # the newest two, the best, and one that is being written
    make_folder(run.path)
    with locked(run.path / "lock"):
        if _has_begun(run):
            _check_same_run(run, record)
        else:
            shutil.rmtree(run.tasks, ignore_errors=True)  # of another run
        with refused(StorageError, f"{run.path} cannot be written"):
            run.tokenizer.mkdir(exist_ok=True)
            tokenizer.save(run.tokenizer)
            for task in own:
                run.tasks.mkdir(exist_ok=True)
                write_atomically(run.tasks / f"{task.name}.toml", define(task))
            write_atomically(run.settings, repeat(config))
            write_atomically(run.config, json.dumps(record, indent=2) + "\n")
        yield run


def make_recipe_folder(path: Path, settings: TrainConfig | None) -> None:
    """Makes the folder that holds those of a recipe's stages, and the settings that all of them come from, if given.

    Raises:
      InputError: it holds something else.
      StorageError: it cannot be made.
    """
    others = [name for name in _check_place(path) if not OF_A_RECIPE.fullmatch(name)]
    if others:
        raise InputError(f"{path} holds {others[0]} and is no recipe's run; name a folder that is new or empty")
    make_folder(path)
    if settings:
        with refused(StorageError, f"{path} cannot be written"):
            write_atomically(path / "config.toml", repeat(settings))


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it.

    Raises:
      StorageError: it cannot be made.
    """
    with refused(StorageError, f"{path} cannot be made"):
        path.mkdir(parents=True, exist_ok=True)


def _check_place(path: Path) -> list[str]:
    """What a folder holds; one that was never there holds nothing, and may be made.

    Raises:
      StorageError: it is none, or may not be made.
    """
    if path.is_symlink() and not path.exists():
        raise StorageError(f"{path} is a link to {path.readlink()}, which does not exist")
    if path.exists() and not path.is_dir():
        raise StorageError(f"{path} is a file, but a run needs a folder")
    if not path.parent.is_dir() and path.parent != RUNS:
        raise StorageError(f"{path} cannot be made: there is no folder {path.parent}")
    with refused(StorageError, f"{path} cannot be read"):
        return sorted(inner.name for inner in path.iterdir()) if path.exists() else []


def _check_folder(run: RunDir) -> None:
    """Nothing is written where a run cannot or should not be."""
    path, others = run.path, _check_place(run.path)
    if others and not run.config.exists() and not (path / "lock").exists():
        raise InputError(f"{path} holds {others[0]} and is no run; name a folder that is new or empty")
    for inner in path.rglob("*"):  # what is written through a link is written elsewhere
        if inner.is_symlink() or not (inner.is_file() or inner.is_dir()):
            raise InputError(f"{inner} is a link, a pipe or a device; a run's folder has none")


def _has_begun(run: RunDir) -> bool:
    """Whether a run has left anything that another one in its folder would lose."""
    return run.metrics.exists() or run.model.exists() or (run.checkpoints.exists() and any(run.checkpoints.iterdir()))


def _check_same_run(run: RunDir, record: dict[str, Any]) -> None:
    before = read_record(run)
    changes = changes_of_record(before, record, MAY_CHANGE | SAME_CONTENT)
    if changes:
        raise WeightsError(f"{run.path} holds a run with other settings: {', '.join(changes)}; name another --run_dir")
    newer = differences(before["versions"], record["versions"], set())
    if newer:
        print(f"note: this run was begun with other versions ({', '.join(newer)})", file=sys.stderr)


def _check_room(run: RunDir, needed: int) -> None:
    """The disk has room for what the run will have written, less what it has written already."""
    place = next(path for path in (run.path.absolute(), *run.path.absolute().parents) if path.exists())
    there = sum(path.stat().st_size for path in run.checkpoints.rglob("*") if path.is_file())
    free = shutil.disk_usage(place).free
    if free < needed - there:
        gigabytes = f"{(needed - there) / 1e9:.2f} GB for its checkpoints, but {place} has {free / 1e9:.2f} GB free"
        raise StorageError(f"the run needs {gigabytes}")


def open_folder(path: Path) -> tuple[RunDir, RunConfig, ModelConfig, Tokenizer]:
    """A finished or unfinished run, to be evaluated; of a recipe, the last stage that was begun.

    Raises:
      InputError: the folder is no run.
      WeightsError: it is one, but damaged or of another version.
    """
    stages = stage_folders(path)
    if stages:
        path = stages[-1]
    run = RunDir(path, "")
    if not run.config.exists():
        inner = sorted(each for each in path.glob("*/") if (each / "config.json").exists() or stage_folders(each))
        guess = f"; it holds some, such as {inner[0]}" if inner else ""
        raise InputError(f"--run_dir={path} is no run: there is no {run.config}{guess}")
    record = read_record(run)
    run = RunDir(path, fingerprint(record))
    check_extensions(record["files"])
    unknown = record["bert"].keys() - {field.name for field in dataclasses.fields(BertConfig)}
    if unknown:
        raise WeightsError(f"{run.config}: there is no setting bert.{said(min(unknown))}")
    try:
        config, bert = read_run(record, run.tasks)
        model = model_config(config, bert)
    except UserError as error:
        raise WeightsError(f"{run.config}: {error}") from None
    return run, config, model, read_tokenizer(run.tokenizer, bert.vocab_size)


def stage_folders(path: Path) -> list[Path]:
    """The folders of a recipe's stages that have been begun, in their order; none in the folder of a single run."""
    return sorted(path.glob("[1-9]-*/")) if not (path / "config.json").exists() else []


def write_model(run: RunDir, bert: BertConfig, params: dict, tokenizer: Tokenizer) -> None:
    """Writes a Hugging Face folder for --init into a run's folder. What has its name is whole.

    Raises:
      StorageError: it cannot be written.
    """
    with replace_folder(run.model) as folder:
        save_model(folder, bert, params)
        tokenizer.save(folder)


def read_record(run: RunDir) -> dict[str, dict[str, Any]]:
    """What a run's config.json holds: settings, dimensions, SHA-256 of files, and versions.

    Raises:
      WeightsError: it is damaged.
    """
    try:
        record = read_json(run.config)
    except (FileNotFoundError, ValueError) as error:
        raise WeightsError(f"{run.config}: {error}") from None
    for part in ("config", "bert", "files", "versions"):
        if not isinstance(record.get(part), dict):
            raise WeightsError(f"{run.config} is not the record of a run: it has no {part!r}")
    return record
