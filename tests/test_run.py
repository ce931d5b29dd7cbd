"""Whole runs, small ones: resuming, interrupting, counting compilations."""

import dataclasses
import json
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from bert_jax.batches.batches import Batches
from bert_jax.batches.tokenizer import read_tokenizer
from bert_jax.cli.interrupt import Interrupt
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Table, find_file, read_table
from bert_jax.errors import DivergedError, Interrupted
from bert_jax.tasks import TASKS
from tests.builders import TINY
from train.config import TrainConfig
from train.inputs import SPLITS, Inputs
from train.resolve import resolve
from train.run import train
from train.runs.checkpoint import restore_params
from train.runs.folder import open_folder, start_run
from train.runs.log import best_entry
from train.runs.manifest import read_manifest
from train.step import TrainState, is_usable

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


def train_here(inputs: Inputs) -> TrainState:
    """Trains as the command does, in this process."""
    with (
        Interrupt() as interrupt,
        start_run(inputs.config, inputs.bert, inputs.tokenizer, inputs.hashes, inputs.checkpoint_bytes) as run,
    ):
        return train(inputs, run, interrupt)


def run_small(run_dir: Path, **settings) -> TrainState:
    return train_here(small_inputs(run_dir, **settings))


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
    return run_small(run_dir), run_dir


def test_a_resumed_run_equals_an_uninterrupted_one(uninterrupted, tmp_path):
    state, run_dir = uninterrupted
    assert int(state.step) == 12  # 2 epochs of 3 rounds of 2 tasks
    for stop in (4, 9):  # in the middle of an epoch, after and before an epoch's end
        assert int(run_small(tmp_path, max_steps=stop).step) == stop
    assert_same_bytes(state, run_small(tmp_path))
    ends = [entry for entry in dev_lines(tmp_path) if entry["step"] in (6, 12)]
    assert ends == dev_lines(run_dir)


def signal_at_batch(monkeypatch, task_texts: int, batches: int, number: int) -> None:
    """SIGTERM when this batch of the task with so many texts and batches is asked for."""

    def getitem(self, asked, get=Batches.__getitem__):
        if self.encoded.texts == task_texts and len(self) == batches and asked == number:
            signal.raise_signal(signal.SIGTERM)
        return get(self, asked)

    monkeypatch.setattr(Batches, "__getitem__", getitem)


def test_an_interrupted_run_saves_and_goes_on_to_the_same_bytes(uninterrupted, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        signal_at_batch(patch, task_texts=2, batches=6, number=1)  # the second training batch of sts
        with pytest.raises(Interrupted, match="SIGTERM after 4 of 12 updates"):
            run_small(tmp_path)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["4"]
    assert_same_bytes(uninterrupted[0], run_small(tmp_path))
    assert log_without_times(tmp_path) == log_without_times(uninterrupted[1])


def test_an_interrupted_evaluation_is_done_again(uninterrupted, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        signal_at_batch(patch, task_texts=2, batches=2, number=0)  # the first dev batch of sts
        with pytest.raises(Interrupted, match="SIGTERM after 6 of 12 updates"):
            run_small(tmp_path)
    assert dev_lines(tmp_path) == []
    assert_same_bytes(uninterrupted[0], run_small(tmp_path))
    assert log_without_times(tmp_path) == log_without_times(uninterrupted[1])
    manifests = [read_manifest(d / "checkpoints" / "6") for d in (tmp_path, uninterrupted[1])]
    assert manifests[0].evaluated and manifests[0].score == manifests[1].score


def test_a_second_run_of_a_finished_one_trains_nothing(uninterrupted, capsys):
    state, run_dir = uninterrupted
    before = (run_dir / "metrics.jsonl").read_text()
    assert_same_bytes(state, run_small(run_dir))
    assert "This run is complete" in capsys.readouterr().out
    assert (run_dir / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize("less", [{"max_steps": 3}, {"epochs": 1}, {"epochs": 1, "max_steps": 2}], ids=str)
def test_a_run_is_never_made_shorter_than_it_is(uninterrupted, capsys, less):
    state, run_dir = uninterrupted
    before = (run_dir / "metrics.jsonl").read_text()
    assert_same_bytes(state, run_small(run_dir, **less))
    said = capsys.readouterr().out
    assert ("12 are done already, more than 1 epoch of 6" if "epochs" in less else "12, going on after 12") in said
    assert "This run is complete" in said and "dev, best checkpoint" in said
    assert (run_dir / "metrics.jsonl").read_text() == before
    assert_same_bytes(state, run_small(run_dir))


def test_a_run_that_is_told_to_stop_earlier_than_it_has_is_judged_where_it_is(uninterrupted, tmp_path, capsys):
    run_small(tmp_path, max_steps=4)
    assert int(run_small(tmp_path, max_steps=3).step) == 4
    assert "This run is at update 4 of 12 already" in capsys.readouterr().out
    assert_same_bytes(uninterrupted[0], run_small(tmp_path))


def poison(monkeypatch, *spoilt: tuple[int, int], value: float = float("nan")) -> None:
    """Gives training batches, by (texts an example, number), weights that spoil their loss and gradient."""

    def getitem(self, number, get=Batches.__getitem__):
        batch = get(self, number)
        trains = len(self) >= 6  # a dev split has fewer batches
        hit = trains and (self.encoded.texts, number) in spoilt
        return batch.replace(weights=np.where(batch.weights > 0, np.float32(value), batch.weights)) if hit else batch

    monkeypatch.setattr(Batches, "__getitem__", getitem)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_update_without_a_finite_loss_is_skipped_and_counted(tmp_path, monkeypatch, capsys, value):
    poison(monkeypatch, (2, 1), value=value)
    state = run_small(tmp_path)
    assert int(state.step) == 12 and all(np.isfinite(leaf).all() for leaf in leaves(state))
    assert int(state.opt_state["bert"][0].count) == 11  # Adam has not seen it
    skipped = [line for line in log_without_times(tmp_path) if "skipped" in line]
    assert skipped == [{"step": 4, "skipped": "sts", "why": "the loss of sts is nan", "in_all": {"sts": 1}}]
    assert "step 4  the loss of sts is nan: update skipped" in capsys.readouterr().err


def test_three_skipped_updates_in_a_row_end_the_run_even_if_it_was_resumed_between(tmp_path, monkeypatch):
    common = dict(scheduler="in_turn", epochs=3)  # in each epoch sst 3 times, then sts twice
    with monkeypatch.context() as patch:
        poison(patch, (2, 0), (2, 1), (1, 4))  # two in a row, and one a little later
        assert int(run_small(tmp_path / "two", **common, max_steps=9).step) == 9
    poison(monkeypatch, (2, 0), (2, 1), (1, 3))
    run_small(tmp_path / "three", **common, max_steps=5)
    with pytest.raises(DivergedError, match="the loss of sst is nan at update 6, the third in a row to be skipped"):
        run_small(tmp_path / "three", **common)
    assert sorted(path.name for path in (tmp_path / "three" / "checkpoints").iterdir()) == ["5"]


def test_a_gradient_that_adam_could_not_square_is_no_better_than_nan():
    fine = {"x": np.array([1e18, -1e18], np.float32)}
    assert is_usable(jax.numpy.float32(0), fine)
    for loss, worst in ((0, 1e20), (0, np.nan), (0, -np.inf), (np.nan, 0), (np.inf, 0)):
        assert not is_usable(jax.numpy.float32(loss), {**fine, "y": np.array([worst], np.float32)})


def test_a_baseline_is_judged_by_the_task_that_it_trains(tmp_path):
    run_small(tmp_path, scheduler="baseline", epochs=1)
    (line,) = dev_lines(tmp_path)
    assert line["score"] == line["dev"]["sst"]["accuracy"] and "pearson" in line["dev"]["sts"]


def test_what_was_asked_for_in_vain_is_said(tmp_path, capsys):
    run_small(tmp_path, max_steps=2)
    run_small(tmp_path, max_steps=2)
    assert "This run is at update 2 of 12 already" in capsys.readouterr().out


def test_a_signal_that_the_shell_told_to_ignore_stays_ignored(monkeypatch):
    left = []
    monkeypatch.setattr("os._exit", left.append)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before_int = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            interrupt.check()
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Interrupted, match="SIGTERM"):
                interrupt.check()
            signal.raise_signal(signal.SIGINT)
            assert left == [130]  # a second one does not wait
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGINT, before_int)


def test_a_run_compiles_each_task_once_a_shape(tmp_path, capsys):
    run_small(tmp_path, row_length=512)  # one shape a task: 2 train steps, 2 predict steps
    assert "4 programs compiled" in capsys.readouterr().out


def test_the_best_entry_of_the_log_is_the_best_checkpoint(uninterrupted):
    state, run_dir = uninterrupted
    _, _, model, _ = open_folder(run_dir)
    step, params = restore_params(
        run_dir / "checkpoints", open_folder(run_dir)[0].fingerprint, model, (TASKS["sst"], TASKS["sts"]), "best"
    )
    best = best_entry(run_dir / "metrics.jsonl")
    assert best is not None and best["step"] == step
    if step == 12:
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, dict(state.params)))


def test_four_devices_train_to_what_one_device_does(uninterrupted, tmp_path):
    """Adam amplifies rounding, so the losses are compared, not the parameters (test_step.py does those with SGD)."""
    run_small(tmp_path, devices=4)
    one, four = ([json.loads(line) for line in (d / "metrics.jsonl").read_text().splitlines()]
                 for d in (uninterrupted[1], tmp_path))  # fmt: skip
    for a, b in zip(one, four, strict=True):
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], abs=1e-3)
