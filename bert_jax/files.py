"""Files: of those that others wrote what is read, and no more; our own as they are written, whole or not at all.

Nothing that is read is ever run.
"""

import errno
import json
import os
import reprlib
import stat
from pathlib import Path
from typing import Any

LONGEST_JSON = 10_000_000  # bytes; a config.json has a thousand
UNFINISHED = ".unfinished"  # ends the name of what is being written
_SHORT = reprlib.Repr()
_SHORT.maxstring = 100


def check_file(path: Path, limit: int | None = None) -> None:
    """Refuses what cannot be read to its end: a pipe would be waited for, and a device never ends.

    Raises:
      OSError: it does not exist, is no file, or has more bytes than `limit`.
    """
    info = path.stat()
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file")
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
    if limit is not None and info.st_size > limit:
        raise OSError(errno.EFBIG, f"it has {info.st_size:,} bytes, more than {limit:,}")


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a file; raises what `check_file` raises."""
    check_file(path, limit)
    return path.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
      FileNotFoundError: there is no file.
      ValueError: why it cannot be used.
    """
    try:
        values = json.loads(read_file(path, LONGEST_JSON).decode("utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"it holds {type(values).__name__}, not a JSON object")
    return values


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that whoever reads it, even after a power cut, finds all of the new or all of the old."""
    unfinished = path.with_name(path.name + UNFINISHED)
    with unfinished.open("wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quote(value: object) -> str:
    """A value out of a file as an error may print it: on one line, and not too long.

    >>> quote("two" + chr(10) + "lines")
    "'two\\\\nlines'"
    """
    return _SHORT.repr(value)
