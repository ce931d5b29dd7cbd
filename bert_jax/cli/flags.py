"""Flags: settings on the command line, with errors in one sentence. Help and completion are tyro's."""

import dataclasses
import inspect
import shutil
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from bert_jax.cli.settings import Setting, flat, read_settings_file, settings_of
from bert_jax.errors import InputError, perhaps

Config = TypeVar("Config")
ASKS = ("help", "tyro_print_completion", "tyro_write_completion")  # what tyro answers
FILE = "config"  # names a settings file
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
    start: Callable[[Mapping[str, Any]], Config] | None = None,
    trains: bool = False,
) -> Config:
    """Flags -> the dataclass whose settings they are.

    Args:
      start: from the settings that are given to those that hold where none is, if they are not those of the class. Then
        `--config` names a file with settings too, over which flags win.
      trains: as in `run_command`.

    Raises:
      InputError: what is wrong with them, in one sentence.
    """
    settings = settings_of(config_class)
    if start:
        about = "A file with settings, as each run writes one (config.toml); flags win over it."
        settings = {**settings, FILE: Setting(FILE, next(iter(settings.values())).part, Path | None, None, about)}
    texts, words = read_flags(args, settings)
    values = parse_values(config_class, texts, settings)
    taker = next((name for name, each in settings.items() if each.words), None)
    if words and taker is None:
        said = " ".join(words).strip() or "an empty word"
        raise InputError(f"{said} belongs to no flag; see python -m {module} --help")
    if taker:
        values[taker] = tuple(words)
    if any(_name(arg) in ASKS for arg in args):  # tyro prints what it has to say, and exits
        import tyro  # takes a fifth of a second

        flags_class = _make_flags(config_class, settings, start(values) if start else None)
        shown = _describe(config_class, trains)
        tyro.cli(flags_class, prog=f"python -m {module}", description=shown, args=list(args), use_underscores=True)
    required = {name: each.help.rstrip(".") for name, each in settings.items() if each.default is dataclasses.MISSING}
    missing = [f"--{name} ({about})" for name, about in required.items() if name not in values]
    if missing:
        raise InputError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return dataclasses.replace(start(values), **values) if start else config_class(**values)  # type: ignore[type-var]


def read_flags(args: Sequence[str], settings: Mapping[str, Setting]) -> tuple[dict[str, str], list[str]]:
    """The text that each flag is given, by its name, and the words that belong to none. Of two the last one holds.

    A switch has the text "True" or "False". An empty value is what a variable of the shell leaves that was never set;
    nothing here means anything by it.

    Raises:
      InputError: a flag is unknown, lacks a value, or has one where it takes none.
    """
    switches = {name for name, each in settings.items() if each.is_switch}
    known = {name for name, each in settings.items() if not each.words} | {f"no_{name}" for name in switches}
    texts: dict[str, str] = {}
    words: list[str] = []
    rest = iter(args)
    for arg in rest:
        name = _name(arg)
        if not name:
            words.append(arg)
        elif name in ASKS:
            break
        elif name not in known:
            guess = perhaps(ELSEWHERE.get(name, name), known, "--{}")
            raise InputError(f"{arg} is no flag here{guess or '; --help lists those that there are'}")
        elif name in switches or name not in settings:
            if "=" in arg:
                off = f"; --no_{name} turns it off" if name in switches else ""
                raise InputError(f"{arg}, but --{name} takes no value{off}")
            texts[name if name in switches else name.removeprefix("no_")] = str(name in switches)
        else:
            value = arg.partition("=")[2] if "=" in arg else next(rest, "")
            if value == "" or (value.startswith("--") and "=" not in arg):
                raise InputError(f"--{name} needs a value: {settings[name].wanted()}")
            texts[name] = value
    return texts, words


def parse_values(config_class: type, texts: Mapping[str, str], settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The settings that are given: those of the settings file if there is one, and over them those of the flags.

    Raises:
      InputError: a value is of another type, none of the choices, or out of range; or the file cannot be used.
    """
    values: dict[str, Any] = {}
    for name in sorted(texts, key=lambda name: (settings[name].early is None, name != FILE)):
        each, text = settings[name], texts[name]
        if name == FILE:
            values |= read_settings_file(config_class, Path(text))
            continue
        try:
            values[name] = text == "True" if each.is_switch else each.parse(text)
        except ValueError:
            raise InputError(f"--{name}={text}, but it is {each.wanted()}{perhaps(text, each.options())}") from None
        each.check_range(values[name])
        if each.early:
            each.early(values[name])
    return values


def _make_flags(config_class: type, settings: Mapping[str, Setting], default: Any) -> type:
    """The dataclass that tyro reads: the same settings, with help that names a default once, under headings.

    A heading is a field that holds its flags; their names do not show it.
    """
    import tyro

    now = flat(default) if default is not None else {}
    headings: dict[str, list[tuple[str, Any, Any]]] = {}
    for name, each in settings.items():
        default, say = now.get(name, each.default), _say_default
        if each.default is dataclasses.MISSING:  # it is required
            default, say = each.default, None
        hint = each.hint
        if each.choices:
            words: Any = Literal[tuple(each.options())]  # type: ignore[valid-type]
            hint = words | None if type(None) in typing.get_args(each.hint) else words
        look = tyro.conf.arg(help=each.help, metavar=_metavar(each), help_behavior_hint=say)
        hint = Annotated[tyro.conf.Positional[hint] if each.words else hint, look]
        headings.setdefault(each.part, []).append((name, hint, dataclasses.field(default=default)))
    if set(headings) == {""}:
        return dataclasses.make_dataclass(config_class.__name__, headings[""], kw_only=True)
    parts = []
    for title, fields in headings.items():
        part = dataclasses.make_dataclass(title, fields, frozen=True)
        parts.append((title, Annotated[part, tyro.conf.OmitArgPrefixes], dataclasses.field(default=part())))
    return dataclasses.make_dataclass(config_class.__name__, parts)


def _say_default(value: str) -> str:
    """How help names a default; where there is none, or it depends, the field's own words say so."""
    return "" if value in ("None", "False") else f"Default: {value}."


def _metavar(each: Setting) -> str | None:
    """What stands for a flag's value in the help: PATH, FLOAT|{paper,usual}; nothing for a flag that has none."""
    if each.is_switch:
        return None
    if each.words:
        return "NAME"
    kinds = [part.__name__.upper() for part in each.free_types()]
    return "|".join(kinds + (["{" + ",".join(each.options()) + "}"] if each.options() else []))


def _describe(config_class: type, trains: bool) -> str:
    """What a command does, as its help begins, in lines that fit the terminal."""
    about = f"{inspect.getdoc(config_class)}\n\nWith --debug, an error shows where in the program it came up."
    if trains:
        about += " With --no-hugepages, memory comes in pages of the usual size."
    width = min(shutil.get_terminal_size().columns, 120)
    fill = textwrap.TextWrapper(width, initial_indent=" ", subsequent_indent=" ", break_on_hyphens=False).fill
    return "\n".join(map(fill, about.split("\n\n")))  # tyro joins lines but for those that begin with a space


def _name(arg: str) -> str:
    """The name of a flag, as its field has it; empty for anything else."""
    return arg.partition("=")[0][2:].replace("-", "_") if arg.startswith("--") else ""
