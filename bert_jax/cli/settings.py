"""Settings: fields of a dataclass that know their help, their range, and what a run may change when it goes on.

A file of settings is TOML under the names of their flags, and repeats what was done.

A command's settings are one dataclass, or a dataclass of parts (`Parts`). A part is what one room of the program reads,
and a heading of the help; as flags, in a settings file and in a record all settings are flat, each under its own name.
"""

import ast
import contextlib
import dataclasses
import functools
import inspect
import itertools
import json
import textwrap
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from bert_jax.errors import InputError, perhaps, refused
from bert_jax.files import read_file

Config = TypeVar("Config")
# What another value makes of a run that goes on: another run; the same run if the files that are named have the same
# content; the same run.
Resume = Literal["another", "content", "same"]
LONGEST_FILE = 100_000  # bytes
WORDS = {int: "a whole number", float: "a number"}


class Range(NamedTuple):
    """Which values a setting may have, and the same in words."""

    holds: Callable[[Any], bool]
    words: str


AT_LEAST_1 = Range(lambda value: value >= 1, "it must be at least 1")
SHARE = Range(lambda value: 0 <= value < 1, "it lies in [0, 1)")


def between(low: int, high: int) -> Range:
    """Whole numbers from one to another."""
    return Range(lambda value: low <= value <= high, f"it lies between {low} and {high}")


def setting(default: Any, **more: Any) -> Any:
    """A field of a dataclass of settings that has more to it than a default. The string below a field is its help.

    Args:
      more: what a `Setting` has by the same names, from `range` on.
    """
    return dataclasses.field(default=default, metadata=more)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of settings, and the part that it is in.

    choices: the words that it may be, where its type does not say them.
    of_process: whether each process of a run may have its own.
    since: the version that brought it; a run's record has it only where it is not the default.
    early: called with its value before any other setting is read, which may then depend on it.
    words: whether it takes the words that belong to no flag.
    """

    name: str
    part: str
    hint: Any
    default: Any
    help: str
    range: Range | None = None
    choices: Callable[[], Collection[str]] | None = None
    resume: Resume = "another"
    of_process: bool = False
    since: str = ""
    early: Callable[[Any], object] | None = None
    words: bool = False

    @property
    def is_switch(self) -> bool:
        return self.hint is bool

    def options(self) -> list[str]:
        """The words that its value can be; none where it can be any."""
        literals = [part for part in members(self.hint) if typing.get_origin(part) is Literal]
        named = [str(word) for part in literals for word in typing.get_args(part)]
        return named + list(self.choices() if self.choices else ())

    def free_types(self) -> list[type]:
        """Return the types of which its value can be anything."""
        types_ = [part for part in members(self.hint) if typing.get_origin(part) is not Literal]
        return [part for part in types_ if not (self.choices and part is str)]

    def wanted(self) -> str:
        """What its value is, in words."""
        *first, last = [WORDS.get(part, "a text") for part in self.free_types()] + self.options()
        return f"{', '.join(first)} or {last}" if first else last

    def check_range(self, value: Any) -> None:
        """Raise InputError if a value is out of its range."""
        if self.range and value is not None and not self.range.holds(value):
            raise InputError(f"--{self.name}={value}, but {self.range.words}")

    def parse(self, text: str) -> Any:
        """The value that a text means, as on a command line.

        Raises:
          ValueError: it means none.
        """
        if text == "None" and type(None) in typing.get_args(self.hint):
            return None
        for kind in (str, int, float):
            with contextlib.suppress(ValueError):
                return self.take(kind(text))
        raise ValueError(text)

    def take(self, value: Any) -> Any:
        """The value that one of Python, of JSON or of TOML means.

        Raises:
          ValueError: it is of another type, or not among the choices.
        """
        if value is None and type(None) in typing.get_args(self.hint):
            return None
        for part in members(self.hint):
            if typing.get_origin(part) is Literal and isinstance(value, str) and value in typing.get_args(part):
                return value
            if part is Path and isinstance(value, (str, Path)):
                return Path(value)
            if part is float and isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
            if part in (bool, int, str) and type(value) is part and not (self.choices and value not in self.choices()):
                return value
        raise ValueError(value)


def members(hint: Any) -> list[Any]:
    """The types of a union but for None, or the one type."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return [part for part in (typing.get_args(hint) if union else (hint,)) if part is not type(None)]


@functools.cache
def settings_of(config_class: type) -> dict[str, Setting]:
    """All settings of a dataclass, or of its parts, by name and in their order. One that is required has no default."""
    hints, docs = typing.get_type_hints(config_class), _field_docs(config_class)
    found: dict[str, Setting] = {}
    for field in dataclasses.fields(config_class):
        name, hint = field.name, hints[field.name]
        if dataclasses.is_dataclass(hint):
            inner = settings_of(hint)  # type: ignore[arg-type]
            found |= {each.name: dataclasses.replace(each, part=name) for each in inner.values()}
        else:
            found[name] = Setting(name, "", hint, field.default, docs.get(name, ""), **field.metadata)
    return found


def _field_docs(config_class: type) -> dict[str, str]:
    """The string below each field of a dataclass and of those that it inherits from, on one line."""
    docs = {}
    for each in reversed(config_class.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        except OSError:  # there is no source
            continue
        assert isinstance(body, ast.ClassDef)
        for field, below in itertools.pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                docs[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return docs


class Parts:
    """What a dataclass of parts inherits: it is made of parts, of settings by their own names, or of both."""

    def __init__(self, **given: Any):
        """Takes parts first, then settings, which stand in place of those in the parts."""
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            part, names = hints[field.name], [inner.name for inner in dataclasses.fields(hints[field.name])]
            before = vars(given.pop(field.name)) if field.name in given else {}
            values = {**before, **{name: given.pop(name) for name in names if name in given}}
            object.__setattr__(self, field.name, part(**values))
        if given:
            raise TypeError(f"there is no setting {min(given)!r}")


def flat(config: Any) -> dict[str, Any]:
    """The values of all settings, by name."""
    found: dict[str, Any] = {}
    for name, value in vars(config).items():
        found |= vars(value) if dataclasses.is_dataclass(value) else {name: value}
    return found


def check_ranges(config: Any) -> None:
    """Raises InputError if a setting is out of its range."""
    settings = settings_of(type(config))
    for name, value in flat(config).items():
        settings[name].check_range(value)


def take_all(config_class: type, values: Mapping[str, Any], form: str) -> dict[str, Any]:
    """Settings of Python or of a file, as their fields have them.

    Args:
      form: how an error writes a name and a value, such as "{name}={value!r}".

    Raises:
      InputError: one is unknown, or of another type.
    """
    settings = settings_of(config_class)
    found: dict[str, Any] = {}
    for name in sorted(values, key=lambda name: not (name in settings and settings[name].early)):
        known, said = settings.get(name), form.format(name=name, value=values[name])
        if known is None or known.words:
            raise InputError(f"{said} is no setting{perhaps(name, settings)}")
        try:
            found[name] = known.take(values[name])
        except ValueError:
            guess = perhaps(str(values[name]), known.options())
            wanted = "true or false" if known.is_switch else known.wanted()
            raise InputError(f"{said}, but it is {wanted}{guess}") from None
        if known.early and found[name] is not None:
            known.early(found[name])
    return {name: found[name] for name in values}


def read_settings_file(config_class: type, path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
      InputError: it cannot be read, a setting is unknown or of another type, or it names a file to be run: the user
        does that, by a flag.
    """
    try:
        with refused(InputError, f"--config={path} cannot be read"):
            values = tomllib.loads(read_file(path, LONGEST_FILE).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no TOML: {error}") from None
    for name, each in settings_of(config_class).items():
        if each.early and name in values:
            raise InputError(f"{path}: {name} is not taken from a file; --{name} names what is run")
    return take_all(config_class, values, f"{path}: {{name}} = {{value!r}}")


def render_settings(settings: Mapping[str, Setting], values: Mapping[str, Any], defaults: Collection[str]) -> str:
    """The text of a settings file.

    Args:
      defaults: names of settings that are shown as comments, since they are what holds where nothing is said.
    """
    lines, part = [], ""
    for name, value in values.items():
        if value is None:
            continue
        each = settings[name]
        lines += [""] if lines and each.part != part else []
        part = each.part
        written = json.dumps(value if isinstance(value, (bool, int, float)) else str(value), ensure_ascii=False)
        apart = "# " if name in defaults or each.early else ""
        lines.append(f"{apart}{name} = {written}" + (f"  # by the flag: --{name}" if each.early else ""))
    return "\n".join(lines).replace("\x7f", r"\u007f") + "\n"
