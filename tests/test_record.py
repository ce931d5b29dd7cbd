"""Records of runs that another version wrote, or another hand."""

import json
import os
from pathlib import Path

import pytest

from bert_jax.batches.tokenizer import read_tokenizer
from bert_jax.cli.settings import flat
from bert_jax.config import BertConfig
from bert_jax.data.sample import SAMPLE
from bert_jax.errors import InputError, WeightsError
from train.config import TrainConfig
from train.resolve import resolve
from train.runs.folder import open_folder, start_run
from train.runs.record import read_settings

TOKENIZER = read_tokenizer(SAMPLE)


def begin(path: Path) -> None:
    with start_run(resolve(TrainConfig(run_dir=path)), BertConfig(vocab_size=len(TOKENIZER.vocab)), TOKENIZER, {}, 0):
        pass


def plain(config: TrainConfig) -> dict:
    return {k: str(v) if isinstance(v, Path) else v for k, v in flat(config).items()}


@pytest.mark.parametrize(
    "config", [TrainConfig(), TrainConfig(init="a/b", data_dir=Path("c"), lr=1), TrainConfig(mode="mlm")]
)
def test_settings_are_read_back_as_they_were_recorded(config):
    config = resolve(config)
    assert read_settings(json.loads(json.dumps(plain(config))), {}) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "me"}, "there is no setting 'run'"),
        ({"tasks": 5}, "tasks is 5, which no flag gives"),
        ({"tasks": "sst" * 10_000}, "tasks is 'sstsst"),
        ({"max_length": "long"}, "max_length is 'long', which no flag gives"),
        ({"epochs": True}, "epochs is True, which no flag gives"),
        ({"pooling": ["cls"]}, r"pooling is \['cls'\], which no flag gives"),
        ({"row_length": 10**12}, "--row_length=1000000000000, but it lies between 8 and 512"),
        ({"head_dropout": None}, "head_dropout is missing"),
    ],
)
def test_settings_that_no_flag_gives_are_errors(change, message):
    with pytest.raises(InputError, match=message):
        read_settings(plain(resolve(TrainConfig())) | change, {})


@pytest.mark.parametrize("part", ["config", "bert", "files", "versions"])
def test_a_record_without_a_part_is_an_error(tmp_path, part):
    begin(tmp_path)
    record = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(record | {part: [1]}))
    with pytest.raises(WeightsError, match=f"is not the record of a run: it has no '{part}'"):
        open_folder(tmp_path)


def test_a_run_does_not_go_on_through_links_and_pipes(tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    begin(run)
    outside.write_text("precious")
    for name in ("lock", "metrics.jsonl", "tokenizer/vocab.txt"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside)
        with pytest.raises(InputError, match=f"{name} is a link"):
            begin(run)
        (run / name).unlink()
    os.mkfifo(run / "metrics.jsonl")
    with pytest.raises(InputError, match="is a link, a pipe"):
        begin(run)
    assert outside.read_text() == "precious"
