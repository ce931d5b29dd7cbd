"""TensorFlow Datasets: the same rows as the strict reader's, and public sets as TFDS's own builders make them."""

import csv
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Folder
from bert_jax.data.tfds import Datasets
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, TASKS, Split, Task
from train.config import TrainConfig
from train.inputs import find_source, read_inputs
from train.resolve import RunConfig, resolve

tfds = pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets")
pytest.importorskip("array_record", reason="TFDS without TensorFlow needs array_record")

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
ODD = [
    "",
    " ",
    '"',
    '""',
    'he said "no"',
    "tab\there",
    "naïve 中文 🙂",
    "e\u0301",
    "a\u2028b\u00a0c",
    "\\N",
    "NULL",
]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """TFDS says what it makes; here nobody waits for it."""
    monkeypatch.setattr("termcolor.cprint", lambda *_, **__: None)
    tfds.disable_progress_bar()


def write(path: Path, task: Task, rows: list[tuple[str, tuple[str, ...], str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("", "id", *task.text_columns, task.label_column))
        writer.writerows((n, name, *texts, label) for n, (name, texts, label) in enumerate(rows))


def write_pairs(folder: Path, task: Task, rows: int) -> Path:
    """Random pairs of odd texts with random labels, some without one, as the three tables of a task."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(rows)
    for split in SPLITS:
        table = []
        for number in range(rows):
            label = repr(rng.random() * 5) if task.kind == "similarity" else str(number % 2)
            label = "" if number % 5 == 3 else label
            table.append((f"{split}{number:x}", tuple(rng.choice(ODD, 2).tolist()), label))
        write(folder / task.files[split][0], task, table)
    return folder


def both(tmp_path: Path, tables: Path, task: Task, split: Split, labelled: bool):
    """A split by the strict reader and by TFDS."""
    return [place.read(task, split, labelled) for place in (Folder(tables), Datasets(tmp_path / "tfds", tables, {}))]


@pytest.mark.parametrize("name", ["quora", "sts"])
def test_rows_by_tfds_are_those_of_the_strict_reader_whatever_the_texts_and_the_labels(tmp_path, name):
    tables = write_pairs(tmp_path / "tables", TASKS[name], rows=40)
    for split in SPLITS:
        for labelled in (True, False) if split != "test" else (False,):
            strict, ours = both(tmp_path, tables, TASKS[name], split, labelled)
            assert ours.examples == strict.examples and ours.skipped == strict.skipped == (8 if labelled else 0)


def test_more_rows_than_a_chunk_come_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr("bert_jax.data.tfds.CHUNK", 7)
    tables = write_pairs(tmp_path / "tables", TASKS["sts"], rows=30)
    strict, ours = both(tmp_path, tables, TASKS["sts"], "train", labelled=True)
    assert ours.examples == strict.examples


def test_all_of_the_courses_tables_have_the_same_rows_by_tfds(tmp_path, course):
    for task in COURSE_TASKS.values():
        for split in SPLITS:
            strict, ours = both(tmp_path, course, task, split, labelled=split != "test")
            assert ours.examples == strict.examples and ours.skipped == strict.skipped


def test_tables_that_change_have_new_rows_and_a_new_hash_and_come_back_with_the_old_ones(tmp_path):
    task, tables = TASKS["sts"], write_pairs(tmp_path / "tables", TASKS["sts"], rows=6)
    before = both(tmp_path, tables, task, "train", labelled=True)[1]
    path = tables / task.files["train"][0]
    content = path.read_text()
    path.write_text(content + "9\tnew\tone\ttwo\t2.5\n")
    strict, after = both(tmp_path, tables, task, "train", labelled=True)
    assert after.examples == strict.examples and after.sha256 != before.sha256 and len(after.examples) == 6
    path.write_text(content)
    assert both(tmp_path, tables, task, "train", labelled=True)[1] == before


def test_parts_of_a_split_make_up_the_whole_and_a_run_may_be_judged_on_one(tmp_path):
    task, tables = TASKS["quora"], write_pairs(tmp_path / "tables", TASKS["quora"], rows=33)
    whole = Datasets(tmp_path, tables, {}).read(task, "train", labelled=False).examples
    parts = Datasets(tmp_path, tables, {"train": "train[:80%]", "dev": "train[80%:]"})
    rest = parts.read(task, "dev", labelled=False).examples
    assert parts.read(task, "train", labelled=False).examples + rest == whole and len(rest) == 7


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"dev": "train[80%:]"}, r"'train' and the dev split 'train\[80%:\]' of minbert/quora have 2 rows in common"),
        ({"train": "train+test"}, r"'train\+test' and the test split 'test' of minbert/quora have 10 rows in common"),
        (
            {"train": "trian"},
            r"--train_split=trian is no split of minbert/quora; there are train, validation, test, and",
        ),
        ({"train": "train[:80"}, r"--train_split=train\[:80 is no split"),
        ({"train": "train[:0%]"}, r"^--train_split=train\[:0%\] of minbert/quora has no rows"),
    ],
)
def test_splits_that_share_rows_or_are_none_are_one_sentence(tmp_path, splits, message):
    tables = write_pairs(tmp_path / "tables", TASKS["quora"], rows=10)
    with pytest.raises(InputError, match=message):
        Datasets(tmp_path, tables, splits).read(TASKS["quora"], "train", labelled=True)


def test_a_wrong_or_missing_table_is_the_strict_readers_sentence_and_leaves_nothing_behind(tmp_path):
    task, tables = TASKS["sts"], write_pairs(tmp_path / "tables", TASKS["sts"], rows=3)
    path = tables / task.files["dev"][0]
    path.write_text(path.read_text() + "9\tnew\tone\ttwo\t7\n")
    with pytest.raises(InputError, match=r"^\S*/sts-dev\.csv:5: similarity is 7, outside 0 to 5$"):
        both(tmp_path, tables, task, "train", labelled=False)
    assert not list((tmp_path / "tfds").rglob("*record*"))
    path.unlink()
    with pytest.raises(InputError, match=r"has no sts-dev\.csv"):
        Datasets(tmp_path, tables, {}).read(task, "dev", labelled=True)


def test_the_older_files_are_a_config_of_their_own(tmp_path):
    from bert_jax.data.minbert import Minbert

    (tmp_path / "sst-train.txt").write_text('3 ||| a "good" film\n0 ||| a | bad one\n')
    (tmp_path / "ids-sst-train.csv").write_text("\tid\tsentence\tsentiment\n0\ta\tother\t1\n")
    builder: Any = Minbert(config="sst_cmu", manual_dir=tmp_path, data_dir=tmp_path / "tfds")
    builder.download_and_prepare(file_format="array_record")
    rows = list(builder.as_data_source("train"))
    assert [(row["id"], row["sentence"], float(row["sentiment"])) for row in rows] == [
        (b"line-1", b'a "good" film', 3.0),
        (b"line-2", b"a | bad one", 0.0),
    ]


def small(**settings) -> RunConfig:
    return resolve(TrainConfig(**{"tasks": "sst,quora", "vocab": SAMPLE, **settings}))


def test_a_run_reads_the_same_examples_by_tfds_and_is_another_run_when_a_row_changes(tmp_path):
    manual_dir = tmp_path / "tables"
    shutil.copytree(SAMPLE, manual_dir)
    config = small(data="tfds", manual_dir=manual_dir, tfds_dir=tmp_path / "tfds", subset="quora=0.5")
    ours, strict = read_inputs(config), read_inputs(small(data_dir=SAMPLE, subset="quora=0.5"))
    for task, splits in strict.tables.items():
        for split, table in splits.items():
            assert ours.tables[task][split].examples == table.examples
    assert read_inputs(config).hashes == ours.hashes
    path = manual_dir / "quora-dev.csv"
    path.write_text(path.read_text().replace("?", "!", 1))
    changed = {name for name, sha256 in read_inputs(config).hashes.items() if ours.hashes[name] != sha256}
    assert changed == {"quora-validation"}

    texts = read_inputs(dataclasses.replace(config, mode="mlm", subset=None)).tables
    strict_texts = read_inputs(small(data_dir=SAMPLE, mode="mlm")).tables
    (corpus,), (strict_corpus,) = texts.values(), strict_texts.values()
    assert [row.texts for row in corpus["train"].examples] == [row.texts for row in strict_corpus["train"].examples]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "tfds", "data_dir": Path("d")}, "--data=tfds takes the place of --data_dir"),
        ({"train_split": "train"}, "--train_split=train says how --data=tfds reads tables, and needs it"),
        ({"manual_dir": Path("d")}, "--manual_dir=d says how"),
        ({"data": "tfds", "vocab": None}, "--data=tfds needs --init"),
    ],
)
def test_flags_that_do_not_go_together_are_one_sentence(settings, message):
    with pytest.raises(InputError, match=message):
        small(**settings)


def test_a_task_without_files_needs_tfds(tmp_path):
    with pytest.raises(InputError, match="task qqp has no table among the course's files; --data=tfds reads glue/qqp"):
        read_inputs(small(tasks="sst,qqp"))
    source = find_source(small(data="tfds").tables, data_dir=SAMPLE)
    assert source == Folder(SAMPLE, replaces=True)  # a folder that is named stands in the place of TFDS


def test_tfds_is_imported_only_for_it(tmp_path):
    script = (
        "import sys; from train.resolve import *; from train.inputs import read_inputs, find_source;"
        "read_inputs(resolve(TrainConfig())); find_source(TrainConfig(data='tfds').tables);"
        "sys.exit(int(any(name.startswith(('tensorflow', 'array_record')) for name in sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent.parent, check=False).returncode == 0
