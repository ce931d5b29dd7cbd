"""Commands as a user types them, each in a process of its own: what they print and the code they exit with."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bert_jax.data.sample import SAMPLE

ROOT = Path(__file__).parent.parent
PLAIN = ROOT / "tests" / "references" / "plain"


def command(module: str, *flags: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0", "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, flags)], cwd=ROOT, input=stdin, capture_output=True, text=True,
        timeout=300, env=environment,
    )  # fmt: skip


def assert_one_sentence(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--epoch=3"], ["--epoch=3", "perhaps you meant --epochs"]),
        (["--scheduler=foo"], ["--scheduler=foo", "in_turn, mtdnn or baseline"]),
        (["--scheduler=mtdn"], ["--scheduler=mtdn, but it is", "perhaps you meant mtdnn"]),
        (["--lr=abc"], ["--lr=abc, but it is a number"]),
        (["--epochs", "1.5"], ["--epochs=1.5, but it is a whole number"]),
        (["--data=tdfs"], ["--data=tdfs, but it is tfds (perhaps you meant tfds)"]),
        (["--mlm_lr=papr"], ["--mlm_lr=papr, but it is a number, paper or usual (perhaps you meant paper)"]),
        (["--save-minutes=x"], ["--save_minutes=x, but it is a number"]),
        (["--dry_run=True"], ["--dry_run takes no value; --no_dry_run turns it off"]),
        (["--run-dri", "x"], ["--run-dri is no flag here (perhaps you meant --run_dir)"]),
        (["--learning_rate=1e-5"], ["--learning_rate=1e-5 is no flag here (perhaps you meant --lr)"]),
        (["--weather"], ["--weather is no flag here; --help lists those that there are"]),
        (["--tasks", "sst", "quora"], ["quora belongs to no flag; see python -m train.main --help"]),
        (["--lr=-1"], ["--lr=-1.0", "between 0 and 10"]),
        (["--epochs=0"], ["--epochs=0", "at least 1"]),
        (["--tasks=sst,foo"], ["'foo'", "sst, cfimdb, quora, sts"]),
        (["--model=bert-huge"], ["bert-huge", "bert-tiny"]),
        (["--data_dir=/no/such/folder", "--init=x"], ["/no/such/folder is not a folder"]),
        (["--data_dir=."], ["--data_dir needs --init"]),
        (["--init=all-minilm-l6-v2", "--model=bert-tiny"], ["leave out"]),
        (["--similarity_head=cosine", "--pair_encoding=joint"], ["--pair_encoding=separate"]),
        (["--mode=pretrain", "--similarity_head=cosine"], ["has no weights"]),
        (["extra"], ["extra belongs to no flag"]),
        (["--recipe=in_turn", "--epochs=0"], ["--epochs=0", "at least 1"]),
        (["--recipe=in_turn_mlm", "--pretrain_lr=99"], ["--pretrain_lr=99.0"]),
        (["--recipe=foo"], ["--recipe=foo", "in_turn_mlm_cosine"]),
        (["--recipe=mtdn"], ["--recipe=mtdn, but it is baseline", "perhaps you meant mtdnn"]),
        (["--recipe=in-turn"], ["--recipe=in-turn, but it is baseline", "perhaps you meant in_turn"]),
        (["--init="], ["--init needs a value: a text"]),
        (["--init", ""], ["--init needs a value: a text"]),
        (["--subset=sst="], ["--subset=sst=, but a share is a number above 0"]),
        (["--profile="], ["--profile takes no value"]),
        (["--lr=0.1", ""], ["an empty word belongs to no flag"]),
        (["--no_profile", ""], ["an empty word belongs to no flag"]),
        ([f"--run_dir=/tmp/{'x' * 300}"], ["xxx is too long for a name"]),
        (["--tasks=sst,quara"], ["'quara'", "perhaps you meant quora"]),
        (["--subset=quora=2"], ["--subset=quora=2", "at most 1"]),
        (["--subset=cfimdb=0.5"], ["'cfimdb'", "--tasks"]),
        (["--option=everything"], ["pretrain", "finetune"]),
        (["--weight_decay=nan"], ["--weight_decay=nan"]),
        (["--row_length=1000"], ["--row_length=1000"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_a_wrong_flag_is_answered_in_one_sentence_at_once(flags, parts):
    start = time.monotonic()
    assert_one_sentence(command("train.main", *flags), 2, *parts)
    assert time.monotonic() - start < 30  # far from what importing JAX and compiling would take on a busy machine


def test_standard_streams_that_are_closed_are_as_good_as_empty(run_dir, tmp_path):
    def run(line: str) -> subprocess.CompletedProcess[str]:
        shell = f"exec {sys.executable} -m {line}"
        return subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=300)

    done = run(f"eval.audit --data_dir={SAMPLE} >&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run(f"eval.audit --data_dir={tmp_path / 'none'} 2>&-").returncode == 2
    done = run(f"eval.predict --run_dir={run_dir} --task=sst <&-")
    assert_one_sentence(done, 2, "there is no text on stdin")


def test_a_wrong_table_is_answered_with_its_line(tmp_path):
    for path in SAMPLE.glob("*.csv"):
        shutil.copy(path, tmp_path)
    table = tmp_path / "quora-train.csv"
    lines = table.read_text().split("\n")
    lines[6] = lines[6][:-3] + "7.0"
    table.write_text("\n".join(lines))
    done = command("train.main", f"--data_dir={tmp_path}", f"--vocab={SAMPLE}", f"--run_dir={tmp_path / 'run'}")
    assert_one_sentence(done, 2, f"{table}:7: is_duplicate is 7.0, outside 0 to 1")
    assert not (tmp_path / "run").exists()


def test_weights_that_do_not_fit_are_answered_with_code_3(tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(PLAIN / name, tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps(json.loads((PLAIN / "config.json").read_text()) | {"vocab_size": 9})
    )
    done = command("train.main", f"--init={tmp_path}")
    assert_one_sentence(done, 3, "embeddings.word_embeddings.weight is [83, 20], not [9, 20]")
    assert_one_sentence(command("train.main", "--init=nowhere"), 3, "--init=nowhere")
    named = command("train.main", "--init=bert-base-uncased")
    assert_one_sentence(named, 3, "owner/name@revision", "perhaps you meant google-bert/bert-base-uncased")


def test_debug_shows_the_traceback_before_the_sentence():
    done = command("train.main", "--epochs=0", "--debug")
    assert done.returncode == 2 and done.stderr.startswith("Traceback") and "in parse_flags" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: --epochs=0, but it must be at least 1"


def test_help_says_what_a_run_does_and_every_flag():
    done = command("train.main", "--help")
    assert done.returncode == 0 and done.stderr == ""
    flags = (
        "recipe scheduler tasks data_dir subset init model mode epochs batch_size lr seed run_dir pair_encoding "
        "similarity_head pooling dtype max_length max_steps devices"
    )
    for flag in flags.split():
        assert f"--{flag} " in done.stdout


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A few updates on the sample."""
    path = tmp_path_factory.mktemp("runs") / "short"
    done = command("train.main", f"--run_dir={path}", "--tasks=sst,quora,sts", "--max_steps=6", "--log_every=3")
    assert done.returncode == 0, done.stderr
    for part in ("the embedded sample", "random bert-tiny", "1 x cpu", "stopping early at 6", "mean3", "eval.main"):
        assert part in done.stdout
    assert "step 3  loss" in done.stderr
    return path


def test_a_run_is_evaluated_and_predicts_in_input_order(run_dir):
    done = command("eval.main", f"--run_dir={run_dir}")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for part in ("sst", "quora", "sts", "accuracy", "Pearson", "mean3", "overall24", "95 % intervals of accuracy"):
        assert part in done.stdout

    texts = ["The film is superb .", "A line\u2028 separator is no end of a line .", "", "The film is superb ."]
    done = command("eval.predict", f"--run_dir={run_dir}", "--task=sst", stdin="\n".join(texts) + "\n")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(rows) == 4 and rows[0] == rows[3]
    assert all(set(row) == {"label", "score"} and 0 <= row["label"] <= 4 for row in rows)

    pairs = command("eval.predict", f"--run_dir={run_dir}", "--task=quora", stdin="How ?\tWhy ?\n")
    assert json.loads(pairs.stdout)["label"] in (0, 1)


def test_prediction_says_what_is_wrong_with_its_input(run_dir):
    flags = ("eval.predict", f"--run_dir={run_dir}")
    assert_one_sentence(command(*flags, "--task=quora", stdin="a\tb\nc\n"), 2, "stdin:2: 1 column, but")
    assert_one_sentence(command(*flags, "--task=cfimdb", stdin="a\n"), 2, "it has sst, quora, sts")
    assert_one_sentence(command(*flags, "--task=sst"), 2, "no text on stdin")
    assert_one_sentence(command(*flags, "--task=sst", "--batch_size=0", stdin="a\n"), 2, "--batch_size=0")
    assert_one_sentence(command("eval.predict", "--run_dir=nowhere", "--task=sst", stdin="a\n"), 2, "is no run")


@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean"])
def test_encode_writes_one_row_a_text(tmp_path, pooling):
    folder = tmp_path / "model"
    shutil.copytree(PLAIN, folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(78))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    output = tmp_path / "out.npy"
    texts = "w1 w2 w3\nw4\nw1 w2 w3\n"
    done = command("eval.encode", f"--init={folder}", f"--pooling={pooling}", f"--output={output}", stdin=texts)
    assert done.returncode == 0, done.stderr
    rows = np.load(output)
    assert rows.shape == (3, 20) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    assert np.abs(rows[0] - rows[1]).max() > 0.1


def test_encode_says_what_is_wrong_with_its_output(tmp_path):
    done = command("eval.encode", f"--init={PLAIN}", f"--output={tmp_path / 'out.txt'}", stdin="a\n")
    assert_one_sentence(done, 2, "does not end in .npy")
    done = command("eval.encode", f"--init={PLAIN}", f"--output={tmp_path / 'no' / 'out.npy'}", stdin="a\n")
    assert_one_sentence(done, 5, "a folder that does not exist")


def test_export_says_what_is_wrong_with_its_flags(run_dir, tmp_path):
    flags = ("eval.export", f"--run_dir={run_dir}")
    assert_one_sentence(command("eval.export", "--run_dir=nowhere", f"--output={tmp_path / 'out'}"), 2, "is no run")
    assert_one_sentence(command(*flags, f"--output={ROOT / 'tests'}"), 2, "holds __init__.py", "new or empty")
    assert_one_sentence(command(*flags, "--output=no/such/folder"), 5, "is no folder and cannot be made one")
    assert list(tmp_path.iterdir()) == []
