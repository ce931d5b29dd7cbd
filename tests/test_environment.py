"""What is settled before JAX starts: where compiled programs are kept, and huge pages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax.cli import environment
from bert_jax.cli.environment import keep_compiled_programs, pages_in_words

ROOT = Path(__file__).parent.parent


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith("JAX_")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**settings, **env}, capture_output=True, text=True, timeout=120
    )


def test_compiled_programs_are_kept_for_the_next_process(tmp_path):
    code = "from bert_jax.cli.environment import *; keep_compiled_programs(); import jax; jax.jit(lambda x: x + 1)(1.0)"
    done = python(code, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.glob("bert_jax/jaxlib-*/*lambda*-cache")], list(tmp_path.rglob("*"))


def test_jax_has_its_own_say(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "mine") and not any(tmp_path.iterdir())


def test_a_home_that_cannot_be_written_to_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


RESTARTS = """
import os
print(os.getpid(), flush=True)
from bert_jax.cli.environment import *
restart_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES"), pages_in_words())
"""


@pytest.mark.skipif(not environment._has_huge_pages(), reason="no huge pages here")
def test_a_process_starts_again_once_and_keeps_its_number_and_other_tunables():
    first, again, said = python(RESTARTS, GLIBC_TUNABLES="glibc.malloc.arena_max=4").stdout.splitlines()
    assert first == again
    assert said.startswith("glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1 huge pages, for which")
    assert len(python(RESTARTS, GLIBC_TUNABLES="glibc.malloc.hugetlb=0").stdout.splitlines()) == 2


def test_without_huge_pages_nothing_starts_again(monkeypatch):
    monkeypatch.setattr(environment, "_has_huge_pages", lambda: False)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("started again"))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    environment.restart_with_huge_pages()
    assert pages_in_words() == "pages of the usual size"
