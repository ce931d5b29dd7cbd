"""What the kernel of a notebook shows of a run: a bar, the sentence of an error, and what the stop button does."""

import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from train import open_run
from train.cli import progress

ROOT = Path(__file__).parent.parent
Message = dict[str, Any]


class Kernel:
    """A running kernel, and its client."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient):
        self.manager, self.client = manager, client

    def run(self, code: str, seen: Callable[[Message], object] = lambda _: None) -> list[Message]:
        """All that a cell shows; `seen` is called with each message as it comes."""
        said = []
        sent = self.client.execute(code)
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != sent:
                continue
            said.append({"type": message["msg_type"], **message["content"]})
            seen(said[-1])
            if said[-1].get("execution_state") == "idle":
                return said


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[Kernel]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(ROOT))
        client = manager.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=120)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


def texts(said: list[Message]) -> str:
    """What a cell prints."""
    return "".join(message["text"] for message in said if message["type"] == "stream")


def bars(said: list[Message], kind: str) -> list[str]:
    shown = [message["data"]["text/plain"] for message in said if message["type"] == kind]
    return [text for text in shown if "step/s" in text or "s/step" in text]


def call(run_dir: Path, **settings: Any) -> str:
    settings = {"tasks": "sst", "run_dir": str(run_dir), "devices": 1, "log_every": 2, **settings}
    return f"import train; run = train.fit(**{settings!r})"


def test_progress_is_a_bar_that_is_drawn_in_place_and_the_lines_are_left_out(kernel, tmp_path):
    said = kernel.run(call(tmp_path / "run", max_steps=5))
    assert len(bars(said, "display_data")) == 1
    last = bars(said, "update_display_data")[-1]
    assert last.startswith("100%|█") and " 5/5 " in last and "examples/s" in last
    assert "\r" not in texts(said) and "step 2  loss" not in texts(said)
    assert texts(said).count("epoch 0.1667  dev  sst accuracy") == 1
    assert {message["name"] for message in said if message["type"] == "stream"} == {"stdout"}


def test_the_stop_button_saves_and_the_same_cell_goes_on(kernel, tmp_path):
    run_dir, pressed = tmp_path / "run", []

    def press(message: Message) -> None:
        if message["type"] == "update_display_data" and not pressed:
            pressed.append(kernel.manager.interrupt_kernel())

    said = kernel.run(call(run_dir, epochs=100), press)
    (error,) = [message for message in said if message["type"] == "error"]
    (sentence,) = error["traceback"]
    found = re.match(r"error: SIGINT after (\d+) of 3000 updates; they are saved", sentence)
    assert found, sentence
    assert open_run(run_dir, "latest").step == int(found[1])
    said = kernel.run(call(run_dir, epochs=100, max_steps=int(found[1]) + 2))
    assert f"going on after {found[1]}" in texts(said)


def test_a_mistake_is_one_sentence_in_place_of_a_traceback(kernel):
    (error,) = [message for message in kernel.run("import train; train.fit(epoch=3)") if message["type"] == "error"]
    assert error["ename"] == "InputError"
    assert error["traceback"] == ["error: epoch=3 is no setting (perhaps you meant epochs)"]


def test_the_bar_is_a_widget_where_there_are_widgets_and_none_where_nobody_looks(monkeypatch):
    assert not progress.has_bar() and progress.progress_bar(2, 5).disable  # pytest has taken stderr
    monkeypatch.setattr("IPython.get_ipython", lambda: types.SimpleNamespace(kernel=None))
    monkeypatch.setattr(progress, "find_spec", lambda name: name == "ipywidgets")
    monkeypatch.setattr("tqdm.notebook.tqdm", lambda **how: how)
    assert progress.has_bar() and progress.progress_bar(2, 5) == {"initial": 2, "total": 5, "unit": "step"}
