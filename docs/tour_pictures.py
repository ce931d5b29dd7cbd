"""Makes what the README shows of a first run: the terminal, the run's learning curves, and the page to try it on.

PYTHONPATH=. python docs/tour_pictures.py          # docs/terminal.svg, learning_curves.png and page.png; needs Chromium

Everything is done for the pictures: a run on the sample is trained, in a folder that is deleted afterwards.
"""

import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parent
COLUMNS = 100
COMMANDS = (
    "python -m train.main --scheduler=mtdnn",
    "echo 'The film is superb .' | python -m eval.predict --run_dir=runs/mtdnn --task=sst",
    "python -m train.main --scheduler=mtdn",
)
PAIR = ("A worker is sleeping under the trees .", "A worker is taking a nap on the grass with a smile .")


def in_terminal(command: str, folder: Path) -> str:
    """What a command shows on a terminal in the end; of a line that was written over, what it came to."""
    ours, theirs = pty.openpty()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(DOCS.parent), "COLUMNS": str(COLUMNS)}
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(["bash", "-c", command], cwd=folder, env=environment, **terminal)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    process.wait()
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(re.split(r"\r(?=.)", line)[-1] for line in lines)


def draw_terminal(folder: Path) -> str:
    """The commands, one after the other, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in COMMANDS:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(in_terminal(command, folder)))
    return console.export_svg(title="a first run")


def photograph_page(run_dir: Path, target: Path) -> None:
    """The page with a pair answered, in a window of a laptop's width."""
    command = [sys.executable, "-m", "eval.demo", f"--run_dir={run_dir}", "--port=0"]
    server = subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    try:
        address = next(found[0] for line in server.stdout if (found := re.findall(r"http://\S+", line)))
        with sync_playwright() as playwright:
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
            tab = browser.new_page(viewport={"width": 1200, "height": 900})
            tab.goto(address)
            tab.get_by_role("textbox", name="Text", exact=True).fill(PAIR[0])
            tab.get_by_label("Second text").fill(PAIR[1])
            tab.keyboard.press("Control+Enter")
            tab.wait_for_selector("#readout:not(:empty)")
            tab.screenshot(path=target)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (DOCS / "terminal.svg").write_text(draw_terminal(folder))
        shutil.copy(folder / "runs" / "mtdnn" / "learning_curves.png", DOCS)
        photograph_page(folder / "runs" / "mtdnn", DOCS / "page.png")
