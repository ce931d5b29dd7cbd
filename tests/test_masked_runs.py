"""Whole runs of masked LM, and the model that each leaves to start from."""

import dataclasses
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from bert_jax.batches.batches import Batches
from bert_jax.batches.corpus import Corpus, make_corpus
from bert_jax.config import ModelConfig
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Folder, Table
from bert_jax.errors import InputError, Interrupted, StorageError
from bert_jax.heads import init_params
from bert_jax.tasks import MASKED_LM, TASKS, Split
from bert_jax.weights.folder import load_weights
from tests.builders import THREE, TINY
from tests.test_commands import assert_one_sentence, command
from tests.test_run import TOKENIZER, assert_same_bytes, log_without_times, train_here
from train.config import TrainConfig
from train.devices.parallel import Parallel
from train.inputs import SPLITS, Inputs, read_inputs, read_split, read_texts
from train.resolve import resolve, run_name
from train.run import plan_run
from train.runs.folder import RunDir, write_model
from train.step import TrainState

BERT = dataclasses.replace(TINY, vocab_size=len(TOKENIZER.vocab), num_hidden_layers=1)


def small_inputs(run_dir: Path, **settings) -> Inputs:
    """20 texts on a very small model: 3 batches an epoch."""
    common = dict(mode="mlm", tasks="sst", run_dir=run_dir, batch_size=8, epochs=2, log_every=2, devices=1)
    common["row_length"] = 256  # one shape
    config = resolve(TrainConfig(**common | settings))  # type: ignore[arg-type]
    texts: dict[Split, Table | Corpus] = {}
    for split in SPLITS:
        whole = read_split(Folder(SAMPLE), TASKS["sst"], split, labelled=False)
        texts[split] = make_corpus([Table(whole.path, whole.examples[:20], 0)], [])
    return Inputs(config, {MASKED_LM: texts}, BERT, TOKENIZER, None, "a test model")


def run_small(run_dir: Path, inputs: Inputs | None = None, **settings) -> TrainState:
    return train_here(inputs or small_inputs(run_dir, **settings))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[TrainState, Path]:
    run_dir = tmp_path_factory.mktemp("whole")
    return run_small(run_dir), run_dir


def test_a_resumed_run_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    state, run_dir = uninterrupted
    assert int(state.step) == 6  # 2 epochs of 3
    assert int(run_small(tmp_path, max_steps=4).step) == 4  # in the middle of the second
    assert_same_bytes(state, run_small(tmp_path))
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (run_dir / "model" / name).read_bytes()


def test_an_interrupted_run_saves_and_goes_on_to_the_same_bytes(uninterrupted, tmp_path, monkeypatch):
    def getitem(self, asked, get=Batches.__getitem__):
        if len(self) == 6 and asked == 4:
            signal.raise_signal(signal.SIGTERM)
        return get(self, asked)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__getitem__", getitem)
        with pytest.raises(Interrupted, match="SIGTERM after 5 of 6 updates"):
            run_small(tmp_path)
    assert not (tmp_path / "model").exists()
    assert_same_bytes(uninterrupted[0], run_small(tmp_path))
    assert log_without_times(tmp_path) == log_without_times(uninterrupted[1])


def test_runs_are_judged_on_the_same_masks_whatever_their_seed(uninterrupted, tmp_path):
    one, other = (plan_run(small_inputs(tmp_path, seed=seed), Parallel(1)) for seed in (1, 2))
    for number in range(len(one.dev[MASKED_LM])):
        a, b = (plan.dev[MASKED_LM][number] for plan in (one, other))
        assert jax.tree.all(jax.tree.map(np.array_equal, a, b)) and np.any(a.weights)
    trained = [plan.batches["mlm"][0] for plan in (one, other)]
    assert not np.array_equal(trained[0].token_ids, trained[1].token_ids)
    lines = [line for line in log_without_times(uninterrupted[1]) if "dev" in line]
    assert [set(line["dev"]["mlm"]) for line in lines] == [{"accuracy", "perplexity", "masked"}] * 2
    assert lines[1]["score"] == lines[1]["dev"]["mlm"]["accuracy"]


def given_inputs(run_dir: Path, max_steps: int) -> Inputs:
    """A run from weights with a pooler and without a head."""
    model = ModelConfig(bert=BERT)
    weights = {part: init_params(model, THREE, seed=9)[part] for part in ("bert", "pooler")}
    inputs = small_inputs(run_dir, init="given", max_steps=max_steps, lr=1e-3)
    return dataclasses.replace(inputs, weights=weights)


def test_a_run_leaves_the_model_that_it_ended_with_and_the_pooler_that_it_was_given(tmp_path):
    model = tmp_path / "model"
    for stop in (3, 6):  # the second takes the place of the first
        state = run_small(tmp_path, given_inputs(tmp_path, stop))
        given = given_inputs(tmp_path, stop).weights
        bert, params = load_weights(model)
        assert bert == BERT and set(params) == {"bert", "pooler", "mlm"} and given is not None
        for part, tree in {"pooler": given["pooler"], **state.params}.items():
            assert jax.tree.all(jax.tree.map(np.array_equal, params[part], tree))
    assert not np.array_equal(params["mlm"]["dense"]["bias"], np.zeros(16))
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    assert set(before) == {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}
    for leftover in ("model.old", "model.unfinished"):  # of one that was killed
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "half").write_text("a file")
    run_small(tmp_path, given_inputs(tmp_path, 6))
    assert [path.name for path in tmp_path.glob("model*")] == ["model"]
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_model_that_cannot_be_written_is_an_error_and_leaves_the_one_before(uninterrupted, tmp_path, monkeypatch):
    run = RunDir(tmp_path, "")
    params = uninterrupted[0].params
    write_model(run, BERT, params, TOKENIZER)
    before = (run.model / "model.safetensors").read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise safetensors.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(StorageError, match="model cannot be written: I/O error: No space"):
        write_model(run, BERT, jax.tree.map(lambda x: x + 1, params), TOKENIZER)
    assert (run.model / "model.safetensors").read_bytes() == before


def test_a_run_starts_from_the_model_that_another_left(uninterrupted):
    init = str(uninterrupted[1] / "model")
    tasks = read_inputs(resolve(TrainConfig(init=init, tasks="sst")))
    assert tasks.weights is not None and set(tasks.weights) == {"bert"} and tasks.source.endswith("a random pooler")
    again = read_inputs(resolve(TrainConfig(init=init, tasks="sst", mode="mlm")))
    assert again.weights is not None and set(again.weights) == {"bert", "mlm"} and again.source.endswith("/model")
    assert (again.weights["mlm"]["bias"] == np.asarray(uninterrupted[0].params["mlm"]["bias"])).all()
    assert tasks.tokenizer == again.tokenizer == TOKENIZER


def test_texts_of_every_tasks_dev_and_test_tables_are_held_out_and_judged_are_those_of_the_tasks_named(tmp_path):
    config = TrainConfig(mode="mlm", tasks="sst", data_dir=tmp_path, vocab=SAMPLE)
    for path in SAMPLE.glob("*.csv"):
        shutil.copy(path, tmp_path)

    def texts(name: str) -> list[str]:
        return [line.split("\t")[2] for line in (tmp_path / name).read_text().splitlines()[1:]]

    first, second, third = texts("ids-sst-train.csv")[:3]
    header = "\tid\tsentence1\tsentence2\n"
    (tmp_path / "quora-test-student.csv").write_text(f"{header}0\ta\tSomething else .\t{first}\n")
    (tmp_path / "sts-dev.csv").write_text(f"{header}0\ta\t{second.upper()}\tSomething else .\n")
    with (tmp_path / "ids-sst-dev.csv").open("a") as file:
        file.write(f"0\tnew\t{third}\t\n")  # without a label
    inputs = read_inputs(resolve(config))
    corpus, dev = inputs.tables[MASKED_LM]["train"], inputs.tables[MASKED_LM]["dev"]
    left = {example.texts[0] for example in corpus.examples}
    assert not {first, second, third} & left and len(left) > 900
    assert {example.texts[0] for example in dev.examples} == set(texts("ids-sst-dev.csv"))
    names = {"ids-sst-train.csv", "ids-sst-dev.csv", "ids-sst-test-student.csv", "quora-dev.csv"}
    assert names < set(inputs.hashes) and "quora-train.csv" not in inputs.hashes
    (tmp_path / "ids-sst-train.csv").write_text(f"\tid\tsentence\tsentiment\n0\ta\t{first}\t1\n")
    with pytest.raises(InputError, match="leaves no text of the train tables for --mode=mlm: 1 in dev or test"):
        read_texts(Folder(tmp_path), [TASKS["sst"]], "train", {})


def test_defaults_and_names_are_those_of_a_masked_lm():
    random, given = resolve(TrainConfig(mode="mlm")), resolve(TrainConfig(mode="mlm", init="x", seed=1))
    assert (random.training.lr, given.training.lr, given.training.epochs) == (1e-3, 5e-5, 4)
    assert (str(random.run.run_dir), str(given.run.run_dir)) == ("runs/mlm", "runs/mlm-init=x-seed=1")
    names = {init: run_name(TrainConfig(init=init)) for init in ("runs/mlm/model/", "model", "./model", "owner/name")}
    assert list(names.values()) == ["mtdnn-init=mlm", "mtdnn-init=model", "mtdnn-init=model", "mtdnn-init=name"]


def test_the_commands_on_a_masked_lm_say_what_to_do_with_it(tmp_path):
    run_dir = tmp_path / "run"
    done = command("train.main", "--mode=mlm", f"--run_dir={run_dir}", "--max_steps=3")
    assert done.returncode == 0, done.stderr
    assert "mlm accuracy 0.091  mlm perplexity " in done.stderr
    for part in ("15% of the tokens masked", "in dev or test tables", "perplexity", f"--init={run_dir}/model"):
        assert part in done.stdout
    scored = command("eval.main", f"--run_dir={run_dir}")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(" mlm     811 ")]
    assert scored.returncode == 0 and line in scored.stdout, scored.stderr
    done = command("eval.predict", f"--run_dir={run_dir}", "--task=sst", stdin="a\n")
    assert_one_sentence(done, 2, "is a masked LM, which gives texts no labels", f"--init={run_dir}/model")
    flags = ("--max_steps=1", f"--run_dir={tmp_path / 'tasks'}", "--tasks=sst")
    done = command("train.main", f"--init={run_dir}/model", *flags)
    assert done.returncode == 0 and "with a random pooler" in done.stdout, done.stderr
