"""Signals that ask a run to stop: noted, and acted on between two updates."""

import signal
import threading
import types


class Interrupt:
    """While active, SIGINT, SIGTERM and SIGHUP set `signal_name`; a second one stops at once.

    >>> with Interrupt() as interrupt:
    ...     interrupt.signal_name is None
    True
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._before: dict = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            heard = [number for number in self.SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # not nohup's
            self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: types.FrameType | None) -> None:
        if self.signal_name is not None:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
