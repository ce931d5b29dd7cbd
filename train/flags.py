"""Flags: a config's fields on the command line, by tyro, with help under headings and errors in one sentence."""

import ast
import contextlib
import dataclasses
import inspect
import io
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile, takewhile, zip_longest
from typing import Annotated, Any, TypeVar

import tyro

from bert_jax.errors import InputError, perhaps
from train.sections import Sections

Config = TypeVar("Config")
TYRO_FLAGS = ("help", "tyro_print_completion", "tyro_write_completion")
WORDS = {int: "a whole number", float: "a number"}
ELSEWHERE = {  # what other trainers call these
    "learning_rate": "lr",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "max_seq_length": "max_length",
    "model_name_or_path": "init",
    "output_dir": "run_dir",
    "task": "tasks",
    "task_name": "tasks",
}


def parse_flags(
    config_class: type[Config],
    module: str,
    args: Sequence[str],
    default: Config | None = None,
    trains: bool = False,
    sections: Sections | None = None,
) -> Config:
    """Flags -> the dataclass whose fields they are.

    Args:
      default: the values that hold where there is no flag, if they are not those of the class.
      trains: as in `run_command`.
      sections: as in `run_command`.

    Raises:
      InputError: what is wrong with them, in one sentence.
    """
    said = io.StringIO()
    prog = f"python -m {module}"
    given = list(args)
    flags_class = make_flags(config_class, default, sections)
    hints = typing.get_type_hints(config_class)
    try:
        check_names(given, hints)
        with contextlib.redirect_stderr(said):
            found = tyro.cli(
                flags_class, prog=prog, description=_describe(config_class, trains), args=given, use_underscores=True
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        box = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue())  # tyro has colours for a terminal, wherever it writes
        wrong = wrong_value(given, box, hints) or missing_flags(given, config_class)
        raise InputError(wrong or f"{_sentence(box)}; see {prog} --help") from None
    parts = [getattr(found, section) for section in sections] if sections else [found]
    return config_class(**{name: value for part in parts for name, value in vars(part).items()})


def check_names(args: Sequence[str], hints: Mapping[str, Any]) -> None:
    """Raises InputError if a flag is not among the names, has a value where it takes none, or an empty one.

    tyro knows of the first two as well, but says only what is missing where something is. An empty value is what a
    variable of the shell leaves that was never set; nothing here means anything by it.
    """
    switches = {name for name, hint in hints.items() if hint is bool}
    known = {*hints, *(f"no_{name}" for name in switches)}
    for arg, after in zip_longest(args, args[1:]):
        name = _name(arg)
        if not name or name in TYRO_FLAGS:
            continue
        if name not in known:
            guess = perhaps(ELSEWHERE.get(name, name), known, "--{}")
            raise InputError(f"{arg} is no flag here{guess or '; --help lists those that there are'}")
        if "=" in arg and (name in switches or name not in hints):
            off = f"; --no_{name} turns it off" if name in switches else ""
            raise InputError(f"{arg}, but --{name} takes no value{off}")
        value = arg.partition("=")[2] if "=" in arg else after
        if name in hints and name not in switches and value == "":
            raise InputError(f"--{name} needs a value: {_wanted(hints[name])}")


def wrong_value(args: Sequence[str], said: str, hints: Mapping[str, Any]) -> str:
    """What is wrong with the flag that tyro says it cannot parse, in one sentence; nothing if it says something else.

    >>> wrong_value(["--epochs", "few"], "Error parsing --epochs: ...", {"epochs": int | None})
    '--epochs=few, but it is a whole number'
    """
    found = re.search(r"(?:Error parsing |for argument )\W*--(\w+)", said)
    hint = hints.get(found[1]) if found else None
    if not found or hint is None:
        return ""
    value = re.findall(rf"(?:^|\n)--{found[1].replace('_', '[-_]')}[=\n](.*)", "\n".join(args))
    if not value:
        return f"--{found[1]} needs a value: {_wanted(hint)}"
    return f"--{found[1]}={value[-1]}, but it is {_wanted(hint)}{perhaps(value[-1], _choices(hint))}"


def missing_flags(args: Iterable[str], config_class: type) -> str:
    """Which flags without a default are not there, in one sentence; nothing if all are."""
    given, docs = {_name(arg) for arg in args}, field_docs(config_class)
    needed = [field.name for field in dataclasses.fields(config_class) if field.default is dataclasses.MISSING]
    missing = [f"--{name} ({docs[name].rstrip('.')})" for name in needed if name not in given]
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""


def make_flags(config_class: type, default: object = None, sections: Sections | None = None) -> type:
    """The dataclass that tyro reads: the same fields, with help that names a default once, under headings if there are.

    A heading is a field that holds its flags; their names do not show it.
    """
    hints, docs = typing.get_type_hints(config_class), field_docs(config_class)
    fields: dict[str, tuple[str, Any, Any]] = {}
    for field in dataclasses.fields(config_class):
        start = field.default if default is None else getattr(default, field.name)
        value = dataclasses.field() if start is dataclasses.MISSING else dataclasses.field(default=start)
        hint = None if start is dataclasses.MISSING else _say_default
        look = tyro.conf.arg(help=docs[field.name], metavar=_metavar(hints[field.name]), help_behavior_hint=hint)
        fields[field.name] = (field.name, Annotated[hints[field.name], look], value)
    if not sections:
        return dataclasses.make_dataclass(config_class.__name__, fields.values(), kw_only=True)
    parts = []
    for title, names in sections.items():
        part = dataclasses.make_dataclass(title, [fields[name] for name in names], frozen=True)
        parts.append((title, Annotated[part, tyro.conf.OmitArgPrefixes], dataclasses.field(default=part())))
    return dataclasses.make_dataclass(config_class.__name__, parts)


def field_docs(config_class: type) -> dict[str, str]:
    """The string below each field of a dataclass, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            docs[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return docs


def _say_default(value: str) -> str:
    """How help names a default; where there is none, or it depends, the field's own words say so."""
    return "" if value in ("None", "False") else f"Default: {value}."


def _metavar(hint: Any) -> str | None:
    """What stands for a flag's value in the help: PATH, FLOAT|{paper,usual}; nothing for a flag that has none."""
    if hint is bool:
        return None
    kinds = [part.__name__.upper() for part in _members(hint) if typing.get_origin(part) is not typing.Literal]
    return "|".join(kinds + (["{" + ",".join(_choices(hint)) + "}"] if _choices(hint) else []))


def _describe(config_class: type, trains: bool) -> str:
    """What a command does, as its help begins, in lines that fit the terminal."""
    about = f"{inspect.getdoc(config_class)}\n\nWith --debug, an error shows where in the program it came up."
    if trains:
        about += " With --no-hugepages, memory comes in pages of the usual size."
    width = min(shutil.get_terminal_size().columns, 120)
    fill = textwrap.TextWrapper(width, initial_indent=" ", subsequent_indent=" ", break_on_hyphens=False).fill
    return "\n".join(map(fill, about.split("\n\n")))  # tyro joins lines but for those that begin with a space


def _members(hint: Any) -> list[Any]:
    """The types of a union but for None, or the one type."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return [part for part in (typing.get_args(hint) if union else (hint,)) if part is not type(None)]


def _choices(hint: Any) -> list[str]:
    """The words that a flag's value can be."""
    literals = [part for part in _members(hint) if typing.get_origin(part) is typing.Literal]
    return [str(word) for part in literals for word in typing.get_args(part)]


def _wanted(hint: Any) -> str:
    """What a flag's value is, in words."""
    kinds = [WORDS.get(part, "a text") for part in _members(hint) if typing.get_origin(part) is not typing.Literal]
    *first, last = kinds + _choices(hint)
    return f"{', '.join(first)} or {last}" if first else last


def _name(arg: str) -> str:
    """The name of a flag, as its field has it; empty for anything else."""
    return arg.partition("=")[0][2:].replace("-", "_") if arg.startswith("--") else ""


def _sentence(box: str) -> str:
    """The error that tyro says in a box, below its title and above a rule, as one line."""
    lines = [line.strip(" │╰╯") for line in box.strip().splitlines()[1:]]
    said = dropwhile(_is_rule, lines)
    error = " ".join(takewhile(lambda line: not _is_rule(line), said)).rstrip(".")
    stray = re.match(r"Unrecognized options:(.*)", error)
    return f"{stray[1].strip() or 'an empty word'} belongs to no flag" if stray else error


def _is_rule(line: str) -> bool:
    """Whether a line only divides; tyro's are of hyphens where the terminal has no other characters."""
    return not line.strip("─-")
