"""The audit's counts, on tables small enough to count by hand, and on the course's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Example
from bert_jax.definition import find_tasks
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, TASKS
from eval.overlaps import audit_tables, count_conflicts, count_repeated, count_shared, row_key, text_key
from tests.trials import harness

SST, QUORA, STS = TASKS["sst"], TASKS["quora"], TASKS["sts"]


def write(folder: Path, name: str, columns: str, *rows: str) -> None:
    """Writes a table; `|` stands for a tab, and ids are added."""
    lines = [f"id|{columns}", *(f"{number}|{row}" for number, row in enumerate(rows))]
    (folder / name).write_text("".join(line.replace("|", "\t") + "\n" for line in lines))


def rows(*texts: str | tuple[str, str], labels: tuple[float, ...] = ()) -> list[Example]:
    given = labels or (0.0,) * len(texts)
    pairs = [(text,) if isinstance(text, str) else text for text in texts]
    return [Example(str(n), pair, label) for n, (pair, label) in enumerate(zip(pairs, given, strict=True))]


def test_texts_are_the_same_whatever_their_case_and_punctuation():
    assert text_key("A  good FILM .") == text_key("a good film") == text_key("“A” good, film!")
    assert text_key("a good film") != text_key("a film good") != text_key("a goodfilm")
    assert len({text_key("?"), text_key("!"), text_key("film ?")}) == 3
    assert text_key(" ") == ""


def test_pairs_are_the_same_in_either_order():
    first, second, other = rows(("A man runs .", "a dog"), ("A dog .", "a man runs"), ("a man", "runs a dog"))
    assert row_key(first) == row_key(second) != row_key(other)


def test_each_row_that_stands_in_the_other_table_counts_once():
    held_out, train = rows("Good .", "good", "bad", "new", " "), rows("good !", "good", "Bad", "old", " ")
    assert count_shared(held_out, train) == {"rows": 3, "of": 5}
    assert count_shared(train, held_out) == {"rows": 3, "of": 5}


def test_single_texts_of_pairs_count_wherever_they_stand():
    held_out = rows(("a", "b"), ("a", "c"), ("x", "y"), ("", "z"))
    train = rows(("B .", "A"), ("c", "k"), ("", "m"))
    assert count_shared(held_out, train) == {"rows": 1, "of": 4, "sentences": 3, "rows_with_sentence": 2}
    assert count_shared(held_out, rows(("", "z")))["rows"] == 0


def test_what_stands_more_than_once_counts_by_text_and_by_row():
    assert count_repeated(rows("a", "A", "a .", "b", "b", "c", "", "")) == {"distinct": 2, "rows": 5}
    assert count_repeated(rows(("a", "b"), ("b", "a"), ("a", "c"))) == {"distinct": 1, "rows": 2}


def test_a_conflict_is_a_text_with_two_labels():
    labels = (1.0, 2.0, 1.0, 3.0, 3.0, 0.0)
    assert count_conflicts(rows("a", "A .", "a", "b", "b", "c", labels=labels)) == {"distinct": 1, "rows": 3}
    assert count_conflicts(rows(("a", "b"), ("b", "a"), labels=(2.0, 2.2))) == {"distinct": 1, "rows": 2}
    assert count_conflicts(rows("", "", labels=(0.0, 1.0))) == {"distinct": 0, "rows": 0}


def test_every_count_of_a_pair_task(tmp_path):
    columns = "sentence1|sentence2|similarity"
    train = ["A man runs .|a dog|0.0", "a dog|A man runs|4.9", "one|ONE !|5.0", "|x|2.5", "no label|here|"]
    write(tmp_path, "sts-train.csv", columns, *train)
    write(tmp_path, "sts-dev.csv", columns, "a man runs|A dog|3.0", "a cat and one|a dog|1.0")
    found = audit_tables(tmp_path, [STS])
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "folder": str(tmp_path),
        "missing": ["sts-test-student.csv"],
        "tasks": {
            "sts": {
                "folder": str(tmp_path),
                "kind": "similarity",
                "splits": {
                    "train": {
                        "file": "sts-train.csv",
                        "rows": 5,
                        "without_label": 1,
                        "labels": {"0": 1, "1": 0, "2": 1, "3": 0, "4": 1, "5": 1},
                        "empty_texts": 1,
                        "repeated": {"distinct": 1, "rows": 2},
                        "words": {"median": 2, "p95": 4, "longest": 4},
                        "equal_pairs": 1,
                    },
                    "dev": {
                        "file": "sts-dev.csv",
                        "rows": 2,
                        "without_label": 0,
                        "labels": {"0": 0, "1": 1, "2": 0, "3": 1, "4": 0, "5": 0},
                        "empty_texts": 0,
                        "repeated": {"distinct": 0, "rows": 0},
                        "words": {"median": 2, "p95": 4, "longest": 4},
                        "equal_pairs": 0,
                    },
                },
                "shared": [
                    {"rows_of": "dev", "in": "train", "rows": 1, "of": 2, "sentences": 2, "rows_with_sentence": 2}
                ],
                "conflicts": {"distinct": 1, "rows": 2},
            }
        },
    }


def test_a_task_of_single_texts_has_no_counts_of_pairs_and_a_test_table_no_labels(tmp_path):
    write(tmp_path, "ids-sst-test-student.csv", "sentence", "one two three", "four", "Four .")
    write(tmp_path, "ids-sst-dev.csv", "sentence|sentiment", "FOUR|3", "five|4")
    found = audit_tables(tmp_path, [SST, QUORA])
    sst = found["tasks"]["sst"]
    assert found["missing"] == [
        "ids-sst-train.csv", "quora-train.csv", "quora-dev.csv", "quora-test-student.csv",
    ]  # fmt: skip
    assert sst.keys() == {"folder", "kind", "splits", "shared"} and found["tasks"].keys() == {"sst"}
    assert sst["shared"] == [{"rows_of": "test", "in": "dev", "rows": 2, "of": 3}]
    assert sst["splits"]["dev"]["labels"] == {"0": 0, "1": 0, "2": 0, "3": 1, "4": 1}
    assert sst["splits"]["test"]["labels"] == {} and "equal_pairs" not in sst["splits"]["test"]


def test_a_task_of_ones_own_has_its_labels_words_and_its_folder(tmp_path):
    topic = find_tasks("examples/topic.toml")[0]
    found = audit_tables(tmp_path, [topic])["tasks"]["topic"]
    assert found["folder"] == str(topic.folder) and topic.labels
    assert tuple(found["splits"]["train"]["labels"]) == topic.labels


def test_a_folder_without_a_table_and_a_wrong_table_are_errors(tmp_path):
    with pytest.raises(InputError, match="has no table of sst, sts"):
        audit_tables(tmp_path, [SST, STS])
    with pytest.raises(InputError, match="is not a folder; --data_dir is the folder with ids-sst-train"):
        audit_tables(tmp_path / "none", [SST])
    write(tmp_path, "sts-dev.csv", "sentence1|sentence2|similarity", "a|b|7.0")
    with pytest.raises(InputError, match=r"sts-dev\.csv:2: similarity is 7\.0"):
        audit_tables(tmp_path, [STS])


def test_the_courses_tables_have_the_overlaps_that_are_known(course):
    tasks = audit_tables(course, list(COURSE_TASKS.values()))["tasks"]
    assert {name: [pair["rows"] for pair in task["shared"]] for name, task in tasks.items()} == {
        "sst": [3, 2, 0], "cfimdb": [0, 0, 0], "quora": [0, 0, 0], "sts": [18, 19, 2],
    }  # fmt: skip
    assert {name: task["conflicts"]["distinct"] for name, task in tasks.items()} == {
        "sst": 0, "cfimdb": 0, "quora": 0, "sts": 14,
    }  # fmt: skip
    assert list(tasks["sst"]["splits"]["train"]["labels"].values()) == [1092, 2218, 1624, 2322, 1288]
    splits = ("train", "dev", "test")
    assert [tasks["sts"]["splits"][split]["rows"] for split in splits] == [6040, 863, 1725]
    assert tasks["quora"]["splits"]["dev"]["without_label"] == 2


def command(folder: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    """The audit in a process in which the import of JAX is an error."""
    environment = harness.without_jax(folder) | {"COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "eval.audit", *map(str, flags)],
        cwd=harness.ROOT, capture_output=True, text=True, timeout=100, env=environment,
    )  # fmt: skip


def test_the_command_prints_the_sample_without_jax_in_80_columns(tmp_path):
    done = command(tmp_path)
    assert done.returncode == 0 and not done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert ["sst", "train", "177", "218", "175", "202", "188"] in lines
    assert "not there" not in done.stdout
    with_json = command(tmp_path, "--json", "--tasks=sst,sts")
    found = audit_tables(SAMPLE, [SST, STS])
    assert json.loads(with_json.stdout) == found and not with_json.stderr
    shared = found["tasks"]["sts"]["shared"][0]
    assert any(line[:4] == ["sts", "dev", "train", str(shared["rows"])] for line in lines)


def test_the_command_says_what_is_missing_and_answers_mistakes_in_one_sentence(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder, "ids-sst-dev.csv", "sentence|sentiment", "FOUR|3", "five|4")
    done = command(tmp_path, f"--data_dir={folder}", "--tasks=sst")
    assert done.returncode == 0 and "not there: ids-sst-train.csv, ids-sst-test-student.csv" in done.stdout
    for flags, said in (
        ([f"--data_dir={folder}", "--tasks=sts"], f"{folder} has no table of sts"),
        (["--tasks=sst,foo"], "'foo', which is no task"),
        ([f"--data_dir={tmp_path / 'none'}"], "is not a folder"),
        (["--jsn"], "--json"),
    ):
        done = command(tmp_path, *flags)
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and said in done.stderr, done.stderr
