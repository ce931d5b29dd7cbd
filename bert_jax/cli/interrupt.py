"""Signals that ask a program to stop: noted, and acted on between two batches."""

import os
import signal
import threading
import types

from bert_jax.errors import Interrupted


class Interrupt:
    """While active, SIGINT, SIGTERM and SIGHUP are noted, and `check` tells of them; a second one stops at once.

    It ends the process; a second SIGINT raises KeyboardInterrupt where the process is not the program's own.

    >>> with Interrupt() as interrupt:
    ...     interrupt.check()
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, own_process: bool = True) -> None:
        self.signal_name: str | None = None
        self.own_process = own_process
        self._before: dict = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            heard = [number for number in self.SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # not nohup's
            self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self.signal_name is not None:
            raise Interrupted(f"{self.signal_name}; the same command starts again")

    def _note(self, number: int, _frame: types.FrameType | None) -> None:
        if self.signal_name is not None:
            if number == signal.SIGINT and not self.own_process:
                raise KeyboardInterrupt
            # No cleaning up: a checkpoint has its name only once it is whole.
            os.write(2, b"error: stopped at once; the last checkpoint is whole\n")
            os._exit(128 + number)
        self.signal_name = signal.Signals(number).name
