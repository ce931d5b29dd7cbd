"""The folder of a run: what it was asked for, its vocabulary, its log and its checkpoints.

config.json  tokenizer/  metrics.jsonl  checkpoints/
"""

import dataclasses
import importlib.metadata
import json
import math
import platform
from pathlib import Path
from typing import Any

from bert_jax.config import BertConfig, ModelConfig
from bert_jax.errors import InputError, StorageError, WeightsError
from bert_jax.tokenizer import Tokenizer, read_tokenizer
from train.config import MAY_CHANGE, TrainConfig


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths inside a run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"


def model_config(config: TrainConfig, bert: BertConfig) -> ModelConfig:
    """The model that resolved settings and an encoder's dimensions make."""
    assert config.head_dropout is not None
    return ModelConfig(
        bert=bert,
        pooling=config.pooling,
        pair_encoding=config.pair_encoding,
        similarity_head=config.similarity_head,
        head_dropout=config.head_dropout,
        dtype=config.dtype,
    )


def start_run(config: TrainConfig, bert: BertConfig, tokenizer: Tokenizer, files: dict[str, str]) -> RunDir:
    """Makes the folder of a run, or goes on in it if it is the same run.

    Args:
      files: SHA-256 of each table and of the vocabulary, by name.

    Raises:
      WeightsError: the folder holds a run of other settings or other tables.
      StorageError: the folder cannot be made or written.
    """
    assert config.run_dir is not None
    run = RunDir(config.run_dir)
    record = {"config": _plain(config), "bert": _plain(bert), "files": files, "versions": _versions()}
    if run.config.exists():
        before = _read_record(run)
        changes = _changes(before["config"], record["config"])
        changes += _changes(before["bert"], record["bert"]) + _changes(before["files"], files)
        if changes:
            raise WeightsError(
                f"{run.path} holds a run with other settings: {', '.join(changes)}; name another --run_dir"
            )
    try:
        run.tokenizer.mkdir(parents=True, exist_ok=True)
        tokenizer.save(run.tokenizer)
        run.config.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{run.path} cannot be written: {error.strerror}") from None
    return run


def open_run(path: Path) -> tuple[RunDir, TrainConfig, ModelConfig, Tokenizer]:
    """A finished or unfinished run, to be evaluated.

    Raises:
      InputError: the folder is no run.
    """
    run = RunDir(path)
    if not run.config.exists():
        raise InputError(f"--run_dir={path} is no run: there is no {run.config}")
    record = _read_record(run)
    paths = {"data_dir", "vocab", "run_dir"}
    try:
        settings = record["config"].items()
        values: dict[str, Any] = {k: Path(v) if k in paths and v is not None else v for k, v in settings}
        config, bert = TrainConfig(**values), BertConfig(**record["bert"])
        model = model_config(config, bert)
    except (TypeError, AttributeError, AssertionError) as error:
        raise WeightsError(f"{run.config} is of another version: {error!r}") from None
    return run, config, model, read_tokenizer(run.tokenizer, bert.vocab_size)


def keep_log_until(run: RunDir, step: int) -> None:
    """Drops the lines of the log that a resumed run is going to write again."""
    if run.metrics.exists():
        kept = [line for line, entry in _log_lines(run) if entry["step"] <= step]
        run.metrics.write_text("".join(kept), encoding="utf-8")


def append_log(run: RunDir, entry: dict[str, Any]) -> None:
    """Adds one line; NaN becomes null, as JSON has no word for it."""
    try:
        with run.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_without_nan(entry)) + "\n")
    except OSError as error:
        raise StorageError(f"{run.metrics} cannot be written: {error.strerror}") from None


def _log_lines(run: RunDir) -> list[tuple[str, dict[str, Any]]]:
    """Each whole line of the log, and what it says; a last line that was cut off does not count."""
    lines = run.metrics.read_text(encoding="utf-8").splitlines(keepends=True) if run.metrics.exists() else []
    try:
        return [(line, json.loads(line)) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise WeightsError(f"{run.metrics} is not the log of a run: {error}") from None


def best_entry(run: RunDir) -> dict[str, Any] | None:
    """The line of the log with the best dev score, the last one where no score is defined; null becomes NaN again.

    None if the run has not been evaluated yet.
    """
    entries = [entry for _, entry in _log_lines(run) if "dev" in entry]
    if not entries:
        return None
    best = max(entries, key=lambda entry: (-2 if entry["score"] is None else entry["score"], entry["step"]))
    return _with_nan(best)


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(inner) for key, inner in value.items()}
    return float("nan") if value is None else value


def _versions() -> dict[str, str]:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_record(run: RunDir) -> dict[str, Any]:
    try:
        record = json.loads(run.config.read_text(encoding="utf-8"))
        return {key: record[key] for key in ("config", "bert", "files")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{run.config} is not the record of a run: {error!r}") from None


def _plain(config: Any) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items()}


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names if name not in MAY_CHANGE]
