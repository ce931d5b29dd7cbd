"""The lock on a run's folder: one process at a time, for as long as it lives."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from bert_jax.errors import InUseError, StorageError, refused


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file, which names the process; the operating system lets go of it when the process ends, however.

    Raises:
      InUseError: another process holds it; which one.
      StorageError: it cannot be made.
    """
    with refused(StorageError, f"{path} cannot be written"):
        file = path.open("a+", encoding="utf-8")
    with file:
        with refused(StorageError, f"{path} cannot be locked"):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUseError(f"{path.parent} is in use by {_holder(path)}") from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n")
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just taken the lock
        return "another process"
