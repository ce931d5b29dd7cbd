"""The log of a run: one JSON object a line, of losses and of dev scores."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_jax.errors import StorageError, WeightsError, refused
from bert_jax.files import sync_folder, write_atomically


def keep_until(path: Path, step: int, evaluated: bool) -> None:
    """Drops the lines of the log that a resumed run is going to write again.

    Args:
      evaluated: whether the dev scores after this very step stay.
    """
    if path.exists():
        lines = _lines(path)
        kept = [line for line, entry in lines if entry["step"] <= step - (not evaluated and "dev" in entry)]
        write_atomically(path, "".join(kept))


def append(path: Path, entry: dict[str, Any]) -> None:
    """Adds one line; NaN becomes null, as JSON has no word for it.

    Dev scores are on the disk before the checkpoint says that it has been evaluated: they are not scored again.
    """
    with refused(StorageError, f"{path} cannot be written"), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(without_nan(entry)) + "\n")
        if "dev" in entry:
            file.flush()
            os.fsync(file.fileno())
            sync_folder(path.parent)


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Each whole line of the log, and what it says; a last line that was cut off does not count."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        found = [(line, json.loads(line)) for line in lines if line.endswith("\n")]
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not the log of a run: {error}") from None
    if not all(isinstance(entry, dict) and isinstance(entry.get("step"), int) for _, entry in found):
        raise WeightsError(f"{path} is not the log of a run: there is a line without a step")
    return found


def entries(path: Path) -> list[dict[str, Any]]:
    """All lines of the log, in their order."""
    return [entry for _, entry in _lines(path)]


def dev_entries(path: Path) -> list[dict[str, Any]]:
    """The lines of the log with dev scores, in their order."""
    return [entry for entry in entries(path) if "dev" in entry]


def last_evaluation(path: Path) -> int | None:
    """The last update after which the dev tables were scored; None if there is none yet."""
    return max((entry["step"] for entry in dev_entries(path)), default=None)


def best_entry(path: Path) -> dict[str, Any] | None:
    """The line of the log with the best dev score, the last one where no score is defined; null becomes NaN again.

    None if the run has not been evaluated yet.
    """
    judged = dev_entries(path)
    best = max(judged, key=lambda each: (-2 if each["score"] is None else each["score"], each["step"]), default=None)
    return with_nan(best) if best else None


def with_nan(value: Any) -> Any:
    """The inverse of `without_nan`."""
    return _each_leaf(value, lambda leaf: float("nan") if leaf is None else leaf)


def without_nan(value: Any) -> Any:
    """The same, with null for a number that is not finite: JSON has no word for it."""
    return _each_leaf(value, lambda leaf: None if isinstance(leaf, float) and not math.isfinite(leaf) else leaf)


def _each_leaf(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value as JSON has it, with each number, text or null in it changed."""
    if isinstance(value, dict):
        return {key: _each_leaf(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each_leaf(inner, change) for inner in value]
    return change(value)
