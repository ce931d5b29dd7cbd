"""Files: of those that others wrote what is read, and no more; our own as they are written, whole or not at all.

Nothing that is read is ever run.
"""

import concurrent.futures
import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from bert_jax.errors import StorageError

LONGEST_JSON = 10_000_000  # bytes; a config.json has a thousand
UNFINISHED = ".unfinished"  # ends the name of what is being written


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


def write_json(path: Path, values: Any) -> None:
    """Write what other programs read as JSON, in a folder that is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: dict[str, np.ndarray], like: Path) -> None:
    """Write a safetensors file that whoever may read another file may read; safetensors lets its owner alone."""
    safetensors.numpy.save_file(tensors, path, {"format": "pt"})
    shutil.copymode(like, path)


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


def hash_files(folder: Path, leave_out: Collection[str] = (), sync: bool = False) -> dict[str, str]:
    """SHA-256 of each file below a folder by its path there, several at a time.

    Args:
      leave_out: paths inside the folder that are passed over.
      sync: whether to wait until each is on the disk, not only in its cache.

    Raises:
      ValueError: one cannot be read, or is a link or a device: something outside the folder.
      OSError: one cannot be put on the disk.
    """

    def digest(name: str) -> str:
        path = inside[name]
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{name} is no plain file")
        try:
            with path.open("rb") as file:
                if sync:
                    os.fsync(file.fileno())
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            if sync:
                raise
            raise ValueError(f"{name} cannot be read: {error.strerror}") from None

    inside = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    folders = {name: path for name, path in inside.items() if path.is_dir() and not path.is_symlink()}
    if sync:
        for path in folders.values():
            sync_folder(path)
    names = [name for name in inside if name not in folders and name not in leave_out]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(digest, names), strict=True))


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled, which then gets a name, of which another may have to give way: what has it is whole.

    Raises:
      StorageError: it cannot be written.
    """
    path = path.resolve()  # a folder cannot take the name of a link
    unfinished, old = path.with_name(f"{path.name}{UNFINISHED}"), path.with_name(f"{path.name}.old")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        yield unfinished
        hash_files(unfinished, sync=True)
        gives_way = path.exists() and any(path.iterdir())
        if gives_way:  # a folder can take the name of an empty one, and of no other
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        unfinished.rename(path)
        sync_folder(path.parent)
        if gives_way:
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise StorageError(f"{path} cannot be written: {getattr(error, 'strerror', error)}") from None
