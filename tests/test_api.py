"""The program as a library: what a run gives beside what the commands print."""

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import train
from bert_jax.cli.interrupt import Interrupt
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import find_file, read_table
from bert_jax.errors import InputError, Interrupted, UserError
from bert_jax.heads import LINEAR
from bert_jax.tasks import KINDS, TASKS
from eval.metrics import SCORES
from tests.builders import begin
from train.config import TrainConfig
from train.losses import LOSSES


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> train.Run:
    run_dir = tmp_path_factory.mktemp("api") / "run"
    begin(TrainConfig(tasks="sst,quora", subset="sst=0.5", run_dir=run_dir))
    return train.open_run(run_dir)


def test_a_table_is_what_the_run_reads(run):
    whole = read_table(find_file(SAMPLE, TASKS["sst"], "dev"), TASKS["sst"], labelled=True)
    assert run.table("sst").examples == whole.examples
    assert len(run.table("sst", "train").examples) == 480  # the half that it is trained on
    assert len(run.table("quora", "train").examples) == 960
    tested = run.table("quora", "test").examples
    assert tested and all(example.label is None and len(example.texts) == 2 for example in tested)
    with pytest.raises(InputError, match="perhaps you meant quora"):
        run.table("quara")


def test_attention_is_that_of_each_text_alone_whatever_shares_its_row(run):
    texts = ["The film is superb .", "A dull , lifeless story .", "a " * 55]
    tokens, segments, weights = run.attention(texts)
    layers, heads = run.model.bert.num_hidden_layers, run.model.bert.num_attention_heads
    assert weights.shape == (layers, 2, heads, 64, 64) and segments.shape == (2, 64)
    for number, text in enumerate(texts, start=1):
        (row,) = {int(row) for row in np.nonzero(segments == number)[0]}
        places = np.flatnonzero(segments[row] == number)
        assert [tokens[row][place] for place in places[1:-1]] == run.tokenizer.tokens(text)
        alone = run.attention([text], row_length=8)
        size = len(places)
        assert alone.weights.shape[-1] == max(8, size)
        np.testing.assert_allclose(
            weights[:, row][..., places, :][..., places], alone.weights[:, 0, :, :size, :size], atol=1e-5
        )
        others = np.setdiff1d(np.arange(64), places)
        assert not weights[:, row][..., places, :][..., others].any()


def test_learning_curves_are_a_picture_in_any_notebook(run):
    assert run.plot()._repr_png_().startswith(b"\x89PNG")


def test_a_run_with_a_kind_of_task_from_outside_reads_its_tables_when_it_is_opened(tmp_path):
    rows = "".join(f"{text}\t{label}\n" for text, label in (("a b", "no"), ("c d", "yes")) * 4)
    for split in ("train", "dev"):
        (tmp_path / f"own-{split}.csv").write_text(f"sentence\tlabel\n{rows}")
    (tmp_path / "own.toml").write_text(
        'kind = "other"\ntexts = ["sentence"]\nlabel = "label"\nlabels = ["no", "yes"]\n'
        'files = { train = "own-train.csv", dev = "own-dev.csv" }\n'
    )
    kind = KINDS["classification"]
    heads = {"other": dataclasses.replace(LINEAR, kind=kind)}
    losses, scores = {"other": LOSSES["classification"]}, {"other": SCORES["classification"]}
    settings = {"tasks": str(tmp_path / "own.toml"), "run_dir": tmp_path / "run", "max_steps": 1, "devices": 1}
    trained = train.fit(heads=heads, losses=losses, scores=scores, **settings)
    assert trained and "other" not in KINDS
    assert len(trained.table("own").examples) == trained.evaluate(devices=1)["own"]["rows"] == 8
    assert trained.predict("own", ["a b"])[0].label in ("no", "yes")
    trained.export(tmp_path / "exported", "own")
    assert "other" not in KINDS


def test_a_second_interrupt_leaves_a_process_that_is_not_the_programs_own_alive():
    with Interrupt(own_process=False) as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match="SIGINT"):
            interrupt.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_error_is_a_sentence_in_a_notebook_and_an_exception_anywhere_else(tmp_path):
    error = UserError("what is wrong")
    assert error._render_traceback_() == ["error: what is wrong"]
    with pytest.raises(InputError, match="is no run"):
        train.open_run(Path(tmp_path))
