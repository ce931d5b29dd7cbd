"""The manifest of a checkpoint: what it holds, and the SHA-256 of every file of it.

Arrays that were written correctly can rot on the disk, and a flipped bit restores without an error. So nothing is
restored before its files have been compared with the manifest, and a folder without one is damaged.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from bert_jax import files
from bert_jax.files import LONGEST_JSON, UNFINISHED, read_file, write_atomically

NAME = "manifest.json"


class Damaged(Exception):
    """A checkpoint is not what was written; the message says in what."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a checkpoint holds.

    run: fingerprint of the run that wrote it: its settings, tables and weights.
    step: updates done.
    leaves: of each array, by path, its type and shape, such as "float32[2, 3]".
    files: SHA-256 of each file, by path inside the folder.
    evaluated: whether the dev tables have been scored after this update, and `score` says how well; None is undefined.
    """

    run: str
    step: int
    leaves: dict[str, str]
    files: dict[str, str]
    evaluated: bool = False
    score: float | None = None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Puts a manifest in place of the one that is there, at once and for good, so that none is ever half written.

    It carries a SHA-256 of its own, since a score with a flipped digit is still a score.
    """
    write_atomically(folder / NAME, _render(manifest))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint.

    Raises:
      Damaged: there is none, or it is not what was written.
    """
    try:
        text = read_file(folder / NAME, LONGEST_JSON).decode("utf-8")
        manifest = Manifest(**json.loads(text)["manifest"])
        if text != _render(manifest):
            raise Damaged(f"{NAME} has changed since it was written")
        return manifest
    except FileNotFoundError:
        raise Damaged(f"there is no {NAME}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise Damaged(f"{NAME} is not readable") from None


def verify(folder: Path) -> Manifest:
    """The manifest of a checkpoint, after every file has been compared with it.

    Raises:
      Damaged: a file is missing, changed, or none of the checkpoint's.
    """
    manifest = read_manifest(folder)
    found = hash_files(folder)
    for name in sorted({*found, *manifest.files}):
        if name not in found:
            raise Damaged(f"{name} is missing")
        if name not in manifest.files:
            raise Damaged(f"{name} is not part of it")
        if found[name] != manifest.files[name]:
            raise Damaged(f"{name} has changed since it was written")
    return manifest


def hash_files(folder: Path, sync: bool = False) -> dict[str, str]:
    """SHA-256 of each file below a folder but the manifest, several at a time.

    Args:
      sync: whether to wait until each is on the disk, not only in its cache.

    Raises:
      Damaged: one cannot be read, or is a link or a device: something outside the folder.
      OSError: one cannot be put on the disk.
    """
    try:
        # of the second a kill may have left something
        return files.hash_files(folder, {NAME, f"{NAME}{UNFINISHED}"}, sync)
    except ValueError as error:
        raise Damaged(str(error)) from None


def _render(manifest: Manifest) -> str:
    content = dataclasses.asdict(manifest)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({"manifest": content, "sha256": digest}, indent=1) + "\n"
