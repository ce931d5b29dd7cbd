"""Whole runs, small ones: resuming, interrupting, counting compilations."""

import dataclasses
import json
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Table, find_file, read_table
from bert_jax.errors import DivergedError, Interrupted, WeightsError
from bert_jax.heads import init_params
from bert_jax.tasks import TASKS
from bert_jax.tokenizer import read_tokenizer
from tests.builders import TINY
from train.checkpoint import Checkpoints
from train.config import TrainConfig, resolve
from train.inputs import SPLITS, Inputs
from train.interrupt import Interrupt
from train.run import train
from train.rundir import RunDir, best_entry, model_config, start_run
from train.step import TrainState

TOKENIZER = read_tokenizer(SAMPLE)
BERT = dataclasses.replace(TINY, vocab_size=len(TOKENIZER.vocab))


def small_inputs(run_dir: Path, **settings) -> Inputs:
    """Two tasks of 20 and 12 rows on a very small model: 3 and 2 batches an epoch."""
    common = dict(tasks="sst,sts", run_dir=run_dir, batch_size=8, epochs=2, log_every=2, devices=1)
    config = resolve(TrainConfig(**common | settings))  # type: ignore[arg-type]
    tables = {}
    for name, rows in (("sst", 20), ("sts", 12)):
        task = TASKS[name]
        whole = {split: read_table(find_file(SAMPLE, task, split), task, labelled=True) for split in SPLITS}
        tables[task] = {split: Table(table.path, table.examples[:rows], 0) for split, table in whole.items()}
    return Inputs(config, tables, BERT, TOKENIZER, None, "a test model")


def leaves(state: TrainState) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves((state.params, state.opt_state, state.step))]


def assert_same_bytes(one: TrainState, other: TrainState) -> None:
    for a, b in zip(leaves(one), leaves(other), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


def dev_lines(run_dir: Path) -> list[dict]:
    return [entry for entry in map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines()) if "dev" in entry]


def log_without_times(run_dir: Path) -> list[dict]:
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[TrainState, Path]:
    run_dir = tmp_path_factory.mktemp("whole")
    return train(small_inputs(run_dir)), run_dir


def test_a_resumed_run_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    state, run_dir = uninterrupted
    assert int(state.step) == 12  # 2 epochs of 3 rounds of 2 tasks
    for stop in (4, 9):  # in the middle of an epoch, after and before an epoch's end
        assert int(train(small_inputs(tmp_path, max_steps=stop)).step) == stop
    assert_same_bytes(state, train(small_inputs(tmp_path)))
    ends = [entry for entry in dev_lines(tmp_path) if entry["step"] in (6, 12)]
    assert ends == dev_lines(run_dir)


def test_an_interrupted_run_saves_and_goes_on_to_the_same_bytes(uninterrupted, tmp_path, monkeypatch):
    made = 0

    def interrupting(self, state, score=None, save=Checkpoints.save):
        nonlocal made
        made += 1
        save(self, state, score)

    monkeypatch.setattr(Checkpoints, "save", interrupting)
    from bert_jax.data.batches import Batches

    def getitem(self, number, get=Batches.__getitem__):
        if self.encoded.texts == 2 and len(self) == 6 and number == 1:  # the second training batch of sts
            signal.raise_signal(signal.SIGTERM)
        return get(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__getitem__", getitem)
        with pytest.raises(Interrupted, match="SIGTERM after 4 of 12 updates"):
            train(small_inputs(tmp_path))
    assert made == 1 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert_same_bytes(uninterrupted[0], train(small_inputs(tmp_path)))
    assert log_without_times(tmp_path) == log_without_times(uninterrupted[1])


def test_a_second_run_of_a_finished_one_trains_nothing(uninterrupted, capsys):
    state, run_dir = uninterrupted
    before = (run_dir / "metrics.jsonl").read_text()
    assert_same_bytes(state, train(small_inputs(run_dir)))
    assert "This run is complete" in capsys.readouterr().out
    assert (run_dir / "metrics.jsonl").read_text() == before


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_saved(tmp_path):
    with pytest.raises(DivergedError, match=r"the loss of s\w+ is (nan|inf) at update \d+; a smaller --lr"):
        train(small_inputs(tmp_path, lr=9.9, scheduler="in_turn", weight_decay=0.9, epochs=60))
    for step in (path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()):
        like = init_params(model_config(small_inputs(tmp_path).config, BERT), tuple(small_inputs(tmp_path).tables), 0)
        saved = Checkpoints(tmp_path / "checkpoints", read_only=True).restore_params(int(step), like)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved))


def test_a_baseline_is_judged_by_the_task_that_it_trains(tmp_path):
    train(small_inputs(tmp_path, scheduler="baseline", epochs=1))
    (line,) = dev_lines(tmp_path)
    assert line["score"] == line["dev"]["sst"]["accuracy"] and "pearson" in line["dev"]["sts"]


def test_what_was_asked_for_in_vain_is_said(tmp_path, capsys):
    train(small_inputs(tmp_path, max_steps=2))
    train(small_inputs(tmp_path, max_steps=2))
    assert "This run is at update 2 of 12 already" in capsys.readouterr().out


def test_a_signal_that_the_shell_told_to_ignore_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert interrupt.signal_name is None
            signal.raise_signal(signal.SIGTERM)
            assert interrupt.signal_name == "SIGTERM"
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_compiles_each_task_once_a_shape(tmp_path, capsys):
    train(small_inputs(tmp_path, row_length=512))  # one shape a task: 2 train steps, 2 predict steps
    assert "4 programs compiled" in capsys.readouterr().out


def test_another_run_in_the_same_folder_is_refused_with_what_changed(uninterrupted):
    with pytest.raises(WeightsError, match=r"other settings: lr: 0\.001 -> 0\.5;"):
        train(small_inputs(uninterrupted[1], lr=0.5))


def test_other_tables_in_the_same_folder_are_refused(uninterrupted):
    inputs = small_inputs(uninterrupted[1])
    with pytest.raises(WeightsError, match=r"ids-sst-dev\.csv"):
        start_run(inputs.config, BERT, TOKENIZER, inputs.hashes | {"ids-sst-dev.csv": "0"})


def test_the_newest_two_and_the_best_checkpoint_are_kept_whatever_the_score(tmp_path):
    state = TrainState(jax.numpy.int32(0), {"bert": {"x": np.ones(2, np.float32)}}, {"bert": np.zeros(2)})
    checkpoints = Checkpoints(tmp_path)
    for step, score in enumerate([0.1, 0.9, float("nan"), 0.3, None, 0.2], start=1):
        checkpoints.save(state.replace(step=np.int32(step)), score)
    assert sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()) == [2, 5, 6]
    assert checkpoints.best_step() == 2 and checkpoints.latest_step() == 6
    checkpoints.save(state.replace(step=np.int32(7)), 0.9)
    assert checkpoints.best_step() == 7  # the later of equals
    checkpoints.close()


def test_the_best_entry_of_the_log_is_the_best_checkpoint(uninterrupted):
    _, run_dir = uninterrupted
    checkpoints = Checkpoints(run_dir / "checkpoints", read_only=True)
    best = best_entry(RunDir(run_dir))
    assert best is not None and best["step"] == checkpoints.best_step()


def test_four_devices_train_to_what_one_device_does(uninterrupted, tmp_path):
    """Adam amplifies rounding, so the losses are compared, not the parameters (test_step.py does those with SGD)."""
    train(small_inputs(tmp_path, devices=4))
    one, four = ([json.loads(line) for line in (d / "metrics.jsonl").read_text().splitlines()]
                 for d in (uninterrupted[1], tmp_path))  # fmt: skip
    for a, b in zip(one, four, strict=True):
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], abs=1e-3)
