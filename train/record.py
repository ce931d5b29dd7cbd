"""The settings of a run out of the JSON in its folder, which another version may have written, or another hand."""

import types
import typing
from pathlib import Path
from typing import Any

from bert_jax.errors import InputError
from bert_jax.files import quote
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


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value out of JSON is of a field's type."""
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    if hint in (str, Path):
        return isinstance(value, str) and len(value) <= LONGEST_TEXT
    return type(value) in ((int, float) if hint is float else (hint,))  # a bool is no int
