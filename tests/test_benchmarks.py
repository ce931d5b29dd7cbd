"""The benchmarks' arithmetic, texts and workers. Nothing here looks at how long anything takes."""

import ast
import dataclasses
import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases import CASES, FIGURES, NAMES, RIVALS, Case, Work, quick
from benchmarks.figures import Summary, figure_of, is_reached, ratios, shares, summarize
from benchmarks.measure import (
    OURS,
    RIVAL,
    TRAINING,
    Measured,
    Setup,
    check_difference,
    compare_losses,
    environment,
    measure,
)
from benchmarks.ours import Ours
from benchmarks.overhead import take_turns
from benchmarks.run import Settings, choose_cases, main
from benchmarks.texts import evenly, grouped_batches, random_examples, sample_batches, sorted_batches
from benchmarks.worker import Worker
from bert_jax.config import SIZES
from bert_jax.errors import UserError
from bert_jax.tasks import TASKS
from tests.builders import TINY

ROOT = Path(__file__).parent.parent
RIVAL_PYTHON = os.environ.get("RIVAL_PYTHON") or sys.executable
HAS_RIVAL = sys.executable != RIVAL_PYTHON or importlib.util.find_spec("torch") is not None
SMALL = Work("steps", "bert-tiny", "float32", examples=4, length=6, count=2, rivals=("eager",))


def test_the_table_of_cases_is_well_formed():
    assert NAMES == ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G9")
    assert len(set(CASES)) == len(CASES)
    for case in CASES:
        assert case.figure in FIGURES and case.goal > 0 and case.work.model in SIZES
        assert set(case.work.rivals) <= set(RIVALS)
        assert (case.against in case.work.rivals) == (case.figure == "ratio")
        assert case.work.device == ("cpu" if case.name.startswith("C") else "gpu")


def test_a_quick_work_is_tiny_and_otherwise_the_same():
    work = quick(CASES[0].work)
    assert (work.model, work.count) == ("bert-tiny", 2)
    assert dataclasses.replace(work, model=CASES[0].work.model, count=CASES[0].work.count) == CASES[0].work


def test_cases_are_chosen_by_name_size_and_number_of_batches():
    chosen = choose_cases(Settings(case=("c3,C1", "C5"), model="bert-base", batches=3))
    assert [case.name for case in chosen] == ["C1", "C3", "C5", "C5"]
    assert [case.work.count for case in chosen] == [5, 3, 5, 5]  # C1 and C5 are the same tensor, not an epoch
    with pytest.raises(UserError, match="--case=C8, but the cases are C1"):
        choose_cases(Settings(case=("C8",)))
    with pytest.raises(UserError, match="--model=bert-huge, but these cases have bert-base"):
        choose_cases(Settings(model="bert-huge"))
    assert {case.work.dtype for case in choose_cases(Settings(dtype="bfloat16"))} == {"bfloat16"}
    with pytest.raises(UserError, match="--dtype=float32, but these cases have bfloat16"):
        choose_cases(Settings(case=("C2",), dtype="float32"))


def test_random_texts_are_as_long_as_those_of_the_tables():
    for task, mean in (("sst", 25.0), ("quora", 15.8), ("sts", 14.7)):
        encoded = random_examples(TASKS[task], 20000, vocab_size=30522)
        assert abs(encoded.lengths.mean() - mean) < 0.5
        assert encoded.lengths.shape == (20000, 2 if TASKS[task].is_pair else 1)
    assert (encoded.tokens[encoded.offsets[:-1]] == 101).all() and (
        encoded.tokens[encoded.offsets[1:] - 1] == 102
    ).all()


def test_batches_of_similar_length_hold_every_example_once_and_pad_little():
    lengths = random_examples(TASKS["sst"], 8544, vocab_size=30522).lengths[:, 0]

    def filled(batches: list[np.ndarray]) -> float:
        assert sorted(np.concatenate(batches).tolist()) == list(range(8544))
        return lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in batches)

    in_order = np.split(np.arange(8544), 267)
    assert filled(in_order) < 0.6 < 0.9 < filled(grouped_batches(lengths, 32)) < filled(sorted_batches(lengths, 32))


def test_a_sample_of_batches_needs_about_as_much_as_all_of_them():
    lengths = random_examples(TASKS["sst"], 8544, vocab_size=30522).lengths[:, 0]
    for batches in (np.split(np.arange(8544), 267), grouped_batches(lengths, 32)):
        longest = np.array([lengths[batch].max() for batch in batches])
        chosen = sample_batches(batches, lengths, 8)
        assert len(set(chosen)) == 8 and chosen == sorted(chosen)
        assert abs(longest[chosen].mean() / longest.mean() - 1) < 0.05
    assert evenly(10, 2).tolist() == [2, 7]
    assert evenly(3, 0).tolist() == evenly(3, 5).tolist() == [0, 1, 2]


def some_measurements() -> Measured:
    """We do 8 examples in 1, 2 and 4 s; the rival does 16 others in 6, 6 and 6 s."""
    return Measured(
        work=Work("epoch", "bert-tiny", "float32", rivals=("eager",)),
        amounts={
            "ours": {"examples": 8, "batches": 5, "flops": 8e9},
            "same": {"examples": 16, "batches": 10, "flops": 12e9},
        },
        seconds={"ours": [1.0, 2.0, 4.0], "eager": [6.0, 6.0, 6.0]},
        ceilings={"ours": [9e9, 10e9], "rival": [5e9, 4e9]},
    )


def test_ratios_are_of_pairs_and_by_example():
    assert summarize([3.0, 1.0, 2.0]) == Summary(median=2.0, low=1.0, high=3.0)
    assert ratios(some_measurements(), "eager") == [3.0, 1.5, 0.75]


def test_shares_are_of_the_best_product_of_both_sides():
    assert shares(some_measurements(), "ours") == pytest.approx([0.8, 0.4, 0.2])
    assert shares(some_measurements(), "eager") == pytest.approx([0.2, 0.2, 0.2])


def test_a_goal_is_judged_by_the_median():
    found = some_measurements()

    def judge(figure, goal: float) -> tuple[float, bool]:
        case = Case("C0", figure, goal, found.work, "eager")
        summary = figure_of(case, found)
        assert summary
        return summary.median, is_reached(case, summary)

    assert judge("ratio", 1.5) == (1.5, True)
    assert judge("ratio", 1.6)[1] is False
    assert judge("share", 0.4) == (pytest.approx(0.4), True)
    assert judge("step", 400) == (pytest.approx(400), True)
    assert judge("step", 399)[1] is False
    assert judge("run", 2.0) == (2.0, True)
    found.compiled["cold"] = [3.0, 5.0]
    assert judge("cold", 4.0) == (4.0, True)
    del found.seconds["eager"]
    assert figure_of(Case("C0", "ratio", 1.5, found.work, "eager"), found) is None


def test_the_rival_shares_no_code_with_the_program():
    def imported(name: str) -> set[str]:
        tree = ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text())
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        return {name.split(".")[0] for name in names}

    assert not imported("rival") & {"jax", "flax", "optax", "bert_jax", "train", "eval"}
    assert imported("serve") == {"json", "os", "sys", "collections", "typing"}
    for name in ("ours", "timed", "loads", "texts"):
        assert not imported(name) & {"torch", "transformers"}


@pytest.mark.parametrize("kind", ["steps", "masked_lm", "epoch", "evaluation", "compile", "multitask"])
def test_our_side_does_every_kind_of_work(kind, monkeypatch, tmp_path):
    bert = dataclasses.replace(TINY, num_hidden_layers=1, vocab_size=1100, max_position_embeddings=128)
    monkeypatch.setitem(SIZES, "bert-tiny", bert)
    length = SMALL.length if kind in ("steps", "masked_lm") else None
    rivals = ("eager",) if kind in ("steps", "epoch", "evaluation") else ()
    work = dataclasses.replace(SMALL, kind=kind, length=length, count=1, rivals=rivals)
    side = Ours()
    amounts = side.prepare(dataclasses.asdict(work), TRAINING, str(tmp_path), data_dir=None, vocab="")
    assert set(amounts) == {"ours", *(RIVALS[name].batches for name in rivals)}
    for amount in amounts.values():
        assert amount["examples"] == amounts["ours"]["examples"] and amount["flops"] > 0
        assert 0 < amount["tokens"] <= amount["computed"] and 0 < amount["batches"] <= amount["of"]
    assert (tmp_path / "texts.npz").exists() == bool(rivals)
    answer = side.run()
    assert answer["programs"] <= 2 if kind == "compile" else 0 < answer["loss"] < 10
    if kind == "evaluation":
        assert np.mean(side.losses("float32")) < 10 and answer["loss"] == side.run()["loss"]


def test_our_side_alone_is_measured_by_a_worker():
    found = measure(SMALL, Setup(rival_python=None, repeats=2, quick=True))
    assert list(found.seconds) == ["ours"] and len(found.seconds["ours"]) == 2 and min(found.seconds["ours"]) > 0
    assert 0 < found.losses["ours"][0] < 10 and found.ceilings["ours"][0] > 0 and not found.differences


def test_each_method_takes_the_same_steps_when_their_overhead_is_measured(monkeypatch):
    monkeypatch.setitem(SIZES, "bert-base", dataclasses.replace(SIZES["bert-tiny"], num_hidden_layers=1))
    found = take_turns(["jit", "pmap", "shard_map"], rounds=2, count=2)
    assert [len(times) for times in found.values()] == [2, 2, 2] and min(map(min, found.values())) > 0


def test_a_worker_that_dies_is_reported_in_one_sentence():
    with Worker(sys.executable, OURS, environment("cpu")) as worker:
        assert worker.ask("hello")["versions"]["jax"]
        with pytest.raises(UserError, match=r"benchmarks\.ours ended with exit code 1 when asked to dance: KeyError"):
            worker.ask("dance")
    with Worker(sys.executable, OURS, environment("cpu")) as worker:
        os.kill(worker.process_id, signal.SIGKILL)
        with pytest.raises(UserError, match="ended with signal SIGKILL when asked to hello"):
            worker.ask("hello")
    with pytest.raises(UserError, match=r"/no/python -m .* cannot be started: No such file"):
        Worker("/no/python", RIVAL, {})


def test_a_difference_of_the_losses_fails_the_work():
    check_difference(SMALL, 9e-5, "the loss")
    for difference in (2e-4, float("nan")):
        with pytest.raises(UserError, match=r"from the rival's in float32, more than 0\.0001"):
            check_difference(SMALL, difference, "the loss")


def test_the_command_says_what_is_missing_and_writes_what_it_measures(tmp_path, monkeypatch, capsys):
    found = some_measurements()
    monkeypatch.setattr("benchmarks.run.measure", lambda work, _: dataclasses.replace(found, work=work))
    monkeypatch.setattr("benchmarks.run.find_rival", lambda _: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    output = tmp_path / "new" / "out.json"
    found.amounts = {name: amount | {"tokens": 3, "computed": 4, "of": 9} for name, amount in found.amounts.items()}
    main(Settings(case=("C1", "G1"), quick=False, model="bert-base", output=output))
    printed = capsys.readouterr().out
    assert "no GPU was found, so these cases are left out: G1\n" in printed and "1.50" in printed and "75%" in printed
    written = json.loads(output.read_text())
    assert written["cases"][0]["got"] == {"median": 1.5, "low": 0.75, "high": 3.0}
    assert written["measured"][0]["seconds"]["ours"] == [1.0, 2.0, 4.0] and written["machine"]["cores"] >= 1


def test_work_that_cannot_be_measured_is_named_at_the_end(tmp_path, monkeypatch, capsys):
    def fail(work: Work, _setup: Setup) -> Measured:
        raise UserError(f"{work}: the loss is wrong")

    monkeypatch.setattr("benchmarks.run.measure", fail)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    output = tmp_path / "out.json"
    with pytest.raises(UserError, match="1 of 1 could not be measured: same tensor, 32 x 26 tokens, bert-tiny"):
        main(Settings(case=("C1",), quick=True, ours_only=True, output=output))
    assert "error: same tensor" in capsys.readouterr().err
    assert len(json.loads(output.read_text())["failed"]) == 1


@pytest.mark.skipif(not HAS_RIVAL, reason="the rival needs torch; RIVAL_PYTHON may name a Python that has it")
@pytest.mark.parametrize("kind", ["steps", "epoch", "evaluation"])
def test_both_sides_compute_the_same(kind, tmp_path):
    """Several updates without dropout: the same losses mean the same model, gradients and optimizer."""
    length = SMALL.length if kind == "steps" else None
    work = dataclasses.replace(SMALL, kind=kind, length=length, dropout=False)
    asked = {"work": dataclasses.asdict(work), "folder": str(tmp_path)}
    asked["settings"] = {"lr": 1e-3, "weight_decay": 0.1, "head_dropout": 0.0}
    with Worker(sys.executable, OURS, environment("cpu")) as ours, Worker(RIVAL_PYTHON, RIVAL, {}) as rival:
        ours.ask("prepare", **asked, data_dir=None, vocab="")
        rival.ask("prepare", **asked)
        assert compare_losses(work, ours, rival)["float32"] < 1e-5
        for _ in range(3):
            loss = rival.ask("run", batches="same", compile=None)["loss"]
            assert ours.ask("run")["loss"] == pytest.approx(loss, abs=2e-5)
