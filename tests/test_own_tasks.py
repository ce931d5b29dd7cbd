"""Tasks of one's own: their files, their tables, and how a run knows them again."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Example
from bert_jax.definition import find_tasks, plain_names
from bert_jax.errors import InputError, WeightsError
from bert_jax.heads import init_params
from bert_jax.tasks import TASKS
from bert_jax.weights.folder import load_weights, save_model
from eval.answers import in_words
from eval.submission import format_predictions
from tests.builders import TINY, begin, tiny_model
from tests.test_commands import assert_one_sentence, command
from tests.test_definition import TABLE, TOPIC, write
from train.config import TrainConfig
from train.inputs import find_source, read_inputs, read_split
from train.resolve import resolve
from train.runs.folder import open_folder
from train.stages import resolve_stages

ROOT = Path(__file__).parent.parent


def examples(path: Path) -> list[Example]:
    (task,) = find_tasks(str(path))
    return read_split(find_source(TrainConfig().tables), task, "train").examples


def test_words_are_labels_in_the_order_of_the_file(tmp_path):
    rows = examples(write(tmp_path))
    assert [(row.id, row.texts, row.label) for row in rows] == [
        ("line-2", ("A rose .",), 0.0),
        ("line-3", ("A song .",), 2.0),
        ("line-4", ("A bank .",), 1.0),
    ]


def test_whole_numbers_are_labels_too_and_need_not_begin_at_0(tmp_path):
    definition = TOPIC.replace('["garden", "money", "music"]', "[5, 1, 2]")
    rows = examples(write(tmp_path, definition, "sentence,topic\na,5\nb,1.0\nc,2\n"))
    assert [row.label for row in rows] == [0.0, 1.0, 2.0]
    with pytest.raises(InputError, match=r"train.csv:2: topic is '3', none of 5, 1, 2"):
        examples(write(tmp_path, definition, "sentence,topic\na,3\n"))


def test_whole_numbers_are_told_apart_where_a_float_would_not(tmp_path):
    definition = TOPIC.replace('["garden", "money", "music"]', "[9007199254740992, 9007199254740993]")
    rows = examples(write(tmp_path, definition, "sentence,topic\na,9007199254740993\nb,9007199254740992.0\n"))
    assert [row.label for row in rows] == [1.0, 0.0]


def test_a_folder_whose_name_is_not_utf_8_is_said(tmp_path):
    path = write(tmp_path / os.fsdecode(b"a\xff"))
    with pytest.raises(InputError, match=r"folder: .* is not UTF-8"):
        find_tasks(str(path))


def test_a_word_that_is_no_label_is_an_error_with_its_line(tmp_path):
    path = write(tmp_path, table=TABLE + "A pillow .,sleep\n")
    with pytest.raises(InputError, match=r"train.csv:5: topic is 'sleep', none of 'garden', 'money', 'music'"):
        examples(path)


def test_pairs_ids_and_tabs(tmp_path):
    definition = """
kind = "similarity"
texts = ["first", "second"]
label = "alike"
max_label = 1
metric = "spearman"
id = "number"
files = { train = "train.csv", dev = "dev.csv", test = "none.csv" }
"""
    path = write(tmp_path, definition, "number\tsecond\tfirst\talike\nx7\tb\ta\t0.25\n")
    (row,) = examples(path)
    assert (row.id, row.texts, row.label) == ("x7", ("a", "b"), 0.25)
    (task,) = find_tasks(str(path))
    assert task.metric == "spearman" and task.is_pair and task.num_outputs == 1
    assert not find_source(TrainConfig().tables).has(task, "test")
    with pytest.raises(InputError, match=r"alike is 1\.5, outside 0 to 1"):
        examples(write(tmp_path, definition, "number\tsecond\tfirst\talike\nx7\tb\ta\t1.5\n"))


def test_the_other_separator_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"there is no column 'sentence'; found 'sentence\\ttopic', separated by ','"):
        examples(write(tmp_path, table=TABLE.replace(",", "\t")))


def test_a_run_knows_its_task_when_the_file_has_gone(tmp_path):
    path = write(tmp_path / "mine")
    begin(TrainConfig(tasks=f"sst,{path}", run_dir=tmp_path / "run"))
    fingerprint = open_folder(tmp_path / "run")[0].fingerprint
    (tmp_path / "mine").rename(tmp_path / "yours")
    (tmp_path / "yours" / "topic.toml").unlink()
    (tmp_path / "run").rename(tmp_path / "moved")
    run, config, *_ = open_folder(tmp_path / "moved")
    assert run.fingerprint == fingerprint
    assert plain_names(config.tables.tasks) == "sst,topic"
    sst, topic = find_tasks(config.tables.tasks)
    assert sst == TASKS["sst"] and topic.labels == ("garden", "money", "music") and topic.name == "topic"
    with pytest.raises(InputError, match=r"mine is not a folder; wanted is the folder with train\.csv"):
        read_split(find_source(config.tables), topic, "train")
    assert len(read_split(find_source(config.tables, tmp_path / "yours"), topic, "train").examples) == 3


def test_its_tables_are_beside_it_though_the_data_folder_has_files_of_that_name(tmp_path):
    (task,) = find_tasks(str(write(tmp_path / "mine")))
    write(tmp_path / "data", table="sentence,topic\nA drum .,music\n")
    source = find_source(TrainConfig(data_dir=tmp_path / "data").tables)
    assert len(read_split(source, task, "train").examples) == 3
    named = find_source(
        TrainConfig(data_dir=tmp_path / "mine").tables, tmp_path / "data"
    )  # by the flag of an evaluation
    assert len(read_split(named, task, "train").examples) == 1


def test_a_run_goes_on_where_the_file_is_now_and_not_with_another_definition(tmp_path):
    def again(path: Path) -> str:
        begin(TrainConfig(tasks=f"sst,{path}", run_dir=tmp_path / "run"))
        return open_folder(tmp_path / "run")[0].fingerprint

    first = again(write(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert again(tmp_path / "b" / "topic.toml") == first
    assert find_tasks(open_folder(tmp_path / "run")[1].tables.tasks)[1].folder == tmp_path / "b"
    before = (tmp_path / "run" / "config.json").read_text()
    with pytest.raises(WeightsError, match=r"other settings: topic\.toml: "):
        again(write(tmp_path / "b", TOPIC + 'metric = "macro_f1"\n'))
    with pytest.raises(WeightsError, match="other settings: topic/dev: "):
        again(write(tmp_path / "b", table=TABLE + "A tune .,music\n"))
    with pytest.raises(WeightsError, match="other settings: tasks: sst,topic -> sst,other"):
        again(write(tmp_path / "b", name="other"))
    assert (tmp_path / "run" / "config.json").read_text() == before
    assert [path.name for path in (tmp_path / "run" / "tasks").iterdir()] == ["topic.toml"]


def test_a_definition_that_was_changed_in_the_runs_folder_is_an_error(tmp_path):
    begin(TrainConfig(tasks=str(write(tmp_path / "a")), run_dir=tmp_path / "run"))
    path = tmp_path / "run" / "tasks" / "topic.toml"
    text = path.read_text()
    path.write_text(text.replace(str(tmp_path / "a"), "/elsewhere"))  # its tables may move
    assert find_tasks(open_folder(tmp_path / "run")[1].tables.tasks)[0].folder == Path("/elsewhere")
    path.write_text(text.replace('"garden", "money"', '"money", "garden"'))
    with pytest.raises(WeightsError, match=r"tasks/topic\.toml is not as it was when the run was begun"):
        open_folder(tmp_path / "run")
    path.unlink()
    with pytest.raises(WeightsError, match=r"topic\.toml: cannot be read"):
        open_folder(tmp_path / "run")


def test_a_record_cannot_lead_out_of_the_runs_folder(tmp_path):
    begin(TrainConfig(tasks=str(write(tmp_path / "a")), run_dir=tmp_path / "run"))
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["config"]["tasks"] = "../../a/topic"
    record["files"]["../../a/topic.toml"] = record["files"]["topic.toml"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    with pytest.raises(WeightsError, match="no task here"):
        open_folder(tmp_path / "run")


def test_every_stage_of_a_recipe_has_the_task(tmp_path):
    path = write(tmp_path)
    stages = resolve_stages(TrainConfig(recipe="in_turn_mlm", tasks=f"sst,{path}", run_dir=tmp_path / "run"))
    assert [stage.tables.tasks for stage in stages] == [f"sst,{path}"] * 3
    assert len(read_inputs(stages[0]).own) == 1
    assert "topic/train" in read_inputs(stages[0]).hashes  # masked LM reads its texts


def test_its_head_goes_to_the_next_stage_and_back_from_an_export(tmp_path):
    (task,) = find_tasks(str(write(tmp_path)))
    params = init_params(tiny_model(), [task], seed=0)
    save_model(tmp_path / "model", TINY, params, task)
    again = load_weights(tmp_path / "model")[1]
    np.testing.assert_array_equal(again["topic"]["dense"]["kernel"], params["topic"]["dense"]["kernel"])
    assert json.loads((tmp_path / "model" / "config.json").read_text())["id2label"]["1"] == "money"
    shutil.copy(SAMPLE / "vocab.txt", tmp_path / "model")

    path = tmp_path / "model" / "heads.safetensors"
    heads = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(heads | {"heads.topic.bias": np.zeros(4, np.float32)}, path)
    with pytest.raises(WeightsError, match=r"heads\.topic\.bias is \[4\], not \[3\]"):
        load_weights(tmp_path / "model")
    safetensors.numpy.save_file(heads | {"heads.bert.bias": np.zeros(4, np.float32)}, path)
    with pytest.raises(WeightsError, match=r"unexpected: heads\.bert\.bias"):
        load_weights(tmp_path / "model")


def test_a_head_with_other_labels_is_not_taken(tmp_path):
    params = begin(TrainConfig(tasks=str(write(tmp_path)), run_dir=tmp_path / "run"))
    _, _, model, tokenizer = open_folder(tmp_path / "run")
    save_model(tmp_path / "model", model.bert, params)
    tokenizer.save(tmp_path / "model")
    assert read_inputs(resolve(TrainConfig(init=str(tmp_path / "model"), tasks=str(tmp_path / "topic.toml")))).weights
    write(tmp_path, TOPIC.replace('"music"', '"music", "sleep"'))
    with pytest.raises(InputError, match="a head of topic with 3 outputs, but the task has 4"):
        read_inputs(resolve(TrainConfig(init=str(tmp_path / "model"), tasks=str(tmp_path / "topic.toml"))))


def test_predictions_have_the_tables_own_labels(tmp_path):
    (task,) = find_tasks(str(write(tmp_path)))
    logits = np.array([[0.0, 3.0, 0.0], [0.0, 0.0, 9.0]])
    assert in_words(task, logits[0])["label"] == "money"
    assert format_predictions(task, ["a", "b"], logits) == "id \t Predicted_topic \na , money \nb , music \n"


def test_a_run_dir_with_a_comma_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="has a comma in it"):
        begin(TrainConfig(tasks=str(write(tmp_path)), run_dir=tmp_path / "a,b"))


def test_a_wrong_definition_is_answered_at_once_and_the_example_is_right(tmp_path):
    path = write(tmp_path, TOPIC + "lables = 3\n")
    assert_one_sentence(command("train.main", f"--tasks={path}"), 2, f"{path}: lables: ", "perhaps you meant labels")
    assert_one_sentence(command("train.main", "--tasks=none.toml"), 2, "none.toml: cannot be read: No such file")
    (task,) = find_tasks(str(ROOT / "examples" / "topic.toml"))
    source = find_source(TrainConfig().tables)
    sizes = [len(read_split(source, task, split, labelled=split != "test").examples) for split in task.files]
    assert sizes == [160, 48, 32]
    assert len((ROOT / "examples" / "topic.toml").read_text().splitlines()) <= 10
