"""`--tensorboard`: the log a second time, as TensorBoard reads it. Only this file knows tensorboardX."""
# pyright: reportAttributeAccessIssue=false

import contextlib
import time
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bert_jax.errors import InputError, StorageError, refused


def check_tensorboard() -> None:
    """Raises InputError if what writes events is not installed."""
    if find_spec("tensorboardX") is None:
        raise InputError("--tensorboard needs tensorboardX: pip install tensorboardX (to look at it: tensorboard)")


def scalars(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of the log, by their names in TensorBoard; a score that is undefined is left out.

    >>> scalars({"step": 9, "loss": {"sst": 1.5}, "seconds": 2.0})
    {'loss/sst': 1.5, 'seconds': 2.0}
    >>> scalars({"step": 9, "epoch": 1, "dev": {"sst": {"accuracy": 0.5, "f1": [0.25, None]}}, "score": 0.5})
    {'dev/sst/accuracy': 0.5, 'dev/sst/f1/0': 0.25, 'score': 0.5}
    """
    found: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, (Mapping, list)):
            for inner, each in value.items() if isinstance(value, Mapping) else enumerate(value):
                add(f"{name}/{inner}", each)
        elif value is not None and value == value:
            found[name] = float(value)

    for name in ("loss", "dev", "score", "seconds"):
        if name in entry:
            add(name, entry[name])
    return found


class EventLog:
    """A run's events, made anew from its log whenever the run goes on: so none is there twice, or of a lost update.

    A TensorBoard that is watching forgets what it has read before. Times are those of writing.
    """

    def __init__(self, folder: Path, entries: Iterable[Mapping[str, Any]]):
        """Writes the events of `entries`, the lines of the log until now, in place of any that the folder has.

        Raises:
          StorageError: they cannot be written.
        """
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.folder = folder
        with refused(StorageError, f"{folder} cannot be written"):
            folder.mkdir(exist_ok=True)
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            # Not its SummaryWriter: that writes from a thread, and waits forever once the thread has met a full disk.
            self._writer = EventsWriter(str(folder.absolute() / "events"))
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=0, session_log=start))
        self.write(*entries)

    def write(self, *entries: Mapping[str, Any]) -> None:
        """Adds the numbers of some lines of the log, to be seen at once.

        Raises:
          StorageError: they cannot be written.
        """
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        with refused(StorageError, f"{self.folder} cannot be written"):
            for entry in entries:
                for name, value in scalars(entry).items():
                    event = Event(wall_time=time.time(), step=entry["step"], summary=scalar(name, value))
                    self._writer.write_event(event)
            self._writer.flush()

    def close(self) -> None:
        """Closes the file. What a full disk did not take has been an error before."""
        with contextlib.suppress(OSError):
            self._writer.close()
