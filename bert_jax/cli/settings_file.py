"""A file of settings, as TOML under the names of their flags: read, and written so that it repeats what was done."""

import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bert_jax.cli.settings import Setting, settings_of, take_all
from bert_jax.errors import InputError
from bert_jax.files import read_file

LONGEST = 100_000  # bytes


def read_settings_file(config_class: type, path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
      InputError: it cannot be read, a setting is unknown or of another type, or it names a file to be run: the user
        does that, by a flag.
    """
    try:
        values = tomllib.loads(read_file(path, LONGEST).decode("utf-8"))
    except OSError as error:
        raise InputError(f"--config={path} cannot be read: {error.strerror}") from None
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
        if settings[name].part != part:
            part = settings[name].part
            lines += [] if not lines else [""]
        written = json.dumps(value if isinstance(value, (bool, int, float)) else str(value), ensure_ascii=False)
        apart = "# " if name in defaults or settings[name].early else ""
        lines.append(f"{apart}{name} = {written}" + (f"  # by the flag: --{name}" if settings[name].early else ""))
    return "\n".join(lines).replace("\x7f", r"\u007f") + "\n"
