"""The flags of the course's starter code, in the words of this program where it has a counterpart."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, Split, Task

MODES = {
    "option": {"pretrain": "pretrain", "finetune": "finetune"},
    "fine_tune_mode": {"last-linear-layer": "pretrain", "full-model": "finetune"},
}
RENAMED = {"hidden_dropout_prob": "head_dropout"}
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
TABLES: dict[str, tuple[Task, Split]] = {
    f"{task.course_name}_{split}": (task, split) for task in COURSE_TASKS.values() for split in SPLITS
}
OUTPUTS = {f"{name}_out" for name, (_, split) in TABLES.items() if split != "train"}


def translate(flags: Sequence[str]) -> list[str]:
    """The same flags, those of the starter code as this program calls them; what has no counterpart is said on stderr.

    Raises:
      InputError: one has no value or an unknown one, or names a table where this program would not find it.

    >>> translate(["--option", "pretrain", "--hidden_dropout_prob=0.3", "--epochs", "9", "--sts_dev=data/sts-dev.csv"])
    ['--mode=pretrain', '--head_dropout=0.3', '--epochs', '9', '--data_dir=data']
    """
    translated: list[str] = []
    tables: dict[str, Path] = {}
    outputs: list[str] = []
    data_dir: str | None = None
    rest = iter(flags)
    for flag in rest:
        written = flag.partition("=")[0]
        name = written[2:].replace("-", "_") if written.startswith("--") else ""
        if name in MODES:
            translated.append(f"--mode={_mode(written, MODES[name], _value(flag, rest))}")
        elif name in RENAMED:
            translated.append(f"--{RENAMED[name]}={_value(flag, rest)}")
        elif name in TABLES:
            tables[name] = Path(_value(flag, rest))
        elif name in OUTPUTS:
            _value(flag, rest)
            outputs.append(written)
        elif name == "data_dir":
            data_dir = _value(flag, rest)
            translated.append(f"--data_dir={data_dir}")
        elif name == "use_gpu":
            print("warning: --use_gpu has no effect here: JAX uses the devices that it finds", file=sys.stderr)
        else:
            translated.append(flag)
    if outputs:
        wanted = "once it is trained, python -m eval.submission writes a run's predictions"
        print(f"warning: {', '.join(dict.fromkeys(outputs))} has no effect here: {wanted}", file=sys.stderr)
    if tables:
        folder = find_folder(tables, data_dir)
        if data_dir is None:
            translated.append(f"--data_dir={folder}")
    return translated


def find_folder(tables: dict[str, Path], data_dir: str | None) -> Path:
    """The one folder that all named tables lie in, each under a name that it is looked for by.

    Args:
      tables: path of a table by the starter's flag for it, such as "para_dev".
      data_dir: the folder that was named as well, if any.

    Raises:
      InputError: there is no such folder.
    """
    first = next(iter(tables))
    folder, named = (tables[first].parent, f"--{first}") if data_dir is None else (Path(data_dir), "--data_dir")
    for flag, path in tables.items():
        task, split = TABLES[flag]
        _check_name(flag, path, task, split)
        if os.path.realpath(path.parent) != os.path.realpath(folder):
            raise InputError(f"--{flag}={path} is not in {folder}, the folder of {named}; the tables lie in one folder")
    return folder


def _check_name(flag: str, path: Path, task: Task, split: Split) -> None:
    """Raises InputError unless the file is the one that is read as that split of the task."""
    names = task.files[split]
    if path.name not in names:
        raise InputError(f"--{flag}={path}, but that table is looked for by the name {' or '.join(names)}")
    for before in names[: names.index(path.name)]:
        if os.path.lexists(path.parent / before):
            raise InputError(f"--{flag}={path}, but {path.parent / before} is there as well, and would be read")


def _mode(written: str, modes: dict[str, str], value: str) -> str:
    if value not in modes:
        raise InputError(f"{written}={value}, but it is {' or '.join(modes)}")
    return modes[value]


def _value(flag: str, rest: Iterator[str]) -> str:
    """What a flag is set to: behind its `=`, or else the next of the flags, which is taken from them.

    Raises:
      InputError: there is none.
    """
    written, equals, value = flag.partition("=")
    if not equals:
        value = next(rest, "")
    if not value or value.startswith("--"):
        raise InputError(f"{written} needs a value")
    return value
