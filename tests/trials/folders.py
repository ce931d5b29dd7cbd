"""A run's folder: settings that changed, two processes in it, and what must not be in it (T8, T11, T24)."""

import json
import shutil
import socket
import time
from pathlib import Path

from bert_jax.data.sample import SAMPLE
from tests.trials.faults import FAULT
from tests.trials.harness import ROOT, Outcome, Trial, run
from tests.trials.runs import RUN, TEXTS, SmallRun, compiling_once

PLAIN = ROOT / "tests" / "references" / "plain"
SECRET = "hf_doNotTellAnyone0123456789"

# A flag of the second start, and what the refusal says; None if the run goes on.
CHANGES: tuple[tuple[tuple[str, ...], str | None], ...] = (
    (("--lr=0.5",), "lr: 0.001 -> 0.5"),
    (("--seed=1",), "seed: 11711 -> 1"),
    (("--batch_size=32",), "batch_size: 64 -> 32"),
    (("--scheduler=in_turn",), "scheduler: mtdnn -> in_turn"),
    (("--tasks=sst",), "tasks: sst,sts -> sst"),
    (("--tasks=sts,sst",), "tasks: sst,sts -> sts,sst"),
    (("--model=bert-mini",), "model: bert-tiny -> bert-mini"),
    (("--mode=pretrain",), "mode: finetune -> pretrain"),
    (("--weight_decay=0.1",), "weight_decay: 0.0 -> 0.1"),
    (("--pair_encoding=joint",), "pair_encoding: separate -> joint"),
    (("--similarity_head=cosine",), "similarity_head: linear -> cosine"),
    (("--pooling=mean",), "pooling: cls -> mean"),
    (("--head_dropout=0.2",), "head_dropout: 0.1 -> 0.2"),
    (("--dtype=bfloat16",), "dtype: float32 -> bfloat16"),
    (("--max_length=64",), "max_length: 512 -> 64"),
    (("--row_length=128",), "row_length: None -> 128"),
    (("--data_dir={other}", "--vocab={sample}"), "ids-sst-train.csv: "),
    (("--init={plain}", "--max_length=512", "--lr=0.001", "--epochs=2", "--head_dropout=0.1"), "weights: None -> "),
    (("--epochs=3",), None),
    (("--log_every=3",), None),
    (("--save_every=4",), None),
    (("--save_minutes=1",), None),
    (("--max_steps=9",), None),
    (("--devices=1",), None),
    (("--data_dir={same}", "--vocab={sample}"), None),
)


def changed_settings(quick: bool, folder: Path) -> Outcome:
    """The same folder with another flag: harmless ones go on, all others are refused with what changed."""
    outcome = Outcome()
    for name in ("same", "other"):
        (folder / name).mkdir()
        for table in SAMPLE.glob("*.csv"):
            shutil.copy(table, folder / name)
    table = folder / "other" / "ids-sst-train.csv"
    table.write_text(table.read_text().replace("0\n", "1\n", 1))
    _copy_model(folder / "plain")
    begun = SmallRun(folder / "begun", folder / "cache")
    outcome.check((ended := begun.finish("--max_steps=2")).code == 0, str(ended))
    names = {"same": folder / "same", "other": folder / "other", "sample": SAMPLE, "plain": folder / "plain"}
    for number, (flags, refusal) in enumerate(CHANGES[::5] if quick else CHANGES):
        small = SmallRun(folder / str(number), folder / "cache")
        shutil.copytree(begun.path, small.path)
        before = (small.path / "config.json").read_text()
        given = [flag.format(**names) for flag in flags]
        limit = [] if "--max_steps=9" in flags else ["--max_steps=4"]
        ended = small.finish(*given, *limit)
        outcome.n += 1
        if refusal is None:
            went_on = ended.code == 0 and "going on after 2" in ended.out
            outcome.check(went_on, f"{flags}: {ended}")
            outcome.exposure["went on"] += went_on
        else:
            same = (small.path / "config.json").read_text() == before
            outcome.check(ended.is_one_sentence(3, refusal) and same, f"{flags}: {ended}")
            outcome.exposure["refused"] += ended.code == 3
    outcome.require("refused", 4 if quick else 18)
    outcome.require("went on", 1 if quick else 7)
    return outcome


def two_at_once(quick: bool, folder: Path) -> Outcome:
    """A second process in a run's folder is turned away; when the first is killed, the next goes on."""
    outcome = Outcome()
    small = SmallRun(folder / "small", folder / "cache", ("--epochs=200",))
    first = small.start()
    outcome.check(small.watch.wait_for("saved", first), "the first run saved nothing")
    outcome.n += 1
    ended = small.finish(env=compiling_once(small.cache))  # to be watched it would have to import JAX first
    named = ended.is_one_sentence(6, f"process {first.pid} on {socket.gethostname()}")
    outcome.check(named and ended.seconds < 5, f"while the first runs: {ended}")
    outcome.exposure["turned away"] += ended.code == 6
    first.kill()
    first.communicate()
    count = 4 if quick else 10
    processes = [small.start() for _ in range(count)]
    outcome.n += count
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and sum(process.poll() is None for process in processes) > 1:
        time.sleep(0.05)
    running = [process for process in processes if process.poll() is None]
    outcome.check(len(running) == 1, f"{len(running)} of {count} run, not 1")
    codes = [process.returncode for process in processes if process not in running]
    outcome.check(codes == [6] * (count - 1), f"the others ended with {codes}")
    outcome.exposure["turned away"] += codes.count(6)
    for process in running:
        saved = small.watch.lines().count("saved")
        went_on = small.watch.wait_for("saved", process, times=saved + 1)
        process.kill()
        out, _ = process.communicate()
        outcome.check(went_on and "going on after" in out, "the one that runs does not go on from what was saved")
        outcome.exposure["took over after a kill"] += went_on
    outcome.require("turned away", count)
    outcome.require("took over after a kill", 1)
    return outcome


def secrets(quick: bool, folder: Path) -> Outcome:
    """A token in the environment is written nowhere, and a folder of weights needs no network."""
    outcome = Outcome()
    tokens = {"HF_TOKEN": SECRET, "HUGGING_FACE_HUB_TOKEN": SECRET, FAULT: "no_network:"}
    env = compiling_once(folder / "cache", **tokens)
    del env["HF_HUB_OFFLINE"]
    weights = folder / "weights"
    _copy_model(weights)
    data = folder / "data"
    data.mkdir()
    for table in SAMPLE.glob("*.csv"):
        shutil.copy(table, data)
    local = ("--tasks=sst,sts", "--max_steps=4", "--max_length=16")
    commands = {
        "a folder of weights": (f"--init={weights}", f"--data_dir={data}", f"--run_dir={folder / 'a'}", *local),
        "the sample": (f"--run_dir={folder / 'b'}", *RUN, "--max_steps=4"),
        "a wrong flag": ("--epoch=3",),
    }
    said = {}
    for name, flags in commands.items():
        ended = run("train.main", *flags, env=env)
        outcome.check(ended.code == (2 if "wrong" in name else 0), f"{name}: {ended}")
        said[name] = ended.out + ended.err
    hub = run("train.main", "--init=no/such-model", env=env)
    outcome.check(hub.is_one_sentence(3, "no/such-model"), f"the hub without a network: {hub}")
    predicted = run("eval.predict", f"--run_dir={folder / 'a'}", "--task=sst", stdin=TEXTS, env=env)
    outcome.check(predicted.code == 0, f"predicting: {predicted}")
    said |= {"the hub": hub.out + hub.err, "predicting": predicted.out + predicted.err}
    for name, text in said.items():
        outcome.n += 1
        outcome.check(SECRET not in text, f"{name}: the token was printed")
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        outcome.n += 1
        outcome.exposure["files searched"] += 1
        outcome.check(SECRET.encode() not in path.read_bytes(), f"{path.name} holds the token")
    outcome.require("files searched", 30)
    return outcome


def _copy_model(folder: Path) -> None:
    """A tiny model of the references, with as many tokens as its embedding table has rows."""
    shutil.copytree(PLAIN, folder)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens[:rows]))


TRIALS = (
    Trial("T8", "a run goes on with harmless settings only, and says which one is not", changed_settings,
          ("settings_not_compared",), seconds=35, compiled=True),
    Trial("T11", "one process at a time works in a run's folder", two_at_once, ("lock_not_held",),
          seconds=25, compiled=True),
    Trial("T24", "a token in the environment is written nowhere; a local folder needs no network", secrets,
          ("environment_in_the_record",), seconds=30, compiled=True),
)  # fmt: skip
