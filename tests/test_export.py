"""An exported run: what others find in the folder, what the card says, and what comes back with --init.

What transformers and sentence-transformers write themselves is in references/saved.json (references/make_saved.py);
references/check_export.py loads a folder with both.
"""

import dataclasses
import io
import json
import re
import sys
from pathlib import Path

import huggingface_hub
import jax
import numpy as np
import pytest
import safetensors.numpy
import tokenizers

from bert_jax.errors import InputError, StorageError
from eval.encode import EncodeConfig
from eval.encode import main as encode
from eval.export.__main__ import ExportConfig, main
from tests.builders import begin
from train.config import TrainConfig
from train.inputs import read_inputs
from train.resolve import resolve
from train.runs.log import append

SAVED = json.loads((Path(__file__).parent / "references" / "saved.json").read_text())
SCORES = {
    "sst": {"accuracy": 0.51234, "macro_f1": 0.4, "f1": [0.1] * 5},
    "quora": {"accuracy": 0.75, "macro_f1": 0.7, "f1": [0.7, 0.7]},
    "sts": {"pearson": None, "spearman": None},
}


def started(run_dir: Path, **settings) -> tuple[Path, dict]:
    return run_dir, begin(TrainConfig(run_dir=run_dir, **settings))


@pytest.fixture(scope="module")
def separate(tmp_path_factory) -> tuple[Path, dict]:
    """A run of three tasks with the pooler, its pairs two texts; and its parameters."""
    return started(tmp_path_factory.mktemp("runs") / "separate")


@pytest.fixture(scope="module")
def joint(tmp_path_factory) -> tuple[Path, dict]:
    return started(tmp_path_factory.mktemp("runs") / "joint", pair_encoding="joint")


@pytest.fixture(scope="module")
def cosine(tmp_path_factory) -> tuple[Path, dict]:
    return started(tmp_path_factory.mktemp("runs") / "cosine", pooling="mean", similarity_head="cosine")


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> tuple[Path, dict]:
    return started(tmp_path_factory.mktemp("runs") / "masked", mode="mlm")


@pytest.mark.parametrize(
    ("run", "task", "saved"),
    [
        ("separate", None, "BertModel"),
        ("separate", "sst", "BertForSequenceClassification, sst"),
        ("joint", "quora", "BertForSequenceClassification, quora"),
        ("masked", None, "BertForMaskedLM"),
    ],
)
def test_tensors_and_settings_are_those_that_transformers_saves(request, tmp_path, run, task, saved):
    run_dir, params = request.getfixturevalue(run)
    main(ExportConfig(run_dir=run_dir, output=tmp_path / "out", task=task))
    tensors = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    assert {name: list(value.shape) for name, value in tensors.items()} == SAVED[saved]["tensors"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {name: SAVED[saved]["config"][name] for name in config} == config
    if task:
        np.testing.assert_array_equal(tensors["classifier.weight"].T, params[task]["dense"]["kernel"])
    assert (tmp_path / "out" / "modules.json").exists() == (saved == "BertModel")


def test_the_tokenizer_is_that_of_transformers(separate, tmp_path):
    main(ExportConfig(run_dir=separate[0], output=tmp_path / "out"))
    saved = SAVED["tokenizer"]
    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert {name: saved["config"][name] for name in config} == config
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == SAVED["BertModel"]["config"]["vocab_size"]
    tokenizer.encode_special_tokens = config["split_special_tokens"]
    encoded = [tokenizer.encode(*texts) for texts in saved["texts"]]
    assert [each.ids for each in encoded] == saved["token_ids"]
    assert [each.type_ids for each in encoded] == saved["token_type_ids"]


@pytest.mark.parametrize(("run", "pooling"), [("separate", "cls"), ("cosine", "mean")])
def test_the_modules_are_those_of_sentence_transformers(request, tmp_path, run, pooling):
    run_dir, params = request.getfixturevalue(run)
    out = tmp_path / "out"
    main(ExportConfig(run_dir=run_dir, output=out))
    chains = [json.loads((out / "modules.json").read_text()), SAVED[pooling]["modules"]]
    ours, theirs = ([(m["path"], m["type"].split(".")[-1]) for m in chain] for chain in chains)
    assert ours == theirs
    modes = json.loads((out / "1_Pooling" / "config.json").read_text())
    assert [mode for mode, used in modes.items() if used is True] == [
        {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}[pooling]
    ]
    if pooling == "cls":
        layer = safetensors.numpy.load_file(out / "2_Dense" / "model.safetensors")
        assert {name: list(value.shape) for name, value in layer.items()} == SAVED["dense"]["tensors"]
        config = json.loads((out / "2_Dense" / "config.json").read_text())
        assert {name: SAVED["dense"]["config"][name] for name in config} == config
        np.testing.assert_array_equal(layer["linear.weight"].T, params["pooler"]["dense"]["kernel"])


@pytest.mark.parametrize(
    ("run", "task", "settings"),
    [
        ("separate", None, {}),
        ("separate", "sst", {}),
        ("joint", "sts", {"pair_encoding": "joint"}),
        ("cosine", None, {"pooling": "mean", "similarity_head": "cosine"}),
        ("masked", None, {"mode": "mlm"}),
    ],
)
def test_what_was_exported_comes_back_bit_for_bit(request, tmp_path, capsys, run, task, settings):
    run_dir, params = request.getfixturevalue(run)
    main(ExportConfig(run_dir=run_dir, output=tmp_path / "out", task=task))
    flags = "".join(f" --{name}={value}" for name, value in settings.items() if name != "mode")
    assert capsys.readouterr().out.endswith(f"next: python -m train.main --init={tmp_path}/out{flags}\n")
    inputs = read_inputs(resolve(TrainConfig(init=str(tmp_path / "out"), **settings)))
    assert jax.tree.structure(inputs.weights) == jax.tree.structure(params)
    assert jax.tree.all(jax.tree.map(np.array_equal, inputs.weights, params))
    assert dataclasses.asdict(inputs.tokenizer) == dataclasses.asdict(read_inputs(resolve(TrainConfig())).tokenizer)


def test_the_card_says_what_the_hub_and_people_ask(separate, tmp_path):
    run_dir, _ = separate
    append(run_dir / "metrics.jsonl", {"step": 1, "epoch": 1, "dev": SCORES, "score": 0.5})
    main(ExportConfig(run_dir=run_dir, output=tmp_path / "three_tasks"))
    card = huggingface_hub.ModelCard.load(tmp_path / "three_tasks" / "README.md")
    data = card.data.to_dict()
    assert (data["library_name"], data["pipeline_tag"]) == ("sentence-transformers", "sentence-similarity")
    results = {
        (result["dataset"]["name"].split()[0], metric["type"]): metric["value"]
        for result in data["model-index"][0]["results"]
        for metric in result["metrics"]
    }
    assert results == {
        ("sst", "accuracy"): 0.5123, ("sst", "f1"): 0.4, ("quora", "accuracy"): 0.75, ("quora", "f1"): 0.7,
    }  # fmt: skip
    record = json.loads((run_dir / "config.json").read_text())
    for part in (
        "| sst | 0.512 | 0.400 |  |  |", "| sts |  |  | undefined | undefined |", "after update 1, the run's best",
        "the dev tables of bert-jax's embedded sample", "| scheduler | mtdnn |", f"jax {record['versions']['jax']}",
        f"| quora-dev.csv | `{record['files']['quora-dev.csv']}` |", "--init=three_tasks\n",
    ):  # fmt: skip
        assert part in card.content, part
    assert "run_dir" not in card.content and "log_every" not in card.content
    assert str(tmp_path) not in card.content and str(run_dir.parent) not in card.content
    blocks = re.findall(r"```python\n(.*?)```", card.content, re.S)
    assert len(blocks) == 3 and all(compile(block, "card", "exec") for block in blocks)


def test_a_card_of_a_recipe_tells_of_all_stages_and_hides_where_they_were(tmp_path):
    recipe = tmp_path / "secret" / "recipe"
    recipe.mkdir(parents=True)
    begin(TrainConfig(run_dir=recipe / "1-pretrain", mode="pretrain", tasks="sst"))
    main(ExportConfig(run_dir=recipe, output=tmp_path / "heads"))
    begin(TrainConfig(run_dir=recipe / "2-finetune", init=str(tmp_path / "heads"), tasks="sst", seed=5))
    main(ExportConfig(run_dir=recipe, output=tmp_path / "out", task="sst"))
    text = (tmp_path / "out" / "README.md").read_text()
    for part in ("| setting | stage 1 | stage 2 |", "| mode | pretrain | finetune |", "| init |  | heads |",
                 "| seed | 11711 | 5 |", "which was not scored", "pipeline_tag: text-classification"):  # fmt: skip
        assert part in text, part
    assert "secret" not in text and "weights of" not in text


def test_a_card_says_which_heads_were_not_trained(tmp_path):
    begin(TrainConfig(run_dir=tmp_path / "run", scheduler="baseline"))
    main(ExportConfig(run_dir=tmp_path / "run", output=tmp_path / "out"))
    assert (
        "trained one model, for sst alone; the other heads are as they began"
        in (tmp_path / "out/README.md").read_text()
    )


def test_a_folder_that_holds_something_is_left_alone(separate, tmp_path):
    run_dir, _ = separate
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "old").mkdir()
    with pytest.raises(InputError, match=r"--output=.* holds mine; name a folder that is new or empty$"):
        main(ExportConfig(run_dir=run_dir, output=tmp_path))
    with pytest.raises(StorageError, match=r"--output=.*mine is no folder and cannot be made one$"):
        main(ExportConfig(run_dir=run_dir, output=tmp_path / "mine"))
    with pytest.raises(StorageError, match=r"--output=.*no/where is no folder"):
        main(ExportConfig(run_dir=run_dir, output=tmp_path / "no" / "where"))
    with pytest.raises(InputError, match="lies in the run's own folder"):
        main(ExportConfig(run_dir=run_dir, output=run_dir / "out"))
    (tmp_path / "link").symlink_to(tmp_path / "old")
    main(ExportConfig(run_dir=run_dir, output=tmp_path / "link"))
    assert (tmp_path / "old" / "config.json").exists() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine", "old"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(separate, tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(StorageError, match=r"out cannot be written: No space left on device$"):
        main(ExportConfig(run_dir=separate[0], output=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "task", "message"),
    [
        ("separate", "quora", r"--task=quora cannot be exported: .* needs a run with --pair_encoding=joint; without"),
        ("cosine", "sst", r"--task=sst cannot be exported: .* needs a run with --pooling=cls; without --task"),
        ("joint", "cfimdb", r"--task=cfimdb is no task of this run; it has sst, quora, sts$"),
        ("masked", "mlm", r"--task=mlm is no task of this run"),
    ],
)
def test_a_head_that_transformers_cannot_hold_is_refused(request, tmp_path, run, task, message):
    with pytest.raises(InputError, match=message):
        main(ExportConfig(run_dir=request.getfixturevalue(run)[0], output=tmp_path / "out", task=task))
    assert list(tmp_path.iterdir()) == []


def embeddings(monkeypatch, output: Path, **flags) -> np.ndarray:
    text = io.TextIOWrapper(io.BytesIO(b"The film is superb .\nA dull story .\n\n"))
    monkeypatch.setattr(sys, "stdin", text)
    encode(EncodeConfig(output=output / "out.npy", **flags))
    return np.load(output / "out.npy")


def test_the_embeddings_of_a_run_are_those_that_its_heads_read(separate, cosine, masked, tmp_path, monkeypatch):
    for (run_dir, _), pooling in ((separate, "pooler"), (cosine, "mean"), (masked, "mean")):
        out = tmp_path / run_dir.name
        main(ExportConfig(run_dir=run_dir, output=out))
        ours = embeddings(monkeypatch, tmp_path, run_dir=run_dir)
        assert ours.shape == (3, 128) and ours.dtype == np.float32
        np.testing.assert_array_equal(ours, embeddings(monkeypatch, tmp_path, init=str(out), pooling=pooling))
    with pytest.raises(InputError, match=r"--pooling=pooler, but .*masked has no pooler"):
        embeddings(monkeypatch, tmp_path, run_dir=masked[0], pooling="pooler")
    for neither_or_both in ({}, {"run_dir": masked[0], "init": "x"}):
        with pytest.raises(InputError, match="give one of them"):
            embeddings(monkeypatch, tmp_path, **neither_or_both)
