"""The folder of a run: whose it is, what may change in it, and who works in it."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from bert_jax.batches.tokenizer import read_tokenizer
from bert_jax.config import BertConfig
from bert_jax.data.sample import SAMPLE
from bert_jax.errors import InputError, InUseError, StorageError, WeightsError
from train.config import TrainConfig
from train.resolve import resolve
from train.runs.folder import open_folder, start_run
from train.runs.lock import locked
from train.runs.log import append, best_entry, keep_until

TOKENIZER = read_tokenizer(SAMPLE)
BERT = BertConfig(vocab_size=len(TOKENIZER.vocab))
FILES = {"a.csv": "1", "vocab.txt": "2"}


def begin(path: Path, files: dict[str, str] = FILES, checkpoint_bytes: int = 0, **settings) -> str:
    with start_run(resolve(TrainConfig(run_dir=path, **settings)), BERT, TOKENIZER, files, checkpoint_bytes) as run:
        return run.fingerprint


def begin_and_train(path: Path) -> str:
    fingerprint = begin(path)
    append(path / "metrics.jsonl", {"step": 50, "loss": {}})
    return fingerprint


def test_a_run_goes_on_with_settings_that_do_not_change_it(tmp_path):
    first = begin_and_train(tmp_path)
    assert begin(tmp_path, epochs=9, max_steps=3, devices=1, log_every=7, save_every=2, save_minutes=1.0) == first
    assert open_folder(tmp_path)[0].fingerprint == first and open_folder(tmp_path)[1].training.epochs == 9
    tmp_path.rename(tmp_path.with_name("moved"))
    assert begin(tmp_path.with_name("moved")) == first


@pytest.mark.parametrize("change", [{"lr": 0.5}, {"seed": 1}, {"batch_size": 8}, {"tasks": "sst"}, {"max_length": 64}])
def test_a_run_does_not_go_on_with_settings_that_change_it(tmp_path, change):
    begin_and_train(tmp_path)
    (name,) = change
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(WeightsError, match=rf"other settings: {name}: .* -> {change[name]};"):
        begin(tmp_path, **change)
    assert (tmp_path / "config.json").read_text() == before


def test_the_folder_of_a_run_that_never_began_is_free_for_another(tmp_path):
    begin(tmp_path)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "topic.toml").write_text("of the first one")
    assert begin(tmp_path, lr=0.5) == open_folder(tmp_path)[0].fingerprint
    assert open_folder(tmp_path)[1].training.lr == 0.5 and not (tmp_path / "tasks").exists()
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"other settings: lr: 0\.5 -> 0\.25"):
        begin(tmp_path, lr=0.25)


def test_a_folder_of_runs_names_one_of_them(tmp_path):
    begin(tmp_path / "runs")
    (tmp_path / "runs").rename(tmp_path / "b")
    (tmp_path / "a" / "1-mlm").mkdir(parents=True)
    with pytest.raises(InputError, match=f"is no run: .*; it holds some, such as {tmp_path / 'a'}$"):
        open_folder(tmp_path)
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(InputError, match=f"such as {tmp_path / 'b'}$"):
        open_folder(tmp_path)


def test_other_tables_or_weights_are_another_run(tmp_path):
    begin_and_train(tmp_path)
    with pytest.raises(WeightsError, match=r"other settings: a\.csv: 1 -> 0"):
        begin(tmp_path, files=FILES | {"a.csv": "0"})
    with pytest.raises(WeightsError, match="weights: None -> 3"):
        begin(tmp_path, files=FILES | {"weights": "3"})


def test_other_versions_are_said_and_no_error(tmp_path, capsys):
    begin_and_train(tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    record["versions"]["jax"] = "0.1"
    (tmp_path / "config.json").write_text(json.dumps(record))
    begin(tmp_path)
    assert "begun with other versions (jax: 0.1 -> " in capsys.readouterr().err


def test_a_run_needs_a_folder_that_it_can_have(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for name, error, text in (
        ("file", StorageError, "is a file"),
        ("dangling", StorageError, "is a link to .*nowhere, which does not exist"),
        ("no/parent", StorageError, "there is no folder .*/no"),
        ("full", InputError, r"holds thesis\.tex and is no run"),
    ):
        with pytest.raises(error, match=text):
            begin(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(StorageError, match=r"the run needs 10000\.00 GB for its checkpoints, but .* GB free"):
        begin(tmp_path / "run", checkpoint_bytes=10**13 // 4)
    assert not (tmp_path / "run").exists()
    free = shutil.disk_usage(tmp_path).free
    begin(tmp_path / "run")
    (tmp_path / "run" / "checkpoints").mkdir()
    with (tmp_path / "run" / "checkpoints" / "x").open("wb") as file:
        file.truncate(10**12)  # what is there already need not fit again
    begin(tmp_path / "run", checkpoint_bytes=(10**12 + free // 2) // 4)


def hold(path: Path, held, release) -> None:
    with locked(path):
        held.set()
        release.wait(60)


def test_a_locked_folder_names_its_holder_and_is_free_when_that_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "lock", held, release))
    process.start()
    assert held.wait(60)
    with pytest.raises(InUseError, match=f"is in use by process {process.pid} on {os.uname().nodename}"):
        begin(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    process.kill()
    process.join()
    begin(tmp_path)


def test_the_log_forgets_what_will_be_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step, more in ((2, {"loss": 1.0}), (4, {"loss": 0.5}), (4, {"dev": {}, "score": float("nan")}), (6, {})):
        append(path, {"step": step, **more})
    with path.open("a") as file:
        file.write('{"step": 8, "lo')  # killed while writing
    keep_until(path, 4, evaluated=True)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2, 4, 4]
    best = best_entry(path)
    assert best is not None and best["score"] != best["score"]
    keep_until(path, 4, evaluated=False)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 2, "loss": 1.0},
        {"step": 4, "loss": 0.5},
    ]
    path.write_text("[1]\n")
    with pytest.raises(WeightsError, match="is not the log of a run"):
        keep_until(path, 4, evaluated=True)
