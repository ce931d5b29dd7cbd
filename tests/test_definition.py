"""The file that defines a task of one's own: what is wrong with it, and that it is read back as it was written."""

import dataclasses
from pathlib import Path

import pytest

from bert_jax.cli.flags import parse_flags
from bert_jax.definition import define, digest, find_tasks
from bert_jax.errors import InputError
from train.config import TrainConfig
from train.stages import with_recipe

TOPIC = """\
kind = "classification"
texts = ["sentence"]
label = "topic"
labels = ["garden", "money", "music"]
delimiter = ","
files = { train = "train.csv", dev = "dev.csv" }
"""
TABLE = "sentence,topic\nA rose .,garden\nA song .,music\nA bank .,money\n"


def write(folder: Path, definition: str = TOPIC, table: str = TABLE, name: str = "topic") -> Path:
    folder.mkdir(exist_ok=True)
    for split in ("train", "dev"):
        (folder / f"{split}.csv").write_text(table, encoding="utf-8")
    path = folder / f"{name}.toml"
    path.write_text(definition, encoding="utf-8")
    return path


WRONG = {
    "unknown key": (TOPIC + "lables = []\n", "lables: there is no such key (perhaps you meant labels), wanted"),
    "unknown split": (TOPIC.replace("dev =", "val ="), "files.val: there is no such key, wanted are train, dev, test"),
    "no kind": (TOPIC.replace("kind", "id"), 'kind: is missing, wanted is "classification" or'),
    "kind": (TOPIC.replace("classification", "clasification"), "'clasification' (perhaps you meant classification)"),
    "three texts": (TOPIC.replace('["sentence"]', '["a", "b", "c"]'), "texts: is ['a', 'b', 'c'], wanted is a list of"),
    "text no list": (TOPIC.replace('["sentence"]', '"sentence"'), "texts: is 'sentence', wanted is a list of 1 or 2"),
    "same column twice": (TOPIC.replace('["sentence"]', '["a", "a"]'), "texts: both are 'a'"),
    "one text of a pair": (TOPIC.replace("classification", "paraphrase"), "texts: is ['sentence'], wanted"),
    "label is a text": (TOPIC.replace('"topic"', '"sentence"'), "label: 'sentence' is the column of a text"),
    "no labels": (TOPIC.replace("labels", "id"), "labels: is missing, wanted is a list of two or more"),
    "one label": (TOPIC.replace('"garden", "money", ', ""), "labels: is ['music'], wanted is a list of two or more"),
    "mixed labels": (TOPIC.replace('"garden"', "1"), "labels: is [1, 'money', 'music'], wanted"),
    "bool labels": (TOPIC.replace('"garden", "money", "music"', "true, false"), "labels: is [True, False], wanted"),
    "doubled label": (TOPIC.replace("money", "music"), "labels: 'music' stands twice"),
    "max_label": (TOPIC + "max_label = 3\n", "max_label: a classification has none, wanted is labels"),
    "metric": (TOPIC + 'metric = "pearson"\n', "metric: is 'pearson', wanted is \"accuracy\" or \"macro_f1\""),
    "delimiter": (TOPIC.replace('","', '"tab"'), "delimiter: is 'tab', wanted is \"\\t\""),
    "no files": (TOPIC[: TOPIC.index("files")], "files: is missing, wanted is { train = "),
    "no dev": (TOPIC.replace(', dev = "dev.csv"', ""), "files.dev: is missing, wanted is a text in quotes"),
    "same file": (TOPIC.replace('"dev.csv"', '"train.csv"'), "files.dev: is 'train.csv' as files.train is"),
    "empty text": (TOPIC.replace('"topic"', '" "'), "label: is ' ', wanted is a text in quotes"),
    "text over two lines": (TOPIC.replace('"topic"', r'"a\nb"'), r"label: is 'a\nb', wanted is a text in quotes"),
    "no TOML": (TOPIC.replace("kind =", "kind"), "is no TOML: Expected"),
    "too long a number": (TOPIC.replace('"garden"', "1" * 5000), "is no TOML: Exceeds the limit"),
    "nobody's home": (TOPIC + 'folder = "~no-such-user/a"\n', "folder: '~no-such-user/a': Could not determine home"),
    "too deep": ("x = " + "[" * 40000 + "]" * 40000, "is nested too deeply"),
    "too large": ("#" * 200_000, "cannot be read: it has 200,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_definition_is_one_sentence_with_its_key(tmp_path, name):
    definition, message = WRONG[name]
    path = write(tmp_path, definition)
    with pytest.raises(InputError) as caught:
        find_tasks(f"sst,{path}")
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sst", "pooler", "Topic", "my task", "9"])
def test_a_task_has_a_name_of_its_own(tmp_path, name):
    path = write(tmp_path, name=name)
    with pytest.raises(InputError, match="another name" if name in ("sst", "pooler") else "small letters"):
        find_tasks(str(path))


def test_two_tasks_of_one_name_are_an_error(tmp_path):
    with pytest.raises(InputError, match="'topic' more than once"):
        find_tasks(f"{write(tmp_path / 'a')},{write(tmp_path / 'b')}")


@pytest.mark.parametrize(("written", "meant"), [("quara", "quora"), ("stts", "sts"), ("xyz", None)])
def test_a_slip_in_the_name_of_a_task_or_recipe_is_guessed(written, meant):
    with pytest.raises(InputError) as caught:
        find_tasks(f"sst,{written}")
    assert (f"(perhaps you meant {meant})" in str(caught.value)) == (meant is not None)
    with pytest.raises(
        InputError, match=r"^--recipe=in_turn_mml, but it is baseline.*perhaps you meant in_turn_mlm\)$"
    ):
        parse_flags(TrainConfig, "train.main", ["--recipe=in_turn_mml"], with_recipe)


def test_a_definition_is_read_back_as_it_was_written(tmp_path):
    odd = TOPIC.replace('"topic"', '"th\\u00e9 \\"topic\\" \\\\ \U0001f600"') + 'metric = "macro_f1"\nid = "n"\n'
    (task,) = find_tasks(str(write(tmp_path / "here", odd)))
    (tmp_path / "there").mkdir()
    copy = tmp_path / "there" / "topic.toml"
    copy.write_text(define(task), encoding="utf-8")
    (again,) = find_tasks(str(copy))
    assert again == task and again.folder == tmp_path / "here" and digest(again) == digest(task)
    moved = dataclasses.replace(task, folder=tmp_path, files={"train": ("x.csv",), "dev": ("y.csv",)})
    assert digest(moved) == digest(task)  # where the tables are is no part of what a task is
    assert digest(dataclasses.replace(task, labels=("money", "garden", "music"))) != digest(task)
    assert digest(dataclasses.replace(task, metric="accuracy")) != digest(task)
