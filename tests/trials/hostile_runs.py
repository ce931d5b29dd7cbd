"""Runs' folders that mean harm: records that are none, and links by which something outside would be written."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.trials.hostile_models import Artefact, bomb, instead, link, write
from train.config import TrainConfig
from train.inputs import read_inputs
from train.resolve import resolve
from train.runs.folder import start_run

OUTSIDE = "outside"  # a folder beside the run's, with files that nobody may write


def good_run(folder: Path) -> Path:
    """A run that has just begun, on the sample, and files beside it that are none of its own."""
    inputs = read_inputs(resolve(TrainConfig(tasks="sst", run_dir=folder)))
    with start_run(inputs.config, inputs.bert, inputs.tokenizer, inputs.hashes, checkpoint_bytes=0):
        pass
    outside = folder.parent / OUTSIDE
    outside.mkdir()
    for name in ("lock", "config.json", "metrics.jsonl", "vocab.txt", "tokenizer_config.json"):
        (outside / name).write_bytes((folder / name).read_bytes() if (folder / name).exists() else b"precious\n")
    return folder


def _record(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        record = json.loads((folder / "config.json").read_text())
        change(record)
        (folder / "config.json").write_text(json.dumps(record))

    return spoil


def _bert(reason: str, **values: Any) -> Artefact:
    return Artefact(f"bert {list(values)}", _record(lambda record: record["bert"].update(values)), reason)


def _setting(reason: str, **values: Any) -> Artefact:
    name = f"{next(iter(values))} = {str(next(iter(values.values())))[:20]}"
    return Artefact(name, _record(lambda record: record["config"].update(values)), f"config.json: {reason}")


def _part(name: str, value: Any) -> Artefact:
    return Artefact(f"{name} = {value}", _record(lambda record: record.update({name: value})), f"it has no {name!r}")


# What is read to score or to predict.
RECORDS = (
    Artefact("a pickle as a record", write("config.json", bomb), "config.json: it is no JSON"),
    Artefact("a list as a record", write("config.json", b"[1]"), "config.json: it holds list"),
    Artefact("brackets as a record", write("config.json", b"[" * 10**6), "config.json: it is nested too deeply"),
    Artefact("a pipe as a record", instead("config.json", os.mkfifo), "config.json: it cannot be read: it is a pipe"),
    Artefact("an endless record", link("config.json", "/dev/zero"), "config.json: it cannot be read: it is a pipe"),
    Artefact("an empty record", write("config.json", b"{}"), "it has no 'config'"),
    _part("config", [["tasks", "sst"]]),
    _part("bert", "tiny"),
    _part("files", 5),
    _bert("num_hidden_layers is 1000000000, outside 1 to 128", num_hidden_layers=10**9),
    _bert("hidden_size is 'x', not a whole number", hidden_size="x"),
    _bert("num_attention_heads is 0, outside", num_attention_heads=0),
    _bert("layer_norm_eps is nan, outside", layer_norm_eps=math.nan),
    _bert("config.json: there is no setting bert.run", run="me"),
    _setting("there is no setting 'run'", run="me"),
    _setting("tasks is 5, which no flag gives", tasks=5),
    _setting("tasks is '../../", tasks="../../" * 10**6),
    _setting("--tasks names '../../x', which is no task", tasks="../../x"),
    _setting("max_length is 'long', which no flag gives", max_length="long"),
    _setting("--row_length=1000000000000, but it lies between", row_length=10**12),
    _setting("dtype is 'object', which no flag gives", dtype="object"),
    _setting("pooling is ['cls'], which no flag gives", pooling=["cls"]),
    _setting("data_dir is 5, which no flag gives", data_dir=5),
    _setting("--head_dropout=nan, but it lies", head_dropout=math.nan),
    _setting("epochs is True, which no flag gives", epochs=True),
    Artefact(
        "a pipe as the vocabulary", instead("tokenizer/vocab.txt", os.mkfifo), "vocab.txt cannot be read: it is a pipe"
    ),
    Artefact("a pickle as the vocabulary", write("tokenizer/vocab.txt", bomb), "vocab.txt "),
)

# What is sound in itself, so that JAX is imported: its arrays would take terabytes.
GIANTS = (
    _bert("has no checkpoint yet", hidden_size=9_999_990, num_attention_heads=10),
    _bert("has no checkpoint yet", num_hidden_layers=128),
)

# What is written when training goes on.
PLACES = "is a link, a pipe or a device; a run's folder has none"


def _leads_out(name: str, to: str) -> Artefact:
    return Artefact(f"{name} leads out", link(name, f"{'../' * (name.count('/') + 1)}{OUTSIDE}/{to}"), PLACES, 2)


LINKS = (
    *(_leads_out(name, name) for name in ("lock", "config.json", "metrics.jsonl")),
    *(_leads_out(f"tokenizer/{name}", name) for name in ("vocab.txt", "tokenizer_config.json")),
    _leads_out("config.json.unfinished", "config.json"),
    _leads_out("checkpoints", ""),
    Artefact("a log that is a pipe", instead("metrics.jsonl", os.mkfifo), PLACES, 2),
    Artefact(
        "a setting of megabytes",
        _record(lambda record: record["config"].update(tasks="sst" * 10**6)),
        "holds a run with other settings: tasks: ",
    ),
    Artefact(
        "settings with words for a terminal",
        _record(lambda record: record["files"].update({"\x1b[2J\n": "\x1b[2J\n"})),
        "holds a run with other settings: '\\x1b[2J\\n': '\\x1b[2J\\n' -> None",
    ),
)
