"""Ways in which a table goes wrong: each makes of a good table a bad one, and knows what is to be said of it."""

import dataclasses
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from bert_jax.tasks import COURSE_TASKS, TASKS, Split, Task


@dataclasses.dataclass(frozen=True)
class GoodTable:
    """A labelled table as it lies on the disk: its header and its rows, each with its end."""

    folder: Path
    task: Task
    split: Split
    header: str
    rows: list[str]

    @property
    def text(self) -> str:
        return self.header + "".join(self.rows)

    def with_rows(self, change: Callable[[list[str]], list[str]]) -> str:
        """The table with the header and each row changed in the same way."""
        return "".join(_join(change(_split(line))) for line in [self.header, *self.rows])


def good_table(folder: Path, task: Task, split: Split) -> GoodTable:
    header, *rows = (folder / task.files[split][0]).read_bytes().decode().removesuffix("\n").split("\n")
    return GoodTable(folder, task, split, f"{header}\n", [f"{row}\n" for row in rows])


@dataclasses.dataclass(frozen=True)
class BadTable:
    """What stands in the place of a good one.

    line, reason: of the sentence that must come.
    place: puts the thing where the table was, if it is more than a file's content.
    task: whose table it is, and its name, if they differ from the good one's.
    """

    content: bytes
    line: int
    reason: str
    place: Callable[[Path], object] | None = None
    task: Task | None = None
    name: str | None = None

    def put(self, path: Path) -> None:
        self.place(path) if self.place else path.write_bytes(self.content)


Kind = Callable[[GoodTable, Random], BadTable]
KINDS: dict[str, Kind] = {}


def kind(function: Kind) -> Kind:
    """Registers a kind under its function's name."""
    KINDS[function.__name__.removesuffix("_").replace("_", " ")] = function
    return function


def _split(row: str) -> list[str]:
    return row.removesuffix("\n").split("\t")


def _join(fields: list[str]) -> str:
    return "\t".join(fields) + "\n"


def _in_a_row(name: str, change: Callable[[list[str], GoodTable, Random], list[str]], reason: str) -> None:
    """Registers a kind that spoils one row; "\udce9" in what it becomes is the byte E9."""

    def spoil(table: GoodTable, rng: Random) -> BadTable:
        plain = [i for i, row in enumerate(table.rows) if '"' not in row]
        number = rng.choice(plain)
        rows = list(table.rows)
        rows[number] = _join(change(_split(rows[number]), table, rng))
        return BadTable((table.header + "".join(rows)).encode(errors="surrogateescape"), number + 2, reason)

    KINDS[name] = spoil


def _label(choose: Callable[[GoodTable, Random], str]) -> Callable[[list[str], GoodTable, Random], list[str]]:
    return lambda fields, table, rng: [*fields[:-1], choose(table, rng)]


def _text(change: Callable[[str, Random], str]) -> Callable[[list[str], GoodTable, Random], list[str]]:
    return lambda fields, table, rng: [*fields[:2], change(fields[2], rng), *fields[3:]]


def _insert(piece: str) -> Callable[[str, Random], str]:
    def change(text: str, rng: Random) -> str:
        place = rng.randint(0, len(text))
        return text[:place] + piece + text[place:]

    return change


def _outside(table: GoodTable, rng: Random) -> str:
    return str(rng.choice([-1, -0.5, table.task.max_label + 0.5, table.task.max_label + 1, 99, 1e300, "-1e999"]))


COLUMNS = ", but the header has"
_in_a_row("a row with commas", lambda fields, *_: [",".join(fields)], COLUMNS)
_in_a_row("a row without its label's column", lambda fields, *_: fields[:-1], COLUMNS)
_in_a_row("a row with a column more", lambda fields, *_: [*fields, "5"], COLUMNS)
_in_a_row("a blank line", lambda *_: [], COLUMNS)
_in_a_row("a row in two lines", _text(_insert("\n")), COLUMNS)
_in_a_row("a quoted text in two lines", _text(lambda text, rng: f'"{_insert(chr(10))(text, rng)}"'), "runs on to line")
_in_a_row("a stray quote", _text(lambda text, _: f'"{text}'), "")
_in_a_row("text after a quote", _text(lambda text, _: f'"{text}" or so'), "expected after")
_in_a_row("a NUL", _text(_insert("\0")), "there is a NUL byte")
_in_a_row("Latin-1", _text(_insert("\udce9 ")), "byte 0xe9 is not UTF-8")
_in_a_row("an empty id", lambda fields, _, rng: [fields[0], " " * rng.randrange(3), *fields[2:]], "the id is empty")
_in_a_row("a label in words", _label(lambda _, rng: rng.choice(["good", "1 star", "0x1", "?"])), "not a number")
_in_a_row("a label that is no finite number", _label(lambda _, rng: rng.choice(["nan", "inf", "-Inf"])), "not a number")
_in_a_row("a label in odd digits", _label(lambda _, rng: rng.choice(["0_1", "1,0", "1.", "\uff11"])), "not a number")
_in_a_row("a label out of range", _label(_outside), ", outside 0 to ")


@kind
def a_fraction_of_a_class(table: GoodTable, rng: Random) -> BadTable:
    task = TASKS[rng.choice(["sst", "quora"])]
    number = rng.randrange(9)
    good = good_table(table.folder, task, table.split)
    rows = [_join([*_split(row)[:-1], "0.5"]) if i == number else row for i, row in enumerate(good.rows)]
    return BadTable((good.header + "".join(rows)).encode(), number + 2, "not a whole number", task=task)


@kind
def labels_of_another_task(table: GoodTable, _: Random) -> BadTable:
    good = good_table(table.folder, TASKS["sst"], table.split)
    line = next(i for i, row in enumerate(good.rows, start=2) if float(_split(row)[-1]) > 1)
    return BadTable(good.text.encode(), line, "sentiment is ", task=TASKS["cfimdb"])


@kind
def an_id_twice(table: GoodTable, rng: Random) -> BadTable:
    first, second = sorted(rng.sample(range(len(table.rows)), 2))
    fields = _split(table.rows[second])
    fields[1] = _split(table.rows[first])[1]
    rows = [*table.rows[:second], _join(fields), *table.rows[second + 1 :]]
    return BadTable((table.header + "".join(rows)).encode(), second + 2, f"stands in line {first + 2} already")


@kind
def a_header_in_the_middle(table: GoodTable, rng: Random) -> BadTable:
    place = rng.randint(1, len(table.rows))
    rows = [*table.rows[:place], table.header, *table.rows[place:]]
    return BadTable((table.header + "".join(rows)).encode(), place + 2, f"is '{table.task.label_column}', not a number")


@kind
def a_last_row_cut_off(table: GoodTable, rng: Random) -> BadTable:
    """Cut before the label. Within a label's digits it cannot be seen, and before its first the row has none."""
    place = rng.randrange(len(table.rows))
    row = table.rows[place].encode()
    whole = (table.header + "".join(table.rows[:place])).encode()
    return BadTable(whole + row[: rng.randint(1, row.rindex(b"\t"))], place + 2, "")


@kind
def a_broken_line_of_the_older_format(table: GoodTable, rng: Random) -> BadTable:
    task = TASKS["sst"]
    fields = [_split(row) for row in good_table(table.folder, task, table.split).rows if '"' not in row]
    lines = [f"{row[-1]} ||| {row[2].strip()}\n" for row in fields]
    number = rng.randrange(1, len(lines))
    lines[number] = lines[number].replace("|||", "||" if rng.random() < 0.5 else "\t")
    reason = "the line is not of the form"
    return BadTable("".join(lines).encode(), number + 1, reason, task=task, name=task.files[table.split][1])


def _whole(name: str, change: Callable[[GoodTable, Random], bytes], reason: str) -> None:
    """Registers a kind that spoils all of a table, so that its first line is wrong."""
    KINDS[name] = lambda table, rng: BadTable(change(table, rng), 1, reason)


def _renamed(table: GoodTable, rng: Random) -> bytes:
    name = rng.choice(["id", *table.task.text_columns, table.task.label_column])
    return table.text.replace(name, f"{name}_", 1).encode()


def _doubled(table: GoodTable, rng: Random) -> bytes:
    place = rng.randrange(1, len(_split(table.header)))
    return table.with_rows(lambda fields: [*fields[: place + 1], *fields[place:]]).encode()


def _of_another_task(table: GoodTable, rng: Random) -> bytes:
    others = [
        task for name, task in COURSE_TASKS.items() if name != "cfimdb" and task.label_column != table.task.label_column
    ]
    return good_table(table.folder, rng.choice(others), table.split).text.encode()


_whole("commas for tabs", lambda table, _: table.text.replace("\t", ",").encode(), "there is no column 'id'")
_whole("no header", lambda table, _: "".join(table.rows).encode(), "there is no column 'id'")
_whole("no label column", lambda table, _: table.with_rows(lambda f: f[:-1]).encode(), "there is no column")
_whole("a column renamed", _renamed, "there is no column")
_whole("a column doubled", _doubled, "there are 2 columns")
_whole("UTF-16", lambda table, _: table.text.encode("utf-16"), "is UTF-16")
_whole("UTF-16 without its mark", lambda table, rng: table.text.encode(rng.choice(["utf-16-le", "utf-16-be"])), "NUL")
_whole("compressed", lambda table, _: gzip.compress(table.text.encode()), "NUL")
_whole("old Macs' line ends", lambda table, _: table.text.replace("\n", "\r").encode(), "")
_whole("nothing but a header", lambda table, _: table.header.encode(), "the table has no labelled rows")
_whole("an empty file", lambda *_: b"", "there is no column 'id'; found nothing")
_whole("another task's table", _of_another_task, "there is no column")
_whole(
    "a test table",
    lambda table, _: (table.folder / table.task.files["test"][0]).read_bytes(),
    "there is no column",
)


def _in_its_place(name: str, place: Callable[[Path], object], reason: str) -> None:
    """Registers a kind of thing that is no file at all."""
    KINDS[name] = lambda *_: BadTable(b"", 1, f"cannot be read: {reason}", place)


_in_its_place("a folder", lambda path: path.mkdir(), "it is a folder")
_in_its_place("a link to nowhere", lambda path: path.symlink_to("nowhere"), "No such file")
_in_its_place("a link to itself", lambda path: path.symlink_to(path.name), "Too many levels of symbolic links")
_in_its_place("a pipe", os.mkfifo, "it is a pipe")
