"""Table row -> Example, strictly: the course's files (CS224N) and the older `label ||| text` files (CMU).

The files are UTF-8 and tab separated in spite of `.csv`, quoted as pandas quotes. A row whose label is missing is
skipped and counted, as the course's own reader does silently; anything else that is wrong is an error.
"""

import csv
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from bert_jax.errors import InputError, counted, quote, refused
from bert_jax.files import read_file
from bert_jax.tasks import KINDS, Label, Split, Task

NO_LABEL = -1  # stands for none where a number has to be, as in GLUE
OLDER_FORMAT = re.compile(r"\s*(\S+)\s*\|\|\|(.*)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Example:
    """One row: its id, its text or pair of texts, and its label (None in a test table)."""

    id: str
    texts: tuple[str, ...]
    label: Label | None


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of one file that can be used, and the number of those skipped for want of a label.

    sha256: of all that was read, whatever part of it `examples` is now.
    name: what it goes by in a run; the file's name, or TASK/SPLIT of a task of one's own.
    """

    path: Path
    examples: list[Example]
    skipped: int
    sha256: str = ""
    name: str = ""

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the one file that was read, by its name."""
        return {self.name or self.path.name: self.sha256}

    @property
    def left_out(self) -> str:
        """What was skipped, in words."""
        return f"{self.skipped} rows without a label"


@dataclasses.dataclass(frozen=True)
class Folder:
    """A place to read splits of tasks from: a folder of files. Those of a task of one's own are in the task's folder.

    replaces: whether this one stands in place of that, as far as it has the files.
    """

    path: Path
    replaces: bool = False

    def __str__(self) -> str:
        return str(self.path)

    def has(self, task: Task, split: Split) -> bool:
        """Whether there is a split of a task."""
        return has_file(self._place(task, split), task, split)

    def read(self, task: Task, split: Split, labelled: bool) -> Table:
        """A split of a task; raises what `find_file` and `read_table` raise."""
        table = read_table(find_file(self._place(task, split), task, split), task, labelled)
        return dataclasses.replace(table, name=f"{task.name}/{split}") if task.folder else table

    def _place(self, task: Task, split: Split) -> Path:
        if task.folder is None or (self.replaces and has_file(self.path, task, split)):
            return self.path
        return task.folder


def find_file(data_dir: Path, task: Task, split: Split) -> Path:
    """The file that holds a split of a task.

    Raises:
      InputError: the folder does not exist or holds none of the names that the file goes by, or the task has no files.
    """
    if not task.files:
        raise InputError(f"task {task.name} has no table among the course's files; --data=tfds reads {task.tfds}")
    if not os.path.isdir(data_dir):  # noqa: PTH112  Path.is_dir raises where the name is too long
        raise InputError(f"{data_dir} is not a folder; wanted is the folder with {task.files[split][0]}")
    for name in task.files[split]:
        if os.path.lexists(data_dir / name):  # a link that leads nowhere is a mistake to be told, not a missing file
            return data_dir / name
    raise InputError(f"{data_dir} has no {' or '.join(task.files[split])}, the {split} split of task {task.name}")


def has_file(data_dir: Path, task: Task, split: Split) -> bool:
    """Whether a folder holds a split of a task."""
    return any(os.path.lexists(data_dir / name) for name in task.files.get(split, ()))


def read_table(path: Path, task: Task, labelled: bool) -> Table:
    """Reads one file of a task.

    Args:
      labelled: whether rows have labels; where they have not, a label column is ignored if there is one.

    Raises:
      InputError: `path:line: reason`, for the first thing that is wrong.
    """
    data = read_bytes(path)
    lines = _lines(path, data)
    older = not task.is_pair and task.folder is None and lines and OLDER_FORMAT.match(lines[0])
    rows = _older_rows(path, lines) if older else _rows(path, lines, task, labelled)
    examples: list[Example] = []
    seen: dict[str, int] = {}
    skipped = 0
    for line, identity, texts, raw_label in rows:
        if not identity.strip():
            raise InputError(f"{path}:{line}: the id is empty")
        if identity in seen:
            raise InputError(f"{path}:{line}: id {quote(identity)} stands in line {seen[identity]} already")
        seen[identity] = line
        if not labelled:
            examples.append(Example(identity, texts, None))
        elif not raw_label.strip():
            skipped += 1
        else:
            try:
                label = KINDS[task.kind].read(task, raw_label)
            except ValueError as error:
                raise InputError(f"{path}:{line}: {task.label_column} {error}") from None
            examples.append(Example(identity, texts, label))
    if not examples:
        raise InputError(f"{path}:1: the table has no {'labelled ' if labelled else ''}rows")
    return Table(path, examples, skipped, hashlib.sha256(data).hexdigest())


def take_share(table: Table, share: float) -> Table:
    """A part of a table, in its order; at least one row.

    Which rows are in it depends on their ids alone, and a smaller share is a part of a larger one.
    """

    def place(number: int) -> bytes:
        return hashlib.sha256(table.examples[number].id.encode()).digest()

    kept = sorted(range(len(table.examples)), key=place)[: max(1, round(share * len(table.examples)))]
    return dataclasses.replace(table, examples=[table.examples[number] for number in sorted(kept)])


def read_bytes(path: Path) -> bytes:
    """The bytes of a table.

    Raises:
      InputError: it cannot be read.
    """
    with refused(InputError, f"{path}:1: cannot be read"):
        return read_file(path)


def _lines(path: Path, data: bytes) -> list[str]:
    """Lines with their ends; the same text whether the file has a BOM or CRLF or neither."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}:1: is UTF-16; tables are UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise InputError(f"{path}:{line}: there is a NUL byte in the line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8") from None
    return re.findall(r"[^\n]*\n|[^\n]+", text)  # str.splitlines would also split at U+2028 and its like


Row = tuple[int, str, tuple[str, ...], str]  # line, id, texts, label as written


def _rows(path: Path, lines: list[str], task: Task, labelled: bool) -> Iterator[Row]:
    """Rows of a table with a header; the columns before the id are the index of whoever wrote it."""
    reader = csv.reader(lines, delimiter=task.delimiter, strict=True)
    ids, labels = [task.id_column] if task.id_column else [], [task.label_column] if labelled else []
    wanted = [*ids, *task.text_columns, *labels]
    said = "tabs" if task.delimiter == "\t" else repr(task.delimiter)
    line = 1
    try:
        header = next(reader, [])
        for name in wanted:
            if name not in header:
                found = ", ".join(map(quote, header[:10])) or "nothing"
                raise InputError(f"{path}:1: there is no column {name!r}; found {found}, separated by {said}")
            if header.count(name) > 1:
                raise InputError(f"{path}:1: there are {header.count(name)} columns {name!r}")
        places = [header.index(name) for name in wanted]
        line = reader.line_num + 1
        for row in reader:
            if len(row) != len(header):
                raise InputError(f"{path}:{line}: {counted(len(row), 'column')}, but the header has {len(header)}")
            if reader.line_num != line:
                raise InputError(f"{path}:{line}: a quoted text runs on to line {reader.line_num}")
            values = [row[place] for place in places]
            identity = values.pop(0) if task.id_column else f"line-{line}"
            texts = tuple(values[: len(task.text_columns)])
            yield line, identity, texts, values[-1] if labelled else ""
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{line}: {error}") from None


def _older_rows(path: Path, lines: list[str]) -> Iterator[Row]:
    """Rows of the CMU format; it has no ids, so the line's number serves."""
    for line, text in enumerate(lines, start=1):
        match = OLDER_FORMAT.fullmatch(text.rstrip("\r\n"))
        if match is None:
            raise InputError(f"{path}:{line}: the line is not of the form `label ||| text`")
        yield line, f"line-{line}", (match[2].strip(),), match[1]
