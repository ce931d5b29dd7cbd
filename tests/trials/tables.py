"""T21: bad tables, made from the real ones, and good ones that only look odd."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Folder, find_file, read_table
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, TASKS, Split, Task
from tests.course import find_course
from tests.trials import harness
from tests.trials.harness import Outcome, Trial
from tests.trials.spoiled import KINDS, BadTable, GoodTable, good_table
from train.inputs import SPLITS, read_split

CLAIM = (
    "A bad table is exit 2 and one line `path:line: reason` before JAX is imported, and nothing is written. A BOM, "
    "CRLF and a missing last newline change nothing; of the course's tables every row is used or reported."
)
SEEDS = 10
SECONDS = 10


def good_tables(folder: Path) -> list[GoodTable]:
    """Every labelled table that is at hand."""
    return [
        good_table(folder, task, split)
        for task in COURSE_TASKS.values()
        for split in SPLITS
        if (folder / task.files[split][0]).exists()
    ]


def run(quick: bool, folder: Path) -> Outcome:
    outcome = Outcome()
    source = find_course() or SAMPLE
    tables = good_tables(source)
    outcome.exposure["course's tables"] = len(tables) * (source != SAMPLE)
    seeds = 1 if quick else SEEDS
    for number, (name, kind) in enumerate(KINDS.items()):
        for seed in range(seeds):
            rng = Random(f"{name} {seed}")
            table = rng.choice(tables)
            bad = kind(table, rng)
            place = folder / f"{number}-{seed}"
            _refuse_in_process(outcome, f"{name}, seed {seed}", place, table, bad)
            if seed == 0 and (not quick or number % 3 == 0):
                _refuse_as_a_command(outcome, name, place, table, bad)
            shutil.rmtree(place)
    outcome.require("refused in the process", len(KINDS) * seeds)
    outcome.require("refused by the command", len(KINDS) // (3 if quick else 1))
    _accept(outcome, folder, tables, seeds)
    _read_the_official(outcome, source)
    _notice_jax(outcome, folder)
    return outcome


def _put(place: Path, table: GoodTable, bad: BadTable) -> tuple[Path, Task]:
    """A data folder in which one table is bad; those before it are good."""
    task = bad.task or table.task
    place.mkdir()
    path = place / (bad.name or task.files[table.split][0])
    bad.put(path)
    if table.split == "dev":
        train = task if (table.folder / task.files["train"][0]).exists() else TASKS["sst"]
        rows = good_table(table.folder, train, "train").rows[:1]
        zero = "\t".join([*rows[0].split("\t")[:-1], "0"])
        (place / task.files["train"][0]).write_text(good_table(table.folder, train, "train").header + zero + "\n")
    return path, task


def _refuse_in_process(outcome: Outcome, name: str, place: Path, table: GoodTable, bad: BadTable) -> None:
    path, task = _put(place, table, bad)
    outcome.n += 1
    signal.alarm(SECONDS)  # ends the process: a reader that waits for a pipe would wait for ever
    try:
        read_split(Folder(place), task, table.split)
    except InputError as error:
        said = str(error)
        good = said.startswith(f"{path}:{bad.line}: ") and bad.reason in said and "\n" not in said
        if outcome.check(
            good and len(said) < len(str(path)) + 300, f"{name}: line {bad.line}, {bad.reason!r}: {said!r}"
        ):
            outcome.exposure["refused in the process"] += 1
    except Exception as error:
        outcome.check(False, f"{name}: {error!r}")
    else:
        outcome.check(False, f"{name}: {path.name} was accepted")
    finally:
        signal.alarm(0)


def _refuse_as_a_command(outcome: Outcome, name: str, place: Path, table: GoodTable, bad: BadTable) -> None:
    task = bad.task or table.task
    path = place / (bad.name or task.files[table.split][0])
    before = harness.hash_files(place)
    ended = _train(place, task, place.parent)
    outcome.n += 1
    right = ended.is_one_sentence(2, f"error: {path}:{bad.line}: ", bad.reason) and not ended.out
    outcome.check(right and ended.seconds < SECONDS, f"{name}: wanted {path}:{bad.line}: {bad.reason}, but {ended}")
    written = (place.parent / "run").exists() or harness.hash_files(place) != before
    if outcome.check(not written, f"{name}: something was written") and right:
        outcome.exposure["refused by the command"] += 1
    shutil.rmtree(place.parent / "run", ignore_errors=True)


def _train(data_dir: Path, task: Task, folder: Path) -> harness.Ended:
    """Trains a random model on one task, in a process in which the import of JAX fails."""
    flags = (f"--data_dir={data_dir}", f"--vocab={SAMPLE}", f"--tasks={task.name}", f"--run_dir={folder / 'run'}")
    return harness.run("train.main", *flags, env=harness.without_jax(folder), timeout=60)


# What only looks odd: a name, and the bytes that a table becomes.
ODD: dict[str, Callable[[bytes], bytes]] = {
    "a BOM": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "a BOM and CRLF": lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
    "no last newline": lambda data: data.removesuffix(b"\n"),
}


def _accept(outcome: Outcome, folder: Path, tables: list[GoodTable], seeds: int) -> None:
    """What looks odd gives the same rows; and labels taken away are counted, the other rows being the same."""
    for seed in range(seeds):
        rng = Random(seed)
        for name, change in ODD.items():
            table = rng.choice(tables)
            good = read_split(Folder(table.folder), table.task, table.split)
            path = folder / "odd.csv"
            path.write_bytes(change(table.text.encode()))
            odd = read_table(path, table.task, labelled=True)
            outcome.n += 1
            same = odd.examples == good.examples and odd.skipped == good.skipped
            if outcome.check(same, f"{table.task.name} with {name} has other rows, seed {seed}"):
                outcome.exposure["odd but accepted"] += 1
        table = rng.choice(tables)
        good = read_split(Folder(table.folder), table.task, table.split)
        labelled = [i for i, row in enumerate(table.rows) if row.rsplit("\t", 1)[1].strip()]
        gone = set(rng.sample(labelled, rng.randint(1, 9)))
        rows = [f"{row.rsplit(chr(9), 1)[0]}\t\n" if i in gone else row for i, row in enumerate(table.rows)]
        path.write_bytes((table.header + "".join(rows)).encode())
        fewer = read_table(path, table.task, labelled=True)
        lost = {table.rows[i].split("\t")[1] for i in gone}
        kept = [example for example in good.examples if example.id not in lost]
        outcome.n += 1
        right = fewer.examples == kept and fewer.skipped == good.skipped + len(gone)
        outcome.check(right, f"{table.task.name} without {len(gone)} labels: {fewer.skipped} skipped, seed {seed}")
        outcome.exposure["labels missing"] += len(gone)
    outcome.require("odd but accepted", len(ODD) * seeds)
    outcome.require("labels missing", seeds)


def _read_the_official(outcome: Outcome, source: Path) -> None:
    """Every row of every table as it is: used, or reported as skipped; the texts and labels that stand there."""
    splits: tuple[Split, ...] = ("train", "dev", "test")
    for task in COURSE_TASKS.values():
        for split in splits:
            if not any((source / name).exists() for name in task.files[split]):
                continue
            table = read_table(find_file(source, task, split), task, labelled=split != "test")
            used, skipped = _read_by_hand(table.path, task, split != "test")
            found = [(example.id, example.texts, example.label) for example in table.examples]
            outcome.n += 1
            outcome.check(found == used, f"{table.path}: the rows are not those that stand there")
            outcome.check(table.skipped == skipped, f"{table.path}: {table.skipped} skipped, not {skipped}")
            outcome.exposure["official rows"] += len(found) + table.skipped
            outcome.exposure["official rows without a label"] += skipped
    outcome.require("official rows", 10)


def _read_by_hand(path: Path, task: Task, labelled: bool) -> tuple[list[tuple], int]:
    """A reader that shares nothing with the program's: rows are lines, fields have no tabs, quotes are doubled."""
    header, *lines = path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    names = header.split("\t")
    used, skipped = [], 0
    for line in lines:
        fields = [f[1:-1].replace('""', '"') if f[:1] == '"' else f for f in line.split("\t")]
        row = dict(zip(names, fields, strict=True))
        label = row[task.label_column] if labelled else None
        if label == "":
            skipped += 1
        else:
            used.append((row["id"], tuple(row[n] for n in task.text_columns), None if label is None else float(label)))
    return used, skipped


def _notice_jax(outcome: Outcome, folder: Path) -> None:
    """With good tables the command does import JAX, and the process that must not would have been caught."""
    ended = _train(SAMPLE, TASKS["sst"], folder)
    outcome.exposure["imports of JAX noticed"] = int(harness.JAX_IMPORTED in ended.err)
    outcome.require("imports of JAX noticed", 1)


TRIALS = (Trial("T21", CLAIM, run, ("labels_not_checked", "encoding_not_checked")),)
