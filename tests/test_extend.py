"""What a user adds to the open tables: by a file, by arguments of `fit`, and what a run makes of it afterwards."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import train
from bert_jax.errors import InputError, WeightsError
from bert_jax.tasks import KINDS
from tests.test_commands import assert_one_sentence, command
from train import extend
from train.losses import LOSSES
from train.schedulers import SCHEDULERS

ROOT = Path(__file__).parent.parent
EXAMPLE, SEVERAL = ROOT / "examples" / "extend.py", ROOT / "examples" / "several_labels.py"
SHORT = ["--tasks=sst,sts", "--subset=sst=0.1,sts=0.1", "--epochs=1", "--batch_size=16", "--log_every=1"]
ADDED = {"schedulers.temperature", "losses.similarity"}


def last_one_first(batches, epochs, seed):
    for _ in range(epochs):
        for task in reversed(batches):
            yield from [task] * batches[task]


def only_the_sign(scores, labels):
    return (np.sign(1.0) * (scores - labels)) ** 2


def lines(run_dir: Path) -> list[dict]:
    entries = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


def test_the_example_is_short_and_has_a_scheduler_and_a_loss():
    assert len(EXAMPLE.read_text().splitlines()) < 30
    with extend.extended([]):
        extend.load_extension(EXAMPLE)
        order = list(SCHEDULERS["temperature"]({"a": 9, "b": 1}, 20, 0))
        assert order == list(SCHEDULERS["temperature"]({"a": 9, "b": 1}, 20, 0)) and len(order) == 200
        assert 30 < order.count("b") < 70  # a quarter, not a tenth
        assert LOSSES["similarity"](jnp.array([0.5, 3.0]), jnp.zeros(2)).tolist() == [0.125, 2.5]
    assert "temperature" not in SCHEDULERS and LOSSES["similarity"](jnp.array([3.0]), jnp.zeros(1)).tolist() == [9.0]


def test_a_run_that_a_file_extends_goes_on_and_is_judged_without_it(tmp_path):
    flags = [f"--extend={EXAMPLE}", "--scheduler=temperature", *SHORT]
    whole = command("train.main", *flags, f"--run_dir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    begun = command("train.main", *flags, f"--run_dir={tmp_path / 'run'}", "--max_steps=4")
    assert begun.returncode == 0, begun.stderr
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["files"].keys() >= ADDED and record["config"]["scheduler"] == "temperature"

    without = command("train.main", "--scheduler=temperature", *SHORT, f"--run_dir={tmp_path / 'run'}")
    assert_one_sentence(without, 2, "--scheduler=temperature, but it is in_turn, mtdnn or baseline")
    changed = tmp_path / "mine.py"
    changed.write_text(EXAMPLE.read_text().replace("POWER = 0.5", "POWER = 0.25"))
    other = command("train.main", f"--extend={changed}", *flags[1:], f"--run_dir={tmp_path / 'run'}")
    assert_one_sentence(other, 3, "other settings", "schedulers.temperature")

    changed.write_text(EXAMPLE.read_text())  # the same content in another place
    done = command("train.main", f"--extend={changed}", *flags[1:], f"--run_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path / "run")[-1] == lines(tmp_path / "whole")[-1]
    judged = command("eval.main", f"--run_dir={tmp_path / 'run'}")
    assert judged.returncode == 0 and "mean" in judged.stdout
    said = command("eval.predict", f"--run_dir={tmp_path / 'run'}", "--task=sst", stdin="A fine film .\n")
    assert json.loads(said.stdout)["label"] in range(5)


def test_functions_extend_a_run_of_fit_and_are_a_part_of_what_it_is(tmp_path):
    settings = {"tasks": "sst,sts", "subset": "sst=0.1,sts=0.1", "epochs": 1, "run_dir": tmp_path / "run"}
    added = {"schedulers": {"last": last_one_first}, "losses": {"similarity": only_the_sign}}
    first = train.fit(scheduler="last", max_steps=1, **settings, **added)
    assert first is not None and first.history[0]["loss" if "loss" in first.history[0] else "dev"].keys() >= {"sts"}
    assert "last" not in SCHEDULERS and not extend.digests()
    again = train.fit(scheduler="last", **settings, **added)
    assert again is not None and again.history[-1]["step"] == 6
    with pytest.raises(WeightsError, match=r"losses\.similarity"):
        train.fit(scheduler="last", **settings, schedulers=added["schedulers"])
    assert train.open_run(tmp_path / "run").scores.keys() == {"sst", "sts"}


def test_a_scheduler_that_names_no_task_of_the_run_is_an_error(tmp_path):
    def strange(batches, epochs, seed):
        yield "weather"

    with pytest.raises(InputError, match="--scheduler=strange names 'weather', but the tasks of this run are sst"):
        train.fit(tasks="sst,sts", scheduler="strange", schedulers={"strange": strange}, run_dir=tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("x = 1\n", "has none of the tables SCHEDULERS, LOSSES"),
        ("x = 1\ny = undefined\n", "mine.py:2: NameError: name 'undefined'"),
        ("def f(:\n", "mine.py:1: SyntaxError"),
        ("SCHEDULERS = []\n", "SCHEDULERS is list, but a table is a dict"),
        ("SCHEDULERS = {'a b': 1}\n", "schedulers has 'a b', but a name is"),
    ],
)
def test_a_file_that_cannot_extend_is_one_sentence(tmp_path, text, words):
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    done = command("train.main", f"--extend={tmp_path / 'mine.py'}", "--tasks=sst", f"--run_dir={tmp_path / 'run'}")
    assert_one_sentence(done, 2, words)
    assert not (tmp_path / "run").exists()


def test_what_a_runs_folder_names_is_not_run(tmp_path):
    trap, run_dir = tmp_path / "trap.py", tmp_path / "run"
    trap.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nSCHEDULERS = {{'mine': None}}\n")
    train.fit(tasks="sst", subset="sst=0.1", max_steps=1, run_dir=run_dir)
    record = json.loads((run_dir / "config.json").read_text())
    record["config"]["extend"] = str(trap)
    (run_dir / "config.json").write_text(json.dumps(record))
    (run_dir / "config.toml").write_text(f'extend = "{trap}"\n')
    assert train.open_run(run_dir).scores and not (tmp_path / "ran").exists()
    with pytest.raises(InputError, match=r"config\.toml: extend is not taken from a file"):
        train.fit(config=run_dir / "config.toml")
    assert not (tmp_path / "ran").exists()


def test_a_fourth_kind_of_task_is_one_file(tmp_path):
    words = {"rain": "wet", "storm": "windy", "sun": "warm"}
    rng = np.random.default_rng(0)
    rows = ["text,weather"]
    for _ in range(240):
        there = [word for word in words if rng.random() < 0.5] or ["sun"]
        rows.append(f"A day with {' and '.join(there)} .,{';'.join(words[word] for word in there)}")
    (tmp_path / "train.csv").write_text("\n".join(rows[:201]) + "\n")
    (tmp_path / "dev.csv").write_text("\n".join(rows[:1] + rows[201:]) + "\n")
    task = tmp_path / "weather.toml"
    task.write_text(
        'kind = "several"\ntexts = ["text"]\nlabel = "weather"\nlabels = ["wet", "windy", "warm"]\ndelimiter = ","\n'
        'files = { train = "train.csv", dev = "dev.csv", test = "dev.csv" }\n'.replace(', test = "dev.csv"', "")
    )
    flags = [f"--tasks={task}", "--epochs=8", "--batch_size=16", f"--run_dir={tmp_path / 'run'}"]
    assert_one_sentence(command("train.main", *flags), 2, "kind: is 'several'", "wanted is")
    done = command("train.main", *flags, f"--extend={SEVERAL}")
    assert done.returncode == 0, done.stderr
    assert "micro_f1" in done.stdout

    run = train.open_run(tmp_path / "run", extend=SEVERAL)
    assert run.scores["weather"]["micro_f1"] > 0.9
    (answer,) = run.predict("weather", ["A day with rain and storm ."])
    assert answer.label == ["wet", "windy"] and answer.words == "wet, windy" and len(answer.probabilities) == 3
    assert run.evaluate()["weather"]["micro_f1"] == pytest.approx(run.scores["weather"]["micro_f1"])
    assert "several" not in KINDS
    judge = ["eval.main", f"--run_dir={tmp_path / 'run'}"]
    assert command(*judge, f"--extend={SEVERAL}").returncode == 0
    assert_one_sentence(command(*judge), 2, "the run needs heads.several", "--extend")
    written = command("eval.submission", f"--run_dir={tmp_path / 'run'}", f"--extend={SEVERAL}")
    assert written.returncode == 0, written.stderr
    assert "wet;windy" in (tmp_path / "run" / "predictions" / "finetune-weather-dev-out.csv").read_text()
    (tmp_path / "train.csv").write_text("\n".join([*rows[:201], "A day .,dry"]) + "\n")
    bad = command("train.main", f"--tasks={task}", f"--extend={SEVERAL}", f"--run_dir={tmp_path / 'other'}")
    assert_one_sentence(bad, 2, "train.csv:202: weather has 'dry', none of wet, windy, warm")
