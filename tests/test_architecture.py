"""The house rules of README's "Design": imports point down, files stay small."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("bert_jax", "eval", "train")


def sources() -> dict[str, Path]:
    """Module name -> file, of everything but the tests."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }


def imported_modules(path: Path) -> set[str]:
    """Modules of ours that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES}


def is_command(path: Path) -> bool:
    return 'if __name__ == "__main__":' in path.read_text()


def test_imports_point_down():
    allowed = {"bert_jax": {"bert_jax"}, "eval": {"bert_jax", "eval"}, "train": {"bert_jax", "eval", "train"}}
    for name, path in sources().items():
        if not is_command(path) or name.startswith("bert_jax."):
            for module in imported_modules(path):
                assert module.split(".")[0] in allowed[name.split(".")[0]], f"{name} imports {module}"


def test_nobody_imports_a_command():
    commands = {name for name, path in sources().items() if is_command(path)}
    named = {"main", "predict", "encode", "submission", "audit", "paper", "export", "demo"}
    others = {"train.main", "train.stanford", "bert_jax.data.__main__"}
    assert others | {f"eval.{name}" for name in named} == commands - {"bert_jax.data.sample.make"}
    for name, path in sources().items():
        assert not imported_modules(path) & commands, name


def test_the_checks_above_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from train.main import run\n    import eval.metrics\n")
    assert imported_modules(bad) == {"train.main", "train.main.run", "eval.metrics"}


def test_one_file_each_knows_orbax_devices_and_the_command_line():
    owners = {"orbax": "train.checkpoint", "jax.pmap": "train.parallel", "tyro": "train.flags"}
    for word, owner in owners.items():
        users = {name for name, path in sources().items() if word in _code(path)}
        assert users == {owner}, f"{word} is used in {users}"


def _code(path: Path) -> str:
    """Names used in a file, docstrings and comments apart."""
    tree = ast.parse(path.read_text())
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            used.add(node.module or "")
        elif isinstance(node, ast.Attribute):
            used.add(ast.unparse(node))
    return " ".join(used)


def test_files_stay_small_and_have_a_noun_for_a_name():
    for path in ROOT.rglob("*.py"):
        if ".venv" not in path.parts and "runs" not in path.parts:
            assert len(path.read_text().splitlines()) <= 300, path
            assert path.stem not in {"utils", "common", "helpers"}, path
