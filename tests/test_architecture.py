"""The house rules: imports point one way, the step stands on few files, files stay small."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("bert_jax", "eval", "train")
# What judges, of which training knows. An export is written by what judges; `eval.export.__main__` is its command.
JUDGING = {f"eval.{name}" for name in ("metrics", "evaluate", "report", "curves", "answers")}
EXPORT = {f"eval.export.{name}" for name in ("folder", "card", "usage")}
# From the bottom up: a module imports those of its own layer, and of those below.
LAYERS = ("bert_jax", "judging", "train", "eval")
COMMANDS = {
    "bert_jax.data.__main__",
    "train.main",
    "train.stanford",
    *(f"eval.{name}" for name in ("main", "predict", "encode", "submission", "audit")),
    *(f"eval.{name}.__main__" for name in ("paper", "export", "demo")),
}
# All that a training step is made of.
STEP = {
    "train.step",
    "train.losses",
    "train.stacking",
    *(f"bert_jax.{name}" for name in ("config", "tasks", "heads", "modules", "dropout", "errors")),
    "bert_jax.batches.encoded",
    "bert_jax.batches.packing",
    *(f"bert_jax.kernels.{name}" for name in ("linear", "backend", "fused_attention")),
}


def sources() -> dict[str, Path]:
    """Module name -> file, of everything but the tests. A package goes by its own name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported_modules(path: Path) -> set[str]:
    """Modules of ours that a file imports, at its top or inside a function, and what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES}


def imports() -> dict[str, set[str]]:
    """The modules that each imports; of a package that is only walked through, none."""
    known = sources()
    found = {}
    for name, path in known.items():
        named = imported_modules(path) & known.keys()
        found[name] = {each for each in named if not any(other.startswith(f"{each}.") for other in named)}
    return found


def layer(module: str) -> int:
    """Which of the layers a module is in."""
    name = "judging" if module in JUDGING | EXPORT | {"eval", "eval.export"} else module.split(".")[0]
    return LAYERS.index(name)


def test_imports_point_down():
    for name, others in imports().items():
        for module in others:
            assert layer(module) <= layer(name), f"{name} imports {module}"


def test_no_two_modules_need_each_other():
    needs = imports()

    def below(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        for other in needs[name] - done:
            below(other, (*path, name))
        done.add(name)

    done: set[str] = set()
    for name in needs:
        below(name, ())


def test_a_step_is_made_of_these_files_alone():
    needs = imports()
    found, new = set(), {"train.step"}
    while new:
        found |= new
        new = {other for name in new for other in needs[name]} - found
    assert found == STEP
    lines = sum(len(sources()[name].read_text().splitlines()) for name in found)
    assert lines < 1750, lines


def test_the_library_stands_alone():
    names = {name for name in sources() if name.startswith("bert_jax.cli")}
    for name, others in imports().items():
        if name.startswith("bert_jax.") and name not in names | COMMANDS and name != "bert_jax.data.sst":
            assert not others & names, f"{name} knows of flags"


def test_nobody_imports_a_command():
    commands = {name for name, path in sources().items() if 'if __name__ == "__main__":' in path.read_text()}
    assert commands == COMMANDS
    for name, path in sources().items():
        assert not imported_modules(path) & commands, name


def test_the_checks_above_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from train.main import run\n    import eval.metrics\n")
    assert imported_modules(bad) == {"train.main", "train.main.run", "eval.metrics"}
    assert layer("train.step") > layer("eval.metrics") and layer("eval.main") > layer("train.api")


def test_one_file_each_knows_orbax_devices_and_the_command_line():
    owners = {"orbax": "train.runs.checkpoint", "jax.pmap": "train.devices.parallel", "tyro": "bert_jax.cli.flags"}
    for word, owner in owners.items():
        users = {name for name, path in sources().items() if word in _code(path)}
        assert users == {owner}, f"{word} is used in {users}"


def test_the_readme_counts_the_files_of_the_science_as_they_are():
    readme = (ROOT / "README.md").read_text()
    counted = {
        ROOT / name: int(lines) for name, lines in re.findall(r"^\| \[`(\S+)`\]\(\1\) \| (\d+) \|", readme, re.M)
    }
    files, lines = re.search(r"The science is (\d+) files of\s+([\d,]+) lines", readme).groups()  # type: ignore[union-attr]
    assert int(files) == len(counted) and int(lines.replace(",", "")) == sum(counted.values())
    for path, said in counted.items():
        assert abs(len(path.read_text().splitlines()) - said) <= max(5, 0.1 * said), path


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
        if ".venv" not in path.parts and "runs" not in path.relative_to(ROOT).parts[:1]:
            assert len(path.read_text().splitlines()) <= 300, path
            assert path.stem not in {"utils", "common", "helpers"}, path
