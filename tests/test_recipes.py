"""Recipes: which stages they have, what flags change in them, and that a chain of stages survives being killed."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from bert_jax.cli.flags import parse_flags
from bert_jax.cli.settings import flat
from bert_jax.data.tables import Example, Table, take_share
from bert_jax.errors import InputError
from tests.test_commands import ROOT, assert_one_sentence, command
from train.cli.forecast import print_forecast
from train.config import Tables, TrainConfig
from train.devices.parallel import Parallel
from train.inputs import read_inputs
from train.recipes import RECIPES
from train.resolve import RunConfig, resolve, subset_shares
from train.stages import idle_flags, resolve_stages, start_config, with_recipe

GIVEN = {"init": "weights", "data_dir": Path("tables")}


def staged(recipe, **flags) -> list[RunConfig]:
    return resolve_stages(TrainConfig(**flat(start_config(recipe)) | GIVEN | flags))


def stages(recipe, **flags) -> list[SimpleNamespace]:
    return [SimpleNamespace(**flat(stage)) for stage in staged(recipe, **flags)]


PAPER = {  # (mode, scheduler, tasks, batch, rate, epochs) of each stage, with weights that are trained already
    "baseline": [
        ("pretrain", "baseline", "sst,quora,sts", 32, 1e-3, 10),
        ("finetune", "baseline", "sst,quora,sts", 32, 1e-5, 10),
    ],
    "in_turn": [
        ("pretrain", "in_turn", "sst,quora,sts", 32, 1e-3, 10),
        ("finetune", "in_turn", "sst,quora,sts", 32, 1e-5, 10),
    ],
    "mtdnn": [
        ("pretrain", "mtdnn", "sst,quora,sts", 32, 1e-3, 10),
        ("finetune", "mtdnn", "sst,quora,sts", 32, 1e-5, 10),
    ],
    "in_turn_mlm": [
        ("mlm", "mtdnn", "sst,quora,sts", 32, 1e-3, 4),
        ("pretrain", "in_turn", "sst,quora,sts", 32, 1e-3, 10),
        ("finetune", "in_turn", "sst,quora,sts", 32, 1e-5, 10),
    ],
    "in_turn_mlm_cosine": [
        ("mlm", "mtdnn", "sst,quora,sts", 32, 1e-3, 4),
        ("pretrain", "in_turn", "sst,quora", 32, 1e-3, 10),
        ("finetune", "in_turn", "sst,quora,sts", 32, 1e-5, 10),
    ],
    "sst_single": [
        ("pretrain", "mtdnn", "sst", 64, 1e-3, 10),
        ("finetune", "mtdnn", "sst", 64, 1e-5, 10),
    ],
    "cfimdb_single": [
        ("pretrain", "mtdnn", "cfimdb", 8, 1e-3, 10),
        ("finetune", "mtdnn", "cfimdb", 8, 1e-5, 10),
    ],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_has_the_papers_stages(recipe):
    found = [(s.mode, s.scheduler, s.tasks, s.batch_size, s.lr, s.epochs) for s in stages(recipe)]
    assert found == PAPER[recipe]
    assert all(s.similarity_head == ("cosine" if recipe.endswith("cosine") else "linear")
               for s in stages(recipe) if s.mode != "mlm")  # fmt: skip


def test_each_stage_starts_from_the_model_of_the_one_before():
    first, second, third = stages("in_turn_mlm", run_dir=Path("r"))
    assert [str(s.run_dir) for s in (first, second, third)] == ["r/1-mlm", "r/2-pretrain", "r/3-finetune"]
    assert [s.init for s in (first, second, third)] == ["weights", "r/1-mlm/model", "r/2-pretrain/model"]
    random = [SimpleNamespace(**flat(stage)) for stage in resolve_stages(start_config("in_turn_mlm"))]
    assert [(s.model, s.init, s.lr, s.epochs) for s in random] == [
        ("bert-tiny", None, 1e-3, 20),
        (None, "runs/in_turn_mlm/1-mlm/model", 1e-3, 6),
        (None, "runs/in_turn_mlm/2-pretrain/model", 1e-3, 6),
    ]
    assert {s.head_dropout for s in random[1:]} == {0.1} and {s.head_dropout for s in (second, third)} == {0.3}


def test_flags_stand_in_place_of_a_recipes_values():
    changed = stages(
        "in_turn_mlm", epochs=3, pretrain_epochs=2, mlm_epochs=1, lr=5e-5, pretrain_lr=1e-2, mlm_lr="usual"
    )
    assert [(s.epochs, s.lr) for s in changed] == [(1, 5e-5), (2, 1e-2), (3, 5e-5)]
    assert [s.lr for s in stages("in_turn_mlm", mlm_lr=2e-4)] == [2e-4, 1e-3, 1e-5]
    assert [s.scheduler for s in stages("in_turn_mlm", scheduler="mtdnn")] == ["mtdnn"] * 3
    assert [s.batch_size for s in stages("sst_single", batch_size=16)] == [16, 16]
    shares = [s.subset for s in stages("in_turn_mlm_cosine", subset="sts=0.5,sst=0.25")]
    assert shares == ["sts=0.5,sst=0.25", "sst=0.25", "sts=0.5,sst=0.25"]
    shares = {s.subset for s in stages("in_turn", subset="quora=0.12345678,sst=.00001")}
    assert shares == {"quora=0.12345678,sst=.00001"}
    assert [s.mode for s in stages("in_turn_mlm_cosine", tasks="sts")] == ["mlm", "finetune"]  # a cosine has no weights


def test_without_a_recipe_there_is_one_stage_in_the_runs_own_folder():
    (only,) = resolve_stages(TrainConfig(scheduler="in_turn"))
    assert (only.training.mode, str(only.run.run_dir)) == ("finetune", "runs/in_turn")


@pytest.mark.parametrize(
    ("config", "idle"),
    [
        (TrainConfig(), []),
        (TrainConfig(mlm_lr="usual", pretrain_epochs=1), ["mlm_lr", "pretrain_epochs"]),
        (TrainConfig(mode="mlm", head_dropout=0.1, pooling="mean"), ["head_dropout", "pooling"]),
        (TrainConfig(tasks="sst", scheduler="in_turn", pair_encoding="joint", similarity_head="cosine"),
         ["pair_encoding", "scheduler", "similarity_head"]),
        (TrainConfig(tasks="quora,sst", similarity_head="cosine"), ["similarity_head"]),
        (TrainConfig(save_every=5, save_minutes=1), ["save_minutes"]),
        (TrainConfig(recipe="in_turn", scheduler="mtdnn", lr=1.0, mode="mlm", mlm_epochs=1), ["mlm_epochs", "mode"]),
        (TrainConfig(recipe="in_turn_mlm", scheduler="in_turn", mlm_epochs=1, pretrain_lr=1.0), []),
    ],
    ids=str,
)  # fmt: skip
def test_flags_without_effect_are_found(config, idle):
    assert idle_flags(config) == idle


def test_a_baseline_never_trains_a_task_that_is_only_scored():
    stages = resolve_stages(TrainConfig(recipe="baseline", scheduler="baseline", tasks="sts,sst"))
    assert [stage.tables.tasks for stage in stages] == ["sts,sst"] * 2
    stages = resolve_stages(
        TrainConfig(recipe="baseline", scheduler="baseline", tasks="sts,sst", similarity_head="cosine")
    )
    assert [(stage.training.mode, stage.tables.tasks) for stage in stages] == [
        ("finetune", "sts,sst")
    ]  # a cosine has no weights


def test_a_stage_is_complete_with_more_updates_than_are_asked_for(whole_run):
    done = command("train.main", *SMALL, f"--run_dir={whole_run}", "--mlm_epochs=1", "--pretrain_epochs=1")
    assert done.returncode == 0 and done.stdout.count("complete: ") == 2, done.stderr


def test_a_recipe_is_found_among_flags():
    for flags in (["--epochs=1", "--recipe=sst_single"], ["--recipe", "sst_single", "--epochs=1"]):
        config = parse_flags(TrainConfig, "train.main", flags, with_recipe)
        assert config == dataclasses.replace(start_config("sst_single"), epochs=1)
    config = parse_flags(TrainConfig, "train.main", ["--run_dir=--recipe=sst_single"], with_recipe)
    assert config == TrainConfig(run_dir=Path("--recipe=sst_single"))


def test_subsets_are_nested_and_of_the_size_asked_for():
    whole = Table(Path("t"), [Example(f"{number:x}", ("a",), 0.0) for number in range(1000)], 0)
    kept = {share: [e.id for e in take_share(whole, share).examples] for share in (1.0, 0.5, 0.25, 0.001, 0.0001)}
    assert [len(ids) for ids in kept.values()] == [1000, 500, 250, 1, 1]
    assert set(kept[0.25]) < set(kept[0.5]) and kept[0.5] == sorted(kept[0.5], key=lambda i: int(i, 16))
    halves = Table(Path("t"), list(reversed(whole.examples)), 0)
    assert {e.id for e in take_share(halves, 0.5).examples} == set(kept[0.5])  # whatever their order
    assert subset_shares(Tables(subset="quora=1, sst=.5")) == {"quora": 1.0, "sst": 0.5}


@pytest.mark.parametrize("subset", ["quora", "quora=0", "quora=1.5", "quora=a", "quora=1,quora=1", "cfimdb=0.5", "=1"])
def test_a_subset_that_is_none_is_refused(subset):
    with pytest.raises(InputError, match="--subset"):
        subset_shares(Tables(subset=subset))


SMALL = ("--recipe=in_turn_mlm", "--subset=sst=0.1,quora=0.1,sts=0.1", "--epochs=1", "--mlm_epochs=3", "--save_every=2")


def model_bytes(folder: Path) -> dict[str, bytes]:
    """What a recipe's run has computed: its stages' models, and the last stage's log of losses and scores."""
    lines = (folder / "3-finetune" / "metrics.jsonl").read_text().splitlines()
    log = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
    models = {
        f"{path.parts[-3]}/{path.name}": path.read_bytes() for path in sorted(folder.glob("*/model/*.safetensors"))
    }
    assert list(models) == ["1-mlm/model.safetensors", "2-pretrain/heads.safetensors", "2-pretrain/model.safetensors"]
    return {**models, "log": json.dumps(log).encode()}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipes") / "whole"
    done = command("train.main", *SMALL, f"--run_dir={folder}", "--mode=mlm")
    assert done.returncode == 0 and "warning: --mode=mlm has no effect here" in done.stderr, done.stderr
    for part in ("stage 1 of 3: mlm", "stage 3 of 3", "its heads of sst, quora, sts", "mean3"):
        assert part in done.stdout
    return folder


def test_a_recipe_killed_in_its_first_stage_and_started_again_ends_in_the_same_bytes(whole_run, tmp_path):
    folder = tmp_path / "killed"
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "train.main", *SMALL, f"--run_dir={folder}"], cwd=ROOT, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    saved = folder / "1-mlm" / "checkpoints" / "4"
    while not saved.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL and not (folder / "1-mlm" / "model").exists()
    again = command("train.main", *SMALL, f"--run_dir={folder}")
    assert again.returncode == 0 and "going on after" in again.stdout, again.stderr
    assert model_bytes(folder) == model_bytes(whole_run)


def test_stages_that_are_complete_are_not_trained_again(whole_run):
    before = {path: path.stat().st_mtime_ns for path in whole_run.rglob("model.safetensors")}
    done = command("train.main", *SMALL, f"--run_dir={whole_run}")
    assert done.returncode == 0 and done.stdout.count("complete: ") == 2, done.stderr
    assert "This run is complete" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in whole_run.rglob("model.safetensors")}
    scored = command("eval.main", f"--run_dir={whole_run}")  # the last stage
    assert scored.returncode == 0 and "3-finetune" not in scored.stderr and "mean3" in scored.stdout, scored.stderr


def test_a_stage_takes_over_the_encoder_and_the_heads(whole_run):
    models = [
        safetensors.numpy.load_file(whole_run / s / "model" / "model.safetensors") for s in ("1-mlm", "2-pretrain")
    ]
    encoder = [name for name in models[1] if name.startswith(("embeddings.", "encoder."))]
    assert len(encoder) > 30
    for name in encoder:  # heads alone were trained
        np.testing.assert_array_equal(models[1][name], models[0][f"bert.{name}"])
    assert safetensors.numpy.load_file(whole_run / "2-pretrain" / "model" / "heads.safetensors").keys() == {
        f"heads.{task}.{kind}" for task in ("sst", "quora", "sts") for kind in ("weight", "bias")
    }
    record = json.loads((whole_run / "3-finetune" / "config.json").read_text())
    assert record["config"]["init"] == f"{whole_run}/2-pretrain/model"


def test_another_setting_in_a_recipes_folder_is_refused(whole_run, tmp_path):
    done = command("train.main", *SMALL, "--seed=5", f"--run_dir={whole_run}")
    assert done.returncode == 3 and "seed: 11711 -> 5" in done.stderr
    (tmp_path / "notes.txt").write_text("mine")
    done = command("train.main", *SMALL, f"--run_dir={tmp_path}")
    assert_one_sentence(done, 2, "holds notes.txt")


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path):
    folder = tmp_path / "run"
    done = command("train.main", "--recipe=in_turn_mlm", "--scheduler=mtdnn", "--dry_run", f"--run_dir={folder}")
    assert done.returncode == 0 and not folder.exists(), done.stderr
    for part in ("stage 3 of 3: finetune", "mtdnn, 6 epochs of 90", "540 in all", "17,671 are trained",
                 "MB more for the largest batch", "examples seen", "33%"):  # fmt: skip
        assert part in done.stdout, part


def test_a_dry_run_counts_what_is_trained_and_no_head_that_is_not(monkeypatch, capsys):
    monkeypatch.setattr(Parallel, "temporary_bytes", lambda *_: 0)
    print_forecast([resolve(TrainConfig(scheduler="baseline"))])
    assert "are trained (bert, pooler, sst)" in capsys.readouterr().out


def test_a_frozen_encoder_needs_no_room_for_moments():
    inputs = read_inputs(resolve(TrainConfig(tasks="sst")))
    frozen = dataclasses.replace(inputs, config=dataclasses.replace(inputs.config, mode="pretrain"))
    assert inputs.checkpoint_bytes == 3 * frozen.checkpoint_bytes
