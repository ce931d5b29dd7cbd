"""A task of one's own as a TOML file <-> the fields of a Task. All keys that there are:

    kind = "classification"            # or "paraphrase", "similarity"
    texts = ["sentence"]               # column of the text; two columns for a pair
    label = "topic"                    # column of the label
    labels = ["cooking", "travel"]     # of a classification, as they stand in the table: words or whole numbers
    max_label = 5                      # of a similarity, whose labels lie between 0 and this. Default: 5
    metric = "macro_f1"                # Default: accuracy; of a similarity pearson
    id = "id"                          # column of the row's id. Default: none; rows go by their line
    delimiter = ","                    # Default: "\t"
    folder = "/data"                   # where the files are. Default: where this file is
    files = { train = "train.csv", dev = "dev.csv", test = "test.csv" }   # test may be missing

A paraphrase may have two labels, first the one that means "no"; its default is 0 and 1.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from bert_jax.errors import InputError, perhaps, quote, refused
from bert_jax.files import read_file
from bert_jax.tasks import KINDS, PARTS, TASKS, Task

LONGEST = 100_000  # bytes
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
KEYS = ("kind", "texts", "label", "labels", "max_label", "metric", "id", "delimiter", "folder", "files")
SPLITS = ("train", "dev", "test")
DELIMITERS = ("\t", ",", ";", "|")


class Wrong(InputError):
    """A key, what is wrong with it, and what is wanted."""


def read_definition(path: Path) -> dict[str, Any]:
    """The fields of a Task but for its names.

    Raises:
      InputError: `path: key: what was wrong, what is wanted`, for the first thing that is wrong.
    """
    try:
        with refused(Wrong, "cannot be read"):
            text = read_file(path, LONGEST).decode("utf-8")
        return _fields(tomllib.loads(text), path.absolute().parent)
    except Wrong as error:
        reason = str(error)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError as error:  # TOMLDecodeError, or a number of more digits than Python reads
        reason = f"is no TOML: {error}"
    raise InputError(f"{path}: {reason}")


def define(task: Task, with_files: bool = True) -> str:
    """Return the file that defines a task of one's own, with or without where its tables are.

    >>> task = Task("same", "similarity", {}, ("a", "b"), "same", 1, "same", id_column=None, delimiter=",")
    >>> print(define(task, with_files=False))
    kind = "similarity"
    texts = ["a", "b"]
    label = "same"
    max_label = 1
    metric = "pearson"
    delimiter = ","
    <BLANKLINE>
    """
    shown = {
        "kind": task.kind,
        "texts": list(task.text_columns),
        "label": task.label_column,
        "labels": list(task.labels) or None,
        "max_label": task.max_label if task.is_graded else None,
        "metric": task.metric,
        "id": task.id_column,
        "delimiter": task.delimiter,
    }
    if with_files:
        shown["folder"] = str(task.folder)
        shown |= {f"files.{split}": names[0] for split, names in task.files.items()}
    # A string of JSON is one of TOML where no character has to be written as two of UTF-16.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in shown.items() if value is not None]
    return "".join(lines).replace("\x7f", r"\u007f")


def digest(task: Task) -> str:
    """SHA-256 of the definition of a task of one's own, but for where its tables are, which have hashes."""
    return hashlib.sha256(define(task, with_files=False).encode()).hexdigest()


def _fields(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    _check_keys(values, KEYS, "")
    kind = _one_of(values, "kind", [name for name, kind in KINDS.items() if not kind.masked])
    texts, label = _columns(values, kind), _text(values, "label")
    labels = _labels(values, kind)
    if label in texts:
        raise Wrong(f"label: {quote(label)} is the column of a text, wanted is another")
    return {
        "kind": kind,
        "text_columns": texts,
        "label_column": label,
        "labels": labels,
        "metric": _one_of(values, "metric", KINDS[kind].metrics, has_default=True),
        "files": _files(values),
        "max_label": _max_label(values, kind, labels),
        "id_column": _text(values, "id") if "id" in values else None,
        "delimiter": _one_of(values, "delimiter", DELIMITERS, has_default=True),
        "folder": _folder(values, folder),
    }


def _folder(values: dict[str, Any], beside: Path) -> Path:
    """Where a definition's files are: what it names, from its own folder, or that folder."""
    try:
        folder = beside / Path(_text(values, "folder") if "folder" in values else "").expanduser()
        str(folder).encode()
        return folder
    except RuntimeError as error:
        raise Wrong(f"folder: {quote(values['folder'])}: {error}") from None
    except UnicodeEncodeError:
        raise Wrong(f"folder: {quote(str(beside))} is not UTF-8, wanted is a path that is") from None


def _columns(values: dict[str, Any], kind: str) -> tuple[str, ...]:
    texts = values.get("texts")
    counts = KINDS[kind].texts
    wanted = f"a list of {' or '.join(map(str, counts))} columns"
    fits = isinstance(texts, list) and len(texts) in counts and all(map(_is_text, texts))
    texts = _require(fits, "texts", texts, wanted)
    if len(set(texts)) < len(texts):
        raise Wrong(f"texts: both are {quote(texts[0])}, wanted is {wanted}")
    return tuple(texts)


def _labels(values: dict[str, Any], kind: str) -> tuple[str | int, ...]:
    if KINDS[kind].graded:
        if "labels" in values:
            raise Wrong(f"labels: a {kind} has none, wanted is max_label, of which they lie between 0 and it")
        return ()
    two = list(KINDS[kind].labels)
    labels = values.get("labels", two or None)
    count = "two, first the one that means no" if two else "two or more"
    wanted = f"a list of {count}, all words or all whole numbers"
    fits = isinstance(labels, list) and len(labels) >= 2 and not (two and len(labels) > 2)
    labels = _require(fits, "labels", labels, wanted)
    numbers = all(type(label) is int for label in labels)
    _require(numbers or all(map(_is_text, labels)), "labels", labels, wanted)
    for label in labels:
        if labels.count(label) > 1:
            raise Wrong(f"labels: {quote(label)} stands twice, wanted is {wanted}")
    return tuple(labels)


def _max_label(values: dict[str, Any], kind: str, labels: tuple[str | int, ...]) -> int:
    if not KINDS[kind].graded:
        if "max_label" in values:
            raise Wrong(f"max_label: a {kind} has none, wanted is labels, a list of them")
        return len(labels) - 1
    highest = values.get("max_label", 5)
    fits = type(highest) is int and 1 <= highest <= 100
    return _require(fits, "max_label", highest, "a whole number from 1 to 100")


def _files(values: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    files, wanted = values.get("files"), '{ train = "NAME", dev = "NAME" }, and test if there is one'
    files = _require(isinstance(files, dict), "files", files, wanted)
    _check_keys(files, SPLITS, "files.")
    names = {split: (_text(files, split, "files."),) for split in SPLITS if split in files or split != "test"}
    for split, before in (("dev", "train"), ("test", "train"), ("test", "dev")):
        if split in names and names[split] == names[before]:
            raise Wrong(f"files.{split}: is {quote(files[split])} as files.{before} is, wanted is another")
    return names


def _check_keys(values: dict[str, Any], known: tuple[str, ...], above: str) -> None:
    for key in values:
        if key not in known:
            name = key if NAME.fullmatch(key) else quote(key)
            raise Wrong(f"{above}{name}: there is no such key{perhaps(key, known)}, wanted are {', '.join(known)}")


def _text(values: dict[str, Any], key: str, above: str = "") -> str:
    text = values.get(key)
    return _require(_is_text(text), above + key, text, "a text in quotes, on one line")


def _one_of(values: dict[str, Any], key: str, known: Sequence[str], has_default: bool = False) -> str:
    value = values.get(key, known[0] if has_default else None)
    guess = perhaps(value, known) if isinstance(value, str) else ""
    return _require(value in known, key, value, " or ".join(map(json.dumps, known)), guess)


def _is_text(value: Any) -> bool:
    """Whether a value can be a column, a label or a file: something on one line, without blanks around it."""
    return isinstance(value, str) and value == value.strip() != "" and value.isprintable()


def _require(fits: bool, key: str, value: Any, wanted: str, guess: str = "") -> Any:
    """Return the value of a key if it fits."""
    if not fits:
        got = "is missing" if value is None else f"is {quote(value)}"
        raise Wrong(f"{key}: {got}{guess}, wanted is {wanted}")
    return value


def find_tasks(names: str, known: Mapping[str, Task] = TASKS) -> tuple[Task, ...]:
    """The tasks named in a comma-separated list, in its order. What ends in .toml is the file of a task of one's own.

    Args:
      known: those that can be named.

    Raises:
      InputError: the list is empty, or names a task twice or one that does not exist, or a file cannot be used.
    """
    wanted = split_names(names)
    if not wanted:
        raise InputError(f"--tasks={names!r} names no task; there are {', '.join(known)}")
    for name in wanted:
        if name not in known and not name.endswith(".toml"):
            guess = perhaps(name, known)
            raise InputError(f"--tasks names {name!r}, which is no task here{guess}; there are {', '.join(known)}")
    tasks = tuple(known[name] if name in known else read_task(Path(name)) for name in wanted)
    names_found = [task.name for task in tasks]
    for name in names_found:
        if names_found.count(name) > 1:
            raise InputError(f"--tasks names {name!r} more than once")
    return tasks


def split_names(names: str) -> list[str]:
    """The parts of a comma-separated list of tasks."""
    return [name.strip() for name in names.split(",") if name.strip()]


def plain_names(names: str) -> str:
    """A list of tasks without the folders of files: what the tasks are called.

    >>> plain_names("sst,examples/topic.toml")
    'sst,topic'
    """
    parts = split_names(names)
    return ",".join(PurePath(part).stem if part.endswith(".toml") else part for part in parts)


def read_task(path: Path) -> Task:
    """A task of one's own, called after its file.

    Raises:
      InputError: `path: key: what was wrong, what is wanted`.
    """
    name = path.stem
    if not NAME.fullmatch(name):
        raise InputError(f"{path}: the file is called after the task: small letters, digits and _, as in topic.toml")
    if name in (*TASKS, *PARTS):
        taken = "a part of the model" if name in PARTS else "a task that is here already"
        raise InputError(f"{path}: {name} is {taken}; give the file another name")
    return Task(name=name, course_name=name, **read_definition(path))
