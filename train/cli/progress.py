"""How far a run is: a bar on a terminal and in a notebook."""

import io
import sys
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

WIDTH = 110  # characters of a bar in a notebook, about the width of its cells


def in_notebook() -> bool:
    """Return whether this process runs the cells of a notebook; one that only starts kernels has ipykernel as well."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def has_bar() -> bool:
    """Return whether progress is shown as a bar; elsewhere a line every so many updates takes its place."""
    return in_notebook() or sys.stderr.isatty()


def progress_bar(done: int, total: int) -> tqdm:
    """Make the bar of a run, which is not shown where lines take its place.

    In a notebook it is a widget if ipywidgets is installed, else text.
    """
    if not in_notebook():
        return tqdm(initial=done, total=total, unit="step", disable=not has_bar(), dynamic_ncols=True)
    if find_spec("ipywidgets"):
        from tqdm.notebook import tqdm as widget

        return widget(initial=done, total=total, unit="step")
    return TextBar(initial=done, total=total, unit="step")


class TextBar(tqdm):
    """A bar in text that a notebook replaces in place, so that its file and what is made of it have the last one alone.

    A bar on a terminal goes back to the start of its line; a notebook's file would hold every state of it.
    """

    monitor_interval = 0  # no thread that draws as well

    def __init__(self, **how: Any):
        self._shown: Any = None
        super().__init__(file=io.StringIO(), ascii=False, ncols=WIDTH, miniters=1, **how)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar as it is now."""
        del msg, pos
        from IPython.display import display

        text = {"text/plain": str(self)}
        if self._shown is None:
            self._shown = display(text, raw=True, display_id=True)
        else:
            self._shown.update(text, raw=True)
