"""Makes the Python that runs a notebook ready. A notebook's first cell runs this, at the root.

What requirements.txt names and is not there is installed. What is there, such as Colab's own JAX,
keeps its version: pip is held to it, and would rather fail than change it.
"""

import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

ALSO = "matplotlib"  # which the program can do without


def plain_name(name: str) -> str:
    """A package's name as the index compares it.

    >>> plain_name("Orbax_Checkpoint")
    'orbax-checkpoint'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def missing(requirements: str, installed: Mapping[str, str]) -> list[str]:
    """The requirements whose package is not installed in any version.

    >>> missing("jax>=0.7.2\\ntyro>=0.9.5  # flags\\n# a note\\n", {"jax": "0.7.2"})
    ['tyro>=0.9.5']
    """
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    names = {line: plain_name(re.split(r"[^\w.-]", line)[0]) for line in lines if line}
    return [line for line, name in names.items() if name not in installed]


def prepare() -> None:
    """Installs what is missing, and makes `!python` in a cell the Python of the notebook.

    JAX warns of every fork. That of `!` starts another program at once, which is safe.
    """
    warnings.filterwarnings("ignore", message=r"os\.fork\(\)", category=RuntimeWarning)
    found = [each.metadata for each in distributions() if each.metadata["Name"] and each.version]
    installed = {plain_name(each["Name"]): each["Version"] for each in found}
    wanted = missing(f"{Path('requirements.txt').read_text()}\n{ALSO}", installed)
    if wanted:
        print("installing", ", ".join(wanted))
        pins = "".join(f"{name}=={version}\n" for name, version in installed.items())
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "constraints.txt"
            kept.write_text(pins)
            command = [sys.executable, "-m", "pip", "install", "--quiet", f"--constraint={kept}"]
            subprocess.run([*command, *wanted], check=True)
    folder = str(Path(sys.executable).parent)
    if os.environ["PATH"].split(os.pathsep)[0] != folder:
        os.environ["PATH"] = os.pathsep.join([folder, os.environ["PATH"]])


if __name__ == "__main__":
    prepare()
