"""docs/troubleshooting.md: what is quoted there is what its commands say."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax.cli import command

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def sessions(section: str) -> list[tuple[str, str]]:
    """The commands that a section shows, each with what it says."""
    shown = "".join(re.findall(r"^```console\n(.+?)^```", section, re.MULTILINE | re.DOTALL))
    return re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", shown, re.MULTILINE)


@pytest.mark.parametrize("title", [title for title, section in SECTIONS.items() if sessions(section)])
def test_the_commands_say_what_is_quoted(title, tmp_path):
    for name in ("bert_jax", "train", "eval", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    fast = {"XLA_FLAGS": "--xla_backend_optimization_level=0", "COLUMNS": "120"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for line, said in sessions(SECTIONS[title]):
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env={**os.environ, **fast, "PATH": path}, capture_output=True, text=True
        )
        printed = " ".join((done.stdout + done.stderr).split())
        quoted = [" ".join(part.split()) for part in re.split(r"\n(?=\S)", said) if part.strip()]
        for part in quoted:
            assert part in printed
        failed = any(part.startswith(("error:", "ModuleNotFoundError")) for part in quoted)
        assert bool(done.returncode) == failed, done.stderr


def test_there_are_ten_and_what_no_test_can_bring_about_is_in_the_program():
    assert len(SECTIONS) == 10
    (said,) = re.findall(r"^```text\nerror: (.+)\n```", PAGE, re.MULTILINE)
    beginning, sep, less = said.removesuffix(" needs less").partition("; ")
    source = inspect.getsource(command)
    assert sep and beginning in source and f'"{less}"' in source
