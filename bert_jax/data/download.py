"""Files of the web, held to their SHA-256: fetched piece by piece, so that what was broken off goes on.

Python's own client is enough for that: huggingface_hub's downloads know the hub alone, and those of TFDS do not resume.
"""

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import socket
import stat
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from bert_jax.data.public import PublicFile
from bert_jax.errors import InputError, InUseError, StorageError, refused
from bert_jax.files import check_file

CHUNK = 1 << 16  # bytes
LARGEST = 1 << 28  # bytes of a file of which nobody states the size; the Sentiment Treebank has 6 MB
TIMEOUT = 30.0  # seconds without a byte
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before another attempt, as long as nothing comes


def fetch(file: PublicFile, folder: Path) -> bool:
    """Gets a file, or finds that it is there; whether it had to be fetched. Until it is whole it is called `.part`.

    Raises:
      InputError: the server does not give it, or something else lies in its place.
      StorageError: it cannot be written.
      InUseError: another process is getting it.
    """
    path = folder / file.name
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        with _writing(path):
            check_file(path)
            found = _sha256(path)
        if found == file.sha256:
            return False
        raise InputError(f"{path} is there but is not what {file.url} has: its SHA-256 is {found}; move it away")
    part = path.with_name(f"{path.name}.part")
    with _alone(part) as target:
        _fill(file, part, target)
        with _writing(part):
            found = _sha256(part)
            if found == file.sha256:
                part.rename(path)
                return True
            part.unlink()
    raise InputError(f"{file.url} gave a file of SHA-256 {found}, not {file.sha256}; it was deleted, so try again")


def _fill(file: PublicFile, part: Path, target: BinaryIO) -> None:
    """Appends to the part of a file what it lacks, in as many attempts as bring something new, and a few more."""
    if target.tell() and _sha256(part) == file.sha256:
        return
    waits = iter(WAITS)
    while True:
        before = target.tell()
        try:
            _transfer(file, part, target)
            return
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"it answers {error.code} {error.reason}"
            if before and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # more than the server has
                _empty(target)
                reason = "what was there is none of it"
            elif error.code < 500:
                raise InputError(f"{file.url} answers {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:  # writing has errors of its own
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            if isinstance(cause, socket.gaierror):  # there is no network, or no such server
                waits = iter(())
        if target.tell() > before:
            waits = iter(WAITS)
        wait = next(waits, None)
        if wait is None:
            kept = f"; the {target.tell():,} bytes that came are kept for the next time" if target.tell() else ""
            raise InputError(f"{file.url} cannot be fetched: {reason}{kept}")
        time.sleep(wait)


def _transfer(file: PublicFile, part: Path, target: BinaryIO) -> None:
    """One request for what is missing, to its end.

    Raises:
      ConnectionError: the answer ended too early.
    """
    begin = target.tell()
    if file.size is not None and begin == file.size:
        return
    rest = {"Range": f"bytes={begin}-"} if begin else {}
    headers = {"User-Agent": "bert-jax", "Accept-Encoding": "identity", **rest}
    request = urllib.request.Request(file.url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        continues = str(answer.headers.get("Content-Range", "")).startswith(f"bytes {begin}-")
        if begin and not (answer.status == http.HTTPStatus.PARTIAL_CONTENT and continues):
            _empty(target)  # the server knows no ranges: this is the whole file again
            begin = 0
        length = answer.headers.get("Content-Length", "")
        end = file.size or (begin + int(length) if length.isdigit() else None)
        look = {"unit": "B", "unit_scale": True, "disable": None, "leave": False}
        with tqdm(total=end, initial=begin, desc=file.name, **look) as bar:
            while chunk := answer.read(CHUNK):
                if target.tell() + len(chunk) > (file.size or LARGEST):
                    _empty(target)
                    raise InputError(f"{file.url} has more than {file.size or LARGEST:,} bytes, so it is not the file")
                with _writing(part):
                    target.write(chunk)
                bar.update(len(chunk))
    if end is not None and target.tell() < end:
        raise ConnectionError(f"the connection ended after {target.tell():,} of {end:,} bytes")


def _empty(target: BinaryIO) -> None:
    target.seek(0)
    target.truncate()


def unpack(archive: Path, names: tuple[str, ...], folder: Path, largest: int = 1 << 26) -> None:
    """Writes the named files out of a zip into a folder, whatever folder they have in the archive, and nothing else.

    Raises:
      InputError: one is missing or there twice, is a link or has more than `largest` bytes, or the archive is broken.
      StorageError: they cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as files:
            contents = {name: _member(archive, files, name, largest) for name in names}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"{archive} is no zip that can be read: {error}") from None
    with _writing(folder):
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            new = folder / f"{name}.part"
            new.write_bytes(content)
            new.replace(folder / name)


def _member(archive: Path, files: zipfile.ZipFile, name: str, largest: int) -> bytes:
    found = [info for info in files.infolist() if info.filename.rpartition("/")[2] == name]
    if len(found) != 1:
        raise InputError(f"{archive} has {len(found)} files called {name}, not one")
    if stat.S_ISLNK(found[0].external_attr >> 16):
        raise InputError(f"{archive}: {name} is a link, not a file")
    with files.open(found[0]) as member:
        content = member.read(largest + 1)
    if len(content) > largest:
        raise InputError(f"{archive}: {name} has more than {largest:,} bytes")
    return content


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """The part of a file, open at its end and for no other process of ours."""
    with _writing(part):
        target = part.open("ab", buffering=0)  # unbuffered: what has come is there, whatever ends the process
    with target:
        with refused(StorageError, f"{part} cannot be locked"):
            try:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUseError(f"{part} is being written by another process") from None
        target.seek(0, os.SEEK_END)
        yield target


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Makes of what the disk refuses a StorageError."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kept = "; what has come is kept, and the same command goes on" if full else ""
        raise StorageError(f"{path} cannot be written: {error.strerror}{kept}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
