"""Runs that earlier versions have begun: they open, are judged and go on."""

import json
import shutil
from pathlib import Path

import pytest

import train
from train.config import SETTINGS
from train.runs.record import changes_of_record

STORED = Path(__file__).parent / "references" / "run_0_1"
SETTINGS_OF_IT = {"tasks": "sst,sts", "subset": "sst=0.1,sts=0.1", "epochs": 2, "lr": 0.01, "batch_size": 16}


def test_a_run_of_version_0_1_is_judged_and_goes_on(tmp_path, capsys):
    shutil.copytree(STORED, tmp_path / "old")
    run = train.open_run(tmp_path / "old" / "run")
    logged = run.scores
    judged = run.evaluate(devices=1)
    assert run.step == 3 and run.config.training.optimizer == "adamw"
    for task, metric in (("sst", "accuracy"), ("sts", "pearson")):
        assert judged[task][metric] == pytest.approx(logged[task][metric], abs=1e-3)
    before = run.history
    model = tmp_path / "old" / "model"
    again = train.fit(init=str(model), run_dir=tmp_path / "old" / "run", devices=1, **SETTINGS_OF_IT)
    assert again is not None and again.history[: len(before)] == before and again.history[-1]["step"] == 24
    assert "updates  24, going on after 3" in capsys.readouterr().out


def test_a_setting_that_came_later_locks_no_run_out():
    later = [name for name, each in SETTINGS.items() if each.since]
    record = json.loads((STORED / "run" / "config.json").read_text())
    assert later and not record["config"].keys() & set(later)
    assert changes_of_record(record, record, set()) == []
    now = {**record, "config": record["config"] | {"optimizer": "mine"}}
    assert changes_of_record(record, now, set()) == ["optimizer: adamw -> mine"]
    assert changes_of_record(now, record, set()) == ["optimizer: mine -> adamw"]
