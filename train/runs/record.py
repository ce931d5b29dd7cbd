"""What makes a run this run and no other: settings, dimensions, files and versions, recorded, compared and read again.

The record is a run's config.json, which another version may have written, or another hand.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_jax.cli.settings import flat
from bert_jax.config import BertConfig
from bert_jax.definition import NAME, digest, find_tasks, plain_names, split_names
from bert_jax.errors import InputError, WeightsError, quote
from bert_jax.tasks import TASKS, Task
from train.config import MAY_CHANGE, SAME_CONTENT, SETTINGS
from train.extend import digests
from train.resolve import RunConfig, check

LONGEST_TEXT = 4096  # characters, as many as a path may have
READ_TO_JUDGE = ("heads.", "scores.")  # what extends the program that an evaluation needs as well


def make_record(config: RunConfig, bert: BertConfig, files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What config.json holds of a run: settings, dimensions, SHA-256 of files, and versions.

    A setting that came with a later version is there only if it is not the default, so that runs from before it go on.
    """
    named = dataclasses.replace(config, tasks=plain_names(config.tables.tasks))
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in flat(named).items()
        if not SETTINGS[name].since or value != SETTINGS[name].default
    }
    return {"config": settings, "bert": dataclasses.asdict(bert), "files": files, "versions": _versions()}


def told(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A record without the settings that say nothing of the model: where the run was, how often it spoke."""
    settings = {name: value for name, value in record["config"].items() if name not in MAY_CHANGE - {"epochs"}}
    return {**record, "config": settings}


def fingerprint(record: Mapping[str, Any]) -> str:
    """SHA-256 of all that makes a run this run."""
    config = {name: value for name, value in record["config"].items() if name not in MAY_CHANGE | SAME_CONTENT}
    content = json.dumps([config, record["bert"], record["files"]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def changes_of_record(before: dict[str, Any], now: dict[str, Any], harmless: set[str]) -> list[str]:
    """What makes a record another run's, as `setting: before -> now`; settings named in `harmless` do not."""
    default = {"config": {name: each.default for name, each in SETTINGS.items() if each.since}}
    return [
        change
        for part in ("config", "bert", "files")
        for change in differences(default.get(part, {}) | before[part], default.get(part, {}) | now[part], harmless)
    ]


def differences(before: dict[str, Any], now: dict[str, Any], harmless: set[str]) -> list[str]:
    """The same of one part of it."""
    names = sorted(name for name in {*before, *now} - harmless if before.get(name) != now.get(name))
    return [f"{said(name)}: {said(before.get(name))} -> {said(now.get(name))}" for name in names]


def said(value: Any) -> str:
    """As it is if that is one short line."""
    text = str(value)
    return text if text.isprintable() and len(text) <= 100 else quote(value)


def read_settings(values: Mapping[str, Any], files: Mapping[str, Any]) -> RunConfig:
    """Resolved settings as they were when they were recorded.

    Args:
      files: SHA-256 by name, those of what extended the program among them: `schedulers.mine` says that there was one.

    Raises:
      InputError: one is unknown, or has a value that no flag gives.
    """
    typed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in SETTINGS:
            raise InputError(f"there is no setting {quote(name)}")
        too_long = isinstance(value, str) and len(value) > LONGEST_TEXT
        added = isinstance(value, str) and f"{name}s.{value}" in files
        try:
            typed[name] = value if added else SETTINGS[name].take(value)
        except ValueError:
            too_long = True
        if too_long:
            raise InputError(f"{name} is {quote(value)}, which no flag gives")
    for name in ("epochs", "lr", "head_dropout", "run_dir"):
        if typed.get(name) is None:
            raise InputError(f"{name} is missing")
    config = RunConfig(**typed)
    check(config)
    return config


def read_run(record: Mapping[str, Any], tasks: Path) -> tuple[RunConfig, BertConfig]:
    """The settings and the dimensions that a record holds.

    Args:
      tasks: folder with the definitions of the tasks that only the run knows.

    Raises:
      InputError: a setting cannot be used, or a task is not defined as it was.
      WeightsError: the dimensions make no model.
    """
    files = record["files"]
    config = read_settings(with_own_tasks(record["config"], files, tasks), files)
    bert = BertConfig(**record["bert"])
    check_own_tasks(find_tasks(config.tables.tasks), files)
    return config, bert


def check_extensions(files: Mapping[str, Any]) -> None:
    """Raises an error unless what extended the program when a run was begun is there, as far as judging it needs it."""
    now = digests()
    for name, sha256 in files.items():
        if name.startswith(READ_TO_JUDGE) and name not in now:
            raise InputError(f"the run needs {said(name)} of the file that extended the program; name it with --extend")
        if name.startswith(READ_TO_JUDGE) and now[name] != sha256:
            raise WeightsError(f"{said(name)} of --extend is not as it was when the run was begun")


def with_own_tasks(settings: dict[str, Any], files: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Recorded settings, in which the tasks that only the run knows are the files that define them.

    Args:
      files: SHA-256 by name, those of definitions among them.
      folder: of the run, where the definitions are.
    """
    names = settings.get("tasks")
    if not isinstance(names, str):
        return settings
    own = {name for name in split_names(names) if NAME.fullmatch(name) and f"{name}.toml" in files} - TASKS.keys()
    parts = [str(folder / f"{name}.toml") if name in own else name for name in split_names(names)]
    return {**settings, "tasks": ",".join(parts)} if own else settings


def check_own_tasks(tasks: Sequence[Task], files: Mapping[str, Any]) -> None:
    """Raises InputError if a task of one's own is defined in another way than when the run was begun."""
    for task in tasks:
        if task.folder and files.get(f"{task.name}.toml") != digest(task):
            raise InputError(f"tasks/{task.name}.toml is not as it was when the run was begun; undo what has changed")


def _versions() -> dict[str, str]:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
