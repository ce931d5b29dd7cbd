"""The flags of the course's starter code, as someone who knows them types them."""

import pytest

from bert_jax.cli.flags import parse_flags
from bert_jax.cli.settings import flat
from bert_jax.errors import InputError
from train.cli.starter import translate
from train.config import TrainConfig


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["--option", "pretrain"], ["--mode=pretrain"]),
        (["--option=finetune"], ["--mode=finetune"]),
        (["--fine-tune-mode", "last-linear-layer"], ["--mode=pretrain"]),
        (["--fine_tune_mode=full-model"], ["--mode=finetune"]),
        (["--hidden_dropout_prob", "0.3", "--lr=1e-5"], ["--head_dropout=0.3", "--lr=1e-5"]),
        (["--epochs", "3", "extra", "--help", "-h"], ["--epochs", "3", "extra", "--help", "-h"]),
        ([], []),
    ],
)  # fmt: skip
def test_flags_with_a_counterpart_become_it_and_others_stay_as_they_are(given, wanted, capsys):
    assert translate(given) == wanted
    assert capsys.readouterr().err == ""


def test_the_command_takes_what_comes_of_a_whole_command_line_of_the_course(capsys):
    typed = (
        "--option finetune --lr 1e-5 --hidden_dropout_prob 0.2 --use_gpu --batch_size 8 --sst_dev data/ids-sst-dev.csv "
        "--para_dev=data/quora-dev.csv --sts_test ./data/sts-test-student.csv --cfimdb_train data/ids-cfimdb-train.csv "
        "--sst_dev_out a.csv --sts_test_out=b.csv"
    )
    config = parse_flags(TrainConfig, "train.main", translate(typed.split()))
    changed = {k: str(v) for k, v in flat(config).items() if v != flat(TrainConfig())[k]}
    assert changed == {"data_dir": "data", "batch_size": "8", "lr": "1e-05", "head_dropout": "0.2"}
    gpu, outputs = capsys.readouterr().err.splitlines()
    assert gpu == "warning: --use_gpu has no effect here: JAX uses the devices that it finds"
    assert outputs.startswith("warning: --sst_dev_out, --sts_test_out has no effect here: ")
    assert "python -m eval.submission" in outputs


def test_tables_in_one_folder_are_that_folder_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = ["--sst_dev=ids-sst-dev.csv", f"--sts_dev={tmp_path / 'sts-dev.csv'}"]
    assert translate(here) == ["--data_dir=."]
    assert translate([*here, "--data_dir", str(tmp_path)]) == [f"--data_dir={tmp_path}"]
    assert translate(["--data-dir=../x/..", "--seed=1"]) == ["--data_dir=../x/..", "--seed=1"]
    assert translate(["--cfimdb_dev=cfimdb-dev.txt"]) == ["--data_dir=."]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--option=full", "--option=full, but it is pretrain or finetune"),
        ("--fine-tune-mode pretrain", "--fine-tune-mode=pretrain, but it is last-linear-layer or full-model"),
        ("--option", "--option needs a value"),
        ("--sst_dev= --seed=1", "--sst_dev needs a value"),
        ("--sst_dev_out --seed=1", "--sst_dev_out needs a value"),
        (
            "--para_train=data/my.csv",
            "--para_train=data/my.csv, but that table is looked for by the name quora-train.csv",
        ),
        (
            "--sst_dev data/ids-sst-train.csv",
            "--sst_dev=data/ids-sst-train.csv, but that table is looked for by the name ids-sst-dev.csv or sst-dev.txt",
        ),
        (
            "--sts_dev=a/sts-dev.csv --sts_train=b/sts-train.csv",
            "--sts_train=b/sts-train.csv is not in a, the folder of --sts_dev; the tables lie in one folder",
        ),
        (
            "--sts_dev=a/sts-dev.csv --data_dir=b",
            "--sts_dev=a/sts-dev.csv is not in b, the folder of --data_dir; the tables lie in one folder",
        ),
    ],
)
def test_what_cannot_be_translated_is_said_in_one_sentence(flags, sentence):
    with pytest.raises(InputError) as error:
        translate(flags.split())
    assert str(error.value) == sentence


def test_a_table_that_would_not_be_the_one_read_is_an_error(tmp_path):
    for name in ("ids-sst-dev.csv", "sst-dev.txt"):
        (tmp_path / name).touch()
    assert translate([f"--sst_dev={tmp_path / 'ids-sst-dev.csv'}"]) == [f"--data_dir={tmp_path}"]
    with pytest.raises(InputError, match=r"sst-dev\.txt, but .*/ids-sst-dev\.csv is there as well, and would be read"):
        translate([f"--sst_dev={tmp_path / 'sst-dev.txt'}"])
