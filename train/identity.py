"""What makes a run this run and no other: settings, dimensions, files and versions, recorded and compared."""

import dataclasses
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from bert_jax.config import BertConfig
from bert_jax.files import quote
from bert_jax.tasks import plain_names
from train.config import TrainConfig


def make_record(config: TrainConfig, bert: BertConfig, files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What config.json holds of a run: settings, dimensions, SHA-256 of files, and versions."""
    named = dataclasses.replace(config, tasks=plain_names(config.tasks))
    return {"config": _plain(named), "bert": _plain(bert), "files": files, "versions": _versions()}


def changes_of_record(before: dict[str, Any], now: dict[str, Any], harmless: set[str]) -> list[str]:
    """What makes a record another run's, as `setting: before -> now`; settings named in `harmless` do not."""
    return [change for part in ("config", "bert", "files") for change in differences(before[part], now[part], harmless)]


def differences(before: dict[str, Any], now: dict[str, Any], harmless: set[str]) -> list[str]:
    """The same of one part of it."""
    names = sorted(name for name in {*before, *now} - harmless if before.get(name) != now.get(name))
    return [f"{said(name)}: {said(before.get(name))} -> {said(now.get(name))}" for name in names]


def said(value: Any) -> str:
    """As it is if that is one short line."""
    text = str(value)
    return text if text.isprintable() and len(text) <= 100 else quote(value)


def _plain(config: Any) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items()}


def _versions() -> dict[str, str]:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
