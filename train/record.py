"""The settings of a run out of the JSON in its folder, which another version may have written, or another hand."""

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_jax.definition import NAME
from bert_jax.errors import InputError
from bert_jax.files import quote
from bert_jax.tasks import TASKS, Task, split_names
from train.config import TrainConfig, check_ranges

LONGEST_TEXT = 4096  # characters, as many as a path may have


def read_settings(values: dict[str, Any]) -> TrainConfig:
    """Resolved settings as they were when they were recorded.

    Raises:
      InputError: one is unknown, or has a value that no flag gives.
    """
    hints = typing.get_type_hints(TrainConfig)
    for name, value in values.items():
        if name not in hints:
            raise InputError(f"there is no setting {quote(name)}")
        if not _fits(value, hints[name]):
            raise InputError(f"{name} is {quote(value)}, which no flag gives")
    paths = {name for name in values if Path in typing.get_args(hints[name])}
    typed: dict[str, Any] = {k: Path(v) if k in paths and v is not None else v for k, v in values.items()}
    config = TrainConfig(**typed)
    for name in ("epochs", "lr", "head_dropout"):
        if getattr(config, name) is None:
            raise InputError(f"{name} is missing")
    check_ranges(config)
    return config


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
        if task.folder and files.get(f"{task.name}.toml") != task.digest:
            raise InputError(f"tasks/{task.name}.toml is not as it was when the run was begun; undo what has changed")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value out of JSON is of a field's type."""
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    if hint in (str, Path):
        return isinstance(value, str) and len(value) <= LONGEST_TEXT
    return type(value) in ((int, float) if hint is float else (hint,))  # a bool is no int
