"""The command line: flags under headings, each default said once, and what is missing."""

import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax.cli.flags import parse_flags
from bert_jax.cli.settings import check_ranges, settings_of
from bert_jax.errors import InputError
from eval.paper.__main__ import PaperConfig
from train.config import TrainConfig

ROOT = Path(__file__).parent.parent
MODULES = (
    "train.main train.stanford eval.main eval.predict eval.demo eval.encode eval.submission eval.export eval.audit"
)


def help_of(module: str, columns: int) -> str:
    environment = {**os.environ, "COLUMNS": str(columns)}
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Two:
    """Two flags."""

    first: int
    """What comes
    first."""
    second: str = "b"
    """What comes then."""


@pytest.mark.parametrize("config", [TrainConfig, PaperConfig])
def test_every_setting_is_in_one_part_and_has_help(config):
    settings = settings_of(config)
    assert all(each.part and each.help.endswith(".") for each in settings.values())
    parts = [part.type for part in dataclasses.fields(config)]
    fields = [inner.name for part in parts for inner in dataclasses.fields(part)]  # type: ignore[arg-type]
    assert fields == list(settings)  # no name is there twice
    check_ranges(config())


def test_flags_are_flat_and_stand_in_place_of_what_holds_without_them():
    flags = ["--lr=0.5", "--tasks=sst", "--data-dir", "here", "--no-dry_run", "--profile"]
    changed = {"lr": 0.5, "tasks": "sst", "data_dir": Path("here"), "profile": True}
    assert parse_flags(TrainConfig, "m", flags) == TrainConfig(**changed)
    default = TrainConfig(scheduler="in_turn", epochs=9)
    assert parse_flags(TrainConfig, "m", flags, lambda given: default) == dataclasses.replace(default, **changed)
    assert parse_flags(TrainConfig, "m", []) == TrainConfig()


def test_what_is_missing_is_named_with_its_help():
    assert parse_flags(Two, "m", ["--first=1"]) == Two(1)
    with pytest.raises(InputError, match=r"^--first \(What comes first\) is missing$"):
        parse_flags(Two, "m", ["--second=x"])
    with pytest.raises(InputError, match=r"^--frist=1 is no flag here \(perhaps you meant --first\)$"):
        parse_flags(Two, "m", ["--frist=1"])
    with pytest.raises(InputError, match=r"^--first needs a value: a whole number$"):
        parse_flags(Two, "m", ["--first"])


def test_a_terminal_with_colours_is_told_the_same(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(InputError, match=r"^--scheduler=mtdn, but it is .* \(perhaps you meant mtdnn\)$"):
        parse_flags(TrainConfig, "m", ["--scheduler=mtdn"])
    with pytest.raises(InputError, match=r"^quora belongs to no flag; see python -m m --help$"):
        parse_flags(TrainConfig, "m", ["--tasks", "sst", "quora"])


@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_the_terminal_with_the_flags_that_most_people_want_first(columns):
    said = help_of("train.main", columns)
    assert max(map(len, said.splitlines())) <= columns
    assert re.findall(r"╭─ (\w+) options", said) == [field.name for field in dataclasses.fields(TrainConfig)]
    names = [name for name in re.findall(r"│ --(\w+)", said) if name != "config"]
    assert names == list(settings_of(TrainConfig)) and "--config" in said
    assert re.search(r"None|\(default", said) is None
    assert "Default: 32." in said and re.search(r"Folder with the course's tables\. Default: the embedded", said)


@pytest.mark.parametrize("module", MODULES.split())
def test_help_of_the_other_commands_fits_and_says_no_none(module):
    said = help_of(module, 80)
    assert max(map(len, said.splitlines()[1:])) <= 80  # the first is usage, which tyro does not wrap
    assert "None" not in said and "(default" not in said and "--debug" in said


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["-m", "train.main", "--sched"], ["--scheduler"]),
        (["-m", "train.main", "--scheduler", "mt"], ["mtdnn"]),
        (["-m", "train.main", "--scheduler", "=", "mt"], ["mtdnn"]),
        (["-m", "train.main", "--seed", "=", "1", "--scheduler", "="], ["in_turn", "mtdnn", "baseline"]),
        (["-m", "eval.main", "--run_dir", "example"], ["examples"]),
        (["-m", "http.server", "--"], []),  # what is not ours is left to bash
        (["README"], []),
    ],
)
def test_bash_completes_flags_and_their_values(typed, offered):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = (
        'source examples/completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bert_jax; '
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p'
    )
    command = ["bash", "-c", script, "bash", sys.executable, *typed]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    *found, python, python3 = done.stdout.splitlines()
    assert [word for word in found if word] == offered and done.stderr == ""
    assert {python, python3} == {
        f"complete -o bashdefault -o default -o filenames -F _bert_jax {name}" for name in ("python", "python3")
    }
