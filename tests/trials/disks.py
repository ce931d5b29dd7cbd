"""Disks that rot, fill up or cannot be written, and memory that runs out (T6, T9, T10)."""

import contextlib
import io
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.trials.faults import FAULT, Watch
from tests.trials.harness import Outcome, Trial, environment, hash_files, run
from tests.trials.runs import TEXTS, SmallRun, differences

ENOUGH = 10**8  # bytes for one small run with all its checkpoints


def bit_rot(quick: bool, folder: Path) -> Outcome:
    """Single flipped bits and cut, emptied and deleted files of the newest checkpoint."""
    outcome, rng = Outcome(), random.Random(0)
    small = SmallRun(folder / "small", folder / "cache")
    outcome.check((ended := small.finish("--max_steps=20")).code == 0, str(ended))
    good = small.path / "checkpoints"
    newest, before = sorted((int(path.name) for path in good.iterdir()), reverse=True)[:2]
    wanted = _restored(good, before, folder)
    files = [path.relative_to(good) for path in (good / str(newest)).rglob("*") if path.is_file()]
    sized = [file for file in files if (good / file).stat().st_size]
    flips = 30 if quick else 200
    # Half of the bits lie anywhere in the checkpoint, and half in a file of their own choosing, however small.
    by_size = rng.choices(sized, [(good / file).stat().st_size for file in sized], k=flips // 2)
    cases = [("flip", file) for file in by_size + rng.choices(sized, k=flips - flips // 2)]
    cases += [(how, file) for how in ("cut", "empty", "delete") for file in (files[::4] if quick else files)]
    for how, file in cases:
        if how in ("cut", "empty") and file not in sized:
            continue
        outcome.n += 1
        outcome.exposure[how] += 1
        bad = folder / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        _spoil(bad / file, how, rng)
        found = _restored(bad, before, folder)
        outcome.check(found == wanted, f"{how} in {file}: {found}, not {wanted}")
    if not quick:
        _rot_in_whole_runs(small, newest, folder, outcome)
    outcome.require("flip", flips)
    outcome.require("went on from the one before", 0 if quick else 1)
    return outcome


def _spoil(path: Path, how: str, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)


def _restored(directory: Path, step: int, folder: Path) -> tuple[str, bool]:
    """Hash of the parameters that evaluation takes, and whether they are of this step and it was said why."""
    import jax

    from bert_jax.definition import find_tasks
    from bert_jax.heads import init_params
    from train.runs.checkpoint import Checkpoints
    from train.runs.folder import open_folder

    run_dir, config, model, _ = open_folder(folder / "small" / "run")
    checkpoints = Checkpoints(directory, run_dir.fingerprint)
    like = init_params(model, find_tasks(config.tables.tasks), seed=0)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            if "small" in directory.parts:  # the good one
                manifest = checkpoints._restore(_manifest(directory / str(step)), {"params": like})
                params, right = manifest["params"], True
            else:
                found, params = checkpoints.restore_params("latest", like)
                right = found == step and "is damaged" in said.getvalue()
        except Exception as error:
            return repr(error), False
        finally:
            checkpoints.close()
    return str(hash(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params)))), right


def _manifest(folder: Path):
    from train.runs.manifest import read_manifest

    return read_manifest(folder)


def _rot_in_whole_runs(small: SmallRun, newest: int, folder: Path, outcome: Outcome) -> None:
    """The command goes on from the checkpoint before to the same result; where all are bad it ends with code 3."""
    whole = SmallRun(folder / "whole", folder / "cache")
    whole.finish()
    rotten = SmallRun(folder / "rotten", folder / "cache")
    rotten.finish("--max_steps=20")
    path = next((rotten.path / "checkpoints" / str(newest) / "opt_state").rglob("d/*"))
    _spoil(path, "flip", random.Random(1))
    ended = rotten.finish()
    said = ended.code == 0 and f"checkpoint {newest} is damaged" in ended.err
    if outcome.check(said, f"with one bad checkpoint: {ended}"):
        outcome.exposure["went on from the one before"] += 1
        differing = differences(whole.result(), rotten.result())
        outcome.check(not differing, f"with one bad checkpoint: other {differing}")
    for step in (small.path / "checkpoints").iterdir():
        (step / "counters" / "metadata").write_text("{}")
    before = hash_files(small.path)
    ended = small.finish()
    outcome.check(ended.code == 3 and "nothing was deleted" in ended.err, f"with no good checkpoint: {ended}")
    left = {name: digest for name, digest in hash_files(small.path).items() if name in before}
    changed = [name for name in before if before[name] != left.get(name) and name not in ("config.json", "lock")]
    outcome.check(not changed, f"with no good checkpoint these files changed: {changed[:3]}")
    outcome.n += 2


@contextlib.contextmanager
def small_disk(folder: Path, size: int, read_only: bool = False) -> Iterator[Path | None]:
    """A disk of so many bytes, or None where this user may not have one."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        yield None
        return
    try:
        if read_only:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def full_disk(quick: bool, folder: Path) -> Outcome:
    """No room at the start, or from the k-th save on, or for predictions; no memory."""
    outcome = Outcome()
    whole = SmallRun(folder / "whole", folder / "cache")
    outcome.check((ended := whole.finish()).code == 0, str(ended))
    wanted = whole.result()
    for saves in (2,) if quick else (1, 2, 3, 5, 8):
        _fill_after(saves, wanted, folder, outcome)
    with small_disk(folder / "tiny", 2**20) as disk:
        if disk:
            outcome.n += 1
            ended = run("train.main", f"--run_dir={disk / 'run'}")
            fine = ended.is_one_sentence(5, "GB for its checkpoints") and not any(disk.iterdir())
            outcome.check(fine, f"no room at the start: {ended}")
    with Path("/dev/full").open("w") as full:
        outcome.n += 1
        ended = run("eval.predict", f"--run_dir={whole.path}", "--task=sst", stdin=TEXTS, stdout=full)
        outcome.check(ended.is_one_sentence(5, "cannot be written"), f"predictions to a full device: {ended}")
    outcome.n += 1
    ended = run(
        "train.main", "--model=bert-small", "--batch_size=512", "--row_length=512", f"--run_dir={folder / 'big'}",
        env=environment(**{FAULT: "little_memory:3000"}),
    )  # fmt: skip
    outcome.check(ended.code == 5 and "not enough memory" in ended.err, f"too little memory: {ended}")
    outcome.require("full disks met", 1 if quick else 5)
    return outcome


def _fill_after(saves: int, wanted: dict[str, str], folder: Path, outcome: Outcome) -> None:
    """The disk is full from some save on; the run ends, and goes on once there is room."""
    outcome.n += 1
    with small_disk(folder / f"disk-{saves}", ENOUGH) as disk:
        # Where no disk can be made, no file may grow beyond a few bytes, which a save meets in the same way.
        small = SmallRun(disk or folder / f"limited-{saves}", folder / "cache")
        small.watch = Watch(folder / f"watch-{saves}")  # has room
        if disk:
            process = small.start()
            small.watch.wait_for("saved", process, times=saves)
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            _, err = process.communicate(timeout=120)
            code = process.returncode
            (disk / "filler").unlink()
        else:
            small.finish(f"--max_steps={10 * saves}")
            ended = small.finish(env=small.env | {FAULT: "small_files:20000"})
            code, err = ended.code, ended.err
        full = code == 5 and "cannot be written" in err.splitlines()[-1]
        outcome.check(full, f"full after save {saves}: exit {code}, {err[-300:]!r}")
        outcome.exposure["full disks met"] += full
        ended = small.finish()
        if outcome.check(ended.code == 0 and "going on after" in ended.out, f"once there is room: {ended}"):
            differing = differences(wanted, small.result())
            outcome.check(not differing, f"full after save {saves}: other {differing}")


def no_folder(quick: bool, folder: Path) -> Outcome:
    """A run's folder that is read-only, a file, below nothing, or a link to nothing: code 5, and nothing written."""
    outcome = Outcome()
    (folder / "file").write_text("mine")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "below-file").write_text("mine")
    places = {"a file": folder / "file", "a dangling link": folder / "dangling", "no parent": folder / "no" / "run",
              "below a file": folder / "below-file" / "run"}  # fmt: skip
    with _read_only(folder / "read-only") as read_only:
        places |= {"read-only": read_only, "in a read-only folder": read_only / "run"}
        before = sorted(folder.rglob("*"))
        for what, place in places.items():
            outcome.n += 1
            ended = run("train.main", f"--run_dir={place}", "--max_steps=2")
            outcome.check(ended.is_one_sentence(5, str(place)) and ended.seconds < 10, f"{what}: {ended}")
            outcome.exposure["refused with code 5"] += ended.code == 5
        outcome.check(sorted(folder.rglob("*")) == before, "something was written")
    outcome.require("refused with code 5", 6)
    return outcome


@contextlib.contextmanager
def _read_only(folder: Path) -> Iterator[Path]:
    """A folder that cannot be written: by permissions, or as a disk where this user is above permissions."""
    if os.geteuid():
        folder.mkdir(mode=0o555)
        yield folder
    else:
        with small_disk(folder, ENOUGH, read_only=True) as disk:
            if disk is None:  # a container that may not mount; /proc cannot be written either
                folder.rmdir()
                disk = Path("/proc/self")
            yield disk


TRIALS = (
    Trial("T6", "a checkpoint that has changed on the disk is noticed, and the one before is taken", bit_rot,
          ("manifest_not_checked",), seconds=30, compiled=True),
    Trial("T9", "a full disk or memory ends in code 5, and the run goes on once there is room", full_disk,
          ("failed_writes_not_noticed",), seconds=80, compiled=True),
    Trial("T10", "a folder that cannot be a run's is refused, and nothing is written", no_folder,
          ("folder_not_checked",)),
)  # fmt: skip
