"""What holds for each notebook, read and not run. Running them is the part of nbmake, which collects `notebooks/`."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import jupytext
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
NAMES = ["01_first_run", "02_schedulers", "03_inside_bert", "04_your_own_task"]
PACKAGES = {"bert_jax", "train", "eval"}
MOST_IMPORTS = 5  # of the project's own modules: a notebook shows the program as a library
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/"
)


def cells(path: Path) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def differences(name: str, folder: Path = FOLDER) -> list[object]:
    """Cells of the two files of a notebook that are not the same."""
    first, second = cells(folder / f"{name}.py"), cells(folder / f"{name}.ipynb")
    missing: list[object] = [] if len(first) == len(second) else [f"{len(first)} cells and {len(second)}"]
    return missing + [b for a, b in zip(first, second, strict=False) if a != b]


def leftovers(notebook: dict) -> list[dict]:
    """Code cells that have been run."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]


def definitions(source: str) -> list[str]:
    """What a notebook defines itself instead of importing it."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def own_imports(source: str) -> list[str]:
    """Import statements of the project's own modules, wherever they stand."""
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {node: [alias.name for alias in node.names] for node in statements if isinstance(node, ast.Import)}
    modules |= {node: [node.module or ""] for node in statements if isinstance(node, ast.ImportFrom)}
    return [ast.unparse(node) for node, names in modules.items() if {name.split(".")[0] for name in names} & PACKAGES]


def test_each_notebook_is_a_pair_of_files():
    for suffix in ("py", "ipynb"):
        assert sorted(path.stem for path in FOLDER.glob(f"[0-9]*.{suffix}")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_is_in_step_and_stripped_of_outputs(name):
    assert differences(name) == [], f"jupytext --sync notebooks/{name}.ipynb, or .py if that is the one you changed"
    assert leftovers(json.loads((FOLDER / f"{name}.ipynb").read_text())) == [], f"nbstripout notebooks/{name}.ipynb"


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_import_and_never_define(name):
    assert definitions((FOLDER / f"{name}.py").read_text()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_imports_little_of_the_project(name):
    found = own_imports((FOLDER / f"{name}.py").read_text())
    assert "import train" in found and len(found) <= MOST_IMPORTS, found


def test_notebooks_begin_with_a_badge_and_the_same_setup():
    begun = [cells(FOLDER / f"{name}.ipynb")[:2] for name in NAMES]
    assert all(first == "markdown" and text.startswith(BADGE) for (first, text), _ in begun)
    assert len({setup for _, setup in begun}) == 1


def test_the_checks_above_can_fail(tmp_path):
    name = NAMES[0]
    for suffix in ("py", "ipynb"):
        (tmp_path / f"{name}.{suffix}").write_text((FOLDER / f"{name}.{suffix}").read_text())
    assert differences(name, tmp_path) == []
    with (tmp_path / f"{name}.py").open("a") as file:
        file.write("\n# %%\nx = 1\n")
    assert len(differences(name, tmp_path)) == 1
    assert len(leftovers({"cells": [{"cell_type": "code", "outputs": [], "execution_count": 3}]})) == 1
    assert len(definitions("def f():\n    class A: pass\nx = lambda: 0")) == 3
    inner = "if x:\n    from train.losses import LOSSES"
    assert len(own_imports(f"import train\nimport numpy, eval.metrics\nfrom bert_jax import heads\n{inner}")) == 4
    assert own_imports("import numpy\nfrom evaluate import load\nimport trainer") == []


def test_setup_finds_the_root_or_asks_where_to_clone_from(tmp_path):
    """The first cell as plain Python, which leaves its last line, a magic, out."""
    source = cells(FOLDER / f"{NAMES[0]}.py")[1][1].replace("%run", "# %run")
    setup = [sys.executable, "-c", f"{source}\nprint(Path.cwd(), sys.path[0])"]
    inside = subprocess.run(setup, cwd=FOLDER, capture_output=True, text=True, check=True)
    assert inside.stdout.split() == [str(ROOT)] * 2
    outside = subprocess.run(setup, cwd=tmp_path, capture_output=True, text=True)
    assert outside.stderr.strip().endswith("this is no clone of bert-jax: give REPOSITORY the address of one")


def test_setup_clones_where_there_is_no_repository(tmp_path):
    origin, here = tmp_path / "origin", tmp_path / "here"
    (origin / "train").mkdir(parents=True)
    here.mkdir()
    (origin / "train" / "main.py").write_text("")
    git = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], check=True)
    source = cells(FOLDER / f"{NAMES[0]}.py")[1][1].replace("%run", "# %run")
    source = source.replace('REPOSITORY = ""', f"REPOSITORY = {origin.as_uri()!r}")
    setup = [sys.executable, "-c", f"{source}\nprint(Path.cwd())"]
    for _ in range(2):  # the second time it is there
        found = subprocess.run(setup, cwd=here, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == str(here / "bert-jax")


def test_preparing_installs_what_is_missing_and_holds_the_rest(tmp_path):
    """A pip that only says how it was called."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").write_text("")
    (tmp_path / "pip" / "__main__.py").write_text(
        "import re, sys\nfrom pathlib import Path\n"
        "kept = Path(next(a for a in sys.argv if a.startswith('--constraint')).partition('=')[2]).read_text()\n"
        "print(sys.argv[-1], re.findall('^numpy==.*', kept, re.M), '--upgrade' in sys.argv)\n"
    )
    (tmp_path / "requirements.txt").write_text("numpy>=1  # here\nno-such-package>=2\n")
    prepare = [sys.executable, str(FOLDER / "prepare.py")]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(prepare, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert f"no-such-package>=2 ['numpy=={np.__version__}'] False" in said.splitlines()
    (tmp_path / "requirements.txt").write_text("numpy>=99\n")  # there, though not as new as that
    assert subprocess.run(prepare, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout == ""
