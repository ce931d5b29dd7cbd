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

from bert_jax.errors import InputError
from eval.paper import PaperConfig
from train.config import TrainConfig
from train.flags import field_docs, parse_flags
from train.sections import PAPER_SECTIONS, RUN_SECTIONS

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


@pytest.mark.parametrize(("config", "sections"), [(TrainConfig, RUN_SECTIONS), (PaperConfig, PAPER_SECTIONS)])
def test_every_flag_stands_under_one_heading_and_has_help(config, sections):
    names = sorted(field.name for field in dataclasses.fields(config))
    assert sorted(name for section in sections.values() for name in section) == names == sorted(field_docs(config))


def test_headings_change_no_name_and_no_value():
    flags = ["--lr=0.5", "--tasks=sst", "--data-dir", "here", "--no-dry_run", "--profile"]
    assert parse_flags(TrainConfig, "m", flags, sections=RUN_SECTIONS) == parse_flags(TrainConfig, "m", flags)
    default = TrainConfig(scheduler="in_turn", epochs=9)
    assert parse_flags(TrainConfig, "m", [], default, sections=RUN_SECTIONS) == default
    assert parse_flags(TrainConfig, "m", [], sections=RUN_SECTIONS) == TrainConfig()


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
    assert re.findall(r"╭─ (\w+) options", said) == list(RUN_SECTIONS)
    assert re.findall(r"│ --(\w+)", said) == [name for section in RUN_SECTIONS.values() for name in section]
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
