"""What a user adds to the open tables: schedulers, losses, heads, scores, recipes and optimizers.

A file that `--extend` names has any of these tables, as dicts under their names here in capitals; `fit` takes them as
arguments. Only a file that the user names is run, never one that a run's folder names or holds.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bert_jax.errors import InputError, refused
from bert_jax.tasks import KINDS, Kind

# The table that each name adds to: the module that has it, and what it is called there.
TABLES = {
    "schedulers": ("train.schedulers", "SCHEDULERS"),
    "losses": ("train.losses", "LOSSES"),
    "heads": ("bert_jax.heads", "HEADS"),
    "scores": ("eval.metrics", "SCORES"),
    "recipes": ("train.recipes", "RECIPES"),
    "optimizers": ("train.optim", "OPTIMIZERS"),
}


class Addition(NamedTuple):
    """A row of a table, and the SHA-256 of what it is made of."""

    table: str
    name: str
    row: Any
    sha256: str


# Those that are there now, each with the row and the kind of its name that were there before.
_added: list[tuple[Addition, Any, Kind | None]] = []


def additions() -> list[Addition]:
    """What has been added, in its order."""
    return [addition for addition, *_ in _added]


def digests() -> dict[str, str]:
    """SHA-256 of what each added row is made of, by `table.name`: a part of what makes a run this run."""
    return {f"{each.table}.{each.name}": each.sha256 for each in additions()}


@contextlib.contextmanager
def extended(rows: Sequence[Addition]) -> Iterator[None]:
    """Adds rows while it is entered; what else is added in the meantime goes with them."""
    start = len(_added)
    try:
        for each in rows:
            _add(each)
        yield
    finally:
        while len(_added) > start:
            each, row, kind = _added.pop()
            _put(_table(each.table), each.name, row)
            _put(KINDS, each.name, kind)


def make_additions(tables: Mapping[str, Mapping[str, Any] | None]) -> list[Addition]:
    """Rows of Python, by table and name, as additions.

    Raises:
      InputError: nobody can tell what one is made of.
    """
    return [
        Addition(table, name, row, hash_source(f"{table}.{name}", row))
        for table, rows in tables.items()
        for name, row in (rows or {}).items()
    ]


def load_extension(path: Path) -> None:
    """Runs a file, and adds its tables.

    Raises:
      InputError: it cannot be read or run, or has none of the tables.
    """
    with refused(InputError, f"--extend={path} cannot be read"):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    module = _run(path)
    tables = {name: getattr(module, name.upper()) for name in TABLES if hasattr(module, name.upper())}
    if not tables:
        raise InputError(f"--extend={path} has none of the tables {', '.join(map(str.upper, TABLES))}")
    for table, rows in tables.items():
        if not isinstance(rows, Mapping):
            raise InputError(f"{path}: {table.upper()} is {type(rows).__name__}, but a table is a dict of rows by name")
        for name, row in rows.items():
            _add(Addition(table, name, row, sha256))


def hash_source(name: str, row: Any) -> str:
    """SHA-256 of a function's source, its defaults and what it has from around it; of a row, of all that it holds.

    What a function calls is not in it.

    Raises:
      InputError: the source of one cannot be read.
    """
    if isinstance(row, functools.partial):
        parts: list[Any] = [row.func, *row.args, *sorted(row.keywords.items())]
    elif dataclasses.is_dataclass(row):
        parts = [getattr(row, field.name) for field in dataclasses.fields(row)]
    elif inspect.isfunction(row):
        row = inspect.unwrap(row)
        try:
            text = inspect.getsource(row)
        except OSError:
            raise InputError(f"the source of {name} cannot be read; define it in a file or a cell") from None
        cells = [cell.cell_contents for cell in row.__closure__ or ()]
        parts = [text, *(row.__defaults__ or ()), *cells]
    elif isinstance(row, (list, tuple)):
        parts = list(row)
    else:
        return hashlib.sha256(repr(row).encode()).hexdigest()
    return hashlib.sha256("".join(hash_source(name, part) for part in parts).encode()).hexdigest()


def _run(path: Path) -> Any:
    """The module that a file makes."""
    spec = importlib.util.spec_from_file_location(f"extension_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--extend={path} is no Python file; its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file does
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
        where = line or getattr(error, "lineno", None) or 1
        raise InputError(f"{path}:{where}: {type(error).__name__}: {error}") from error
    return module


def _add(each: Addition) -> None:
    if not each.name.isidentifier():
        raise InputError(f"{each.table} has {each.name!r}, but a name is letters, digits and _")
    table = _table(each.table)
    _added.append((each, table.get(each.name), KINDS.get(each.name)))
    table[each.name] = each.row
    if getattr(each.row, "kind", None) is not None:
        KINDS[each.name] = each.row.kind


def _table(name: str) -> dict[str, Any]:
    module, table = TABLES[name]
    return getattr(importlib.import_module(module), table)


def _put(table: dict[str, Any], name: str, row: Any) -> None:
    if row is None:
        table.pop(name, None)
    else:
        table[name] = row
