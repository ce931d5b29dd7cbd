"""Reading tables: what is accepted, what is skipped, and what is an error with its line."""

import csv
import os
from pathlib import Path

import pytest

from bert_jax.data.tables import find_file, read_table
from bert_jax.definition import find_tasks
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, TASKS

SST, QUORA, STS = TASKS["sst"], TASKS["quora"], TASKS["sts"]
HEADER = "\tid\tsentence\tsentiment\n"
PAIRS = "\tid\tsentence1\tsentence2\tis_duplicate\n"


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_are_read_as_pandas_reads_them(tmp_path):
    rows = ["7\ta1\t plain , text \t3\n", '8\ta2\t"he said ""no"" and\tleft"\t0\n', "9\ta3\tit 's `` quoted ''\t4\n"]
    table = read_table(write(tmp_path, HEADER + "".join(rows)), SST, labelled=True)
    assert [e.texts[0] for e in table.examples] == [" plain , text ", 'he said "no" and\tleft', "it 's `` quoted ''"]
    assert [e.label for e in table.examples] == [3.0, 0.0, 4.0]
    assert [e.id for e in table.examples] == ["a1", "a2", "a3"]


@pytest.mark.parametrize(
    "change", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b"\n", b"\r\n"), lambda b: b[:-1]]
)
def test_a_bom_crlf_and_a_missing_last_newline_change_nothing(tmp_path, change):
    content = (HEADER + "0\ta1\tgood\t3\n1\ta2\tbad\t1\n").encode()
    plain = read_table(write(tmp_path, content), SST, labelled=True).examples
    assert read_table(write(tmp_path, change(content)), SST, labelled=True).examples == plain


def test_rows_without_a_label_are_skipped_and_counted(tmp_path):
    content = PAIRS + "0\ta\tx\ty\t1.0\n1\tb\tx\t\t\n2\tc\t\tz\t0.0\n"
    table = read_table(write(tmp_path, content), QUORA, labelled=True)
    assert table.skipped == 1
    assert [(e.id, e.texts, e.label) for e in table.examples] == [("a", ("x", "y"), 1.0), ("c", ("", "z"), 0.0)]


def test_a_test_table_needs_no_label_column(tmp_path):
    table = read_table(write(tmp_path, "0\t\tid\tsentence\n1\t0.0\tabc\tgood\n"), SST, labelled=False)
    assert table.examples[0].texts == ("good",) and table.examples[0].label is None


def test_the_older_format_is_read_too(tmp_path):
    table = read_table(write(tmp_path, "3 ||| a good film\n0 ||| a | bad ||| one\n"), SST, labelled=True)
    assert [(e.id, e.texts, e.label) for e in table.examples] == [
        ("line-1", ("a good film",), 3.0),
        ("line-2", ("a | bad ||| one",), 0.0),
    ]


WRONG = {
    "comma for tab": (HEADER.replace("\t", ",") + "0,a,good,3\n", ":1: there is no column 'id'"),
    "missing column": ("\tid\tsentence\n0\ta\tgood\n", ":1: there is no column 'sentiment'"),
    "doubled column": ("\tid\tid\tsentence\tsentiment\n0\ta\ta\tgood\t3\n", ":1: there are 2 columns 'id'"),
    "too few columns": (HEADER + "0\ta\tgood\t3\n1\tb\tbad\n", ":3: 3 columns, but the header has 4"),
    "too many columns": (HEADER + "0\ta\tgood\t3\textra\n", ":2: 5 columns, but the header has 4"),
    "blank line": (HEADER + "0\ta\tgood\t3\n\n1\tb\tbad\t1\n", ":3: 0 columns, but the header has 4"),
    "stray quote": (HEADER + '0\ta\t"good\t3\n1\tb\tbad\t1\n', ":2: "),
    "text after a quote": (HEADER + '0\ta\t"good" film\t3\n', ":2: "),
    "quoted text over two lines": (HEADER + '0\ta\t"good\nfilm"\t3\n', ":2: a quoted text runs on to line 3"),
    "label no number": (HEADER + "0\ta\tgood\tthree\n", ":2: sentiment is 'three', not a number"),
    "label not whole": (HEADER + "0\ta\tgood\t2.5\n", ":2: sentiment is 2.5, not a whole number"),
    "label too large": (HEADER + "0\ta\tgood\t5\n", ":2: sentiment is 5, outside 0 to 4"),
    "label negative": (HEADER + "0\ta\tgood\t-1\n", ":2: sentiment is -1, outside 0 to 4"),
    "label nan": (HEADER + "0\ta\tgood\tnan\n", ":2: sentiment is 'nan', not a number"),
    "label infinite": (HEADER + "0\ta\tgood\tinf\n", ":2: sentiment is 'inf', not a number"),
    "label beyond floats": (HEADER + "0\ta\tgood\t1e999\n", ":2: sentiment is 1e999, outside 0 to 4"),
    "label cut off after its point": (HEADER + "0\ta\tgood\t3.", ":2: sentiment is '3.', not a number"),
    "label with an underscore": (HEADER + "0\ta\tgood\t0_3\n", ":2: sentiment is '0_3', not a number"),
    "label in other digits": (
        HEADER + "0\ta\tgood\t\N{FULLWIDTH DIGIT THREE}\n",
        ":2: sentiment is '\N{FULLWIDTH DIGIT THREE}', not a number",
    ),
    "empty id": (HEADER + "0\t\tgood\t3\n", ":2: the id is empty"),
    "id of spaces": (HEADER + "0\t \tgood\t3\n", ":2: the id is empty"),
    "id twice": (HEADER + "0\ta\tgood\t3\n1\tb\tbad\t1\n2\ta\tso\t2\n", ":4: id 'a' stands in line 2 already"),
    "nul": (HEADER + "0\ta\tgo\0od\t3\n", ":2: there is a NUL byte"),
    "utf-16": ((HEADER + "0\ta\tgood\t3\n").encode("utf-16"), ":1: is UTF-16"),
    "utf-16 without its mark": ((HEADER + "0\ta\tcafé\t3\n").encode("utf-16-le"), ":1: there is a NUL byte"),
    "latin-1": ((HEADER + "0\ta\tgood\t3\n1\tb\tcafé\t2\n").encode("latin-1"), ":3: byte 0xe9 is not UTF-8"),
    "header only": (HEADER, ":1: the table has no labelled rows"),
    "empty": ("", ":1: there is no column 'id'; found nothing"),
    "stray quote in the header": ('\tid\t"sentence\tsentiment\n0\ta\tgood\t3\n', ":1: "),
    "line ends of old Macs": (HEADER.replace("\n", "\r") + "0\ta\tgood\t3\r", ":1: "),
    "older format, broken": ("3 ||| good\nbad\n", ":2: the line is not of the form"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_one_sentence_with_its_line(tmp_path, name):
    content, message = WRONG[name]
    path = write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_table(path, SST, labelled=True)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"has no ids-sst-train\.csv or sst-train\.txt"):
        find_file(tmp_path, SST, "train")
    with pytest.raises(InputError, match="is not a folder"):
        find_file(tmp_path / "none", SST, "train")
    (tmp_path / "sts-train.csv").mkdir()
    with pytest.raises(InputError, match=r"sts-train\.csv:1: cannot be read: it is a folder"):
        read_table(find_file(tmp_path, STS, "train"), STS, labelled=True)
    with pytest.raises(InputError, match="is not a folder"):
        find_file(Path("long" * 1000), SST, "train")


def test_links_to_nowhere_and_pipes_are_errors(tmp_path):
    (tmp_path / "ids-sst-train.csv").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"ids-sst-train\.csv:1: cannot be read: No such file"):
        read_table(find_file(tmp_path, SST, "train"), SST, labelled=True)
    os.mkfifo(tmp_path / "ids-sst-dev.csv")
    with pytest.raises(InputError, match=r"ids-sst-dev\.csv:1: cannot be read: it is a pipe"):
        read_table(find_file(tmp_path, SST, "dev"), SST, labelled=True)


@pytest.mark.parametrize(("names", "message"), [("", "no task"), ("sst,foo", "'foo'"), ("sst, sst", "more than once")])
def test_wrong_task_lists_are_errors(names, message):
    with pytest.raises(InputError, match=message):
        find_tasks(names)


def test_every_row_of_the_courses_tables_is_used_or_reported(course):
    expected = {
        ("sst", "train"): 8544, ("sst", "dev"): 1101, ("sst", "test"): 2210,
        ("cfimdb", "train"): 1707, ("cfimdb", "dev"): 245, ("cfimdb", "test"): 488,
        ("sts", "train"): 6040, ("sts", "dev"): 863, ("sts", "test"): 1725,
    }  # fmt: skip
    for name, task in COURSE_TASKS.items():
        for split in ("train", "dev", "test"):
            path = find_file(course, task, split)
            table = read_table(path, task, labelled=split != "test")
            with path.open(encoding="utf-8", newline="") as file:
                rows = sum(1 for _ in csv.reader(file, delimiter="\t")) - 1
            assert len(table.examples) + table.skipped == rows
            assert rows == expected.get((name, split), rows)
            assert table.skipped == (2 if (name, split) == ("quora", "dev") else 0)
