"""T7: weights that do not fit their configuration or their vocabulary."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from bert_jax.batches.tokenizer import SPECIAL_TOKENS
from bert_jax.errors import WeightsError
from tests.trials import harness
from tests.trials.harness import ROOT, Outcome, Trial
from train.config import TrainConfig
from train.inputs import read_inputs
from train.resolve import RunConfig, resolve

CLAIM = (
    "Weights that do not fit are exit 3 and one sentence, before JAX is imported and with nothing written. It names "
    "the tensor and, where shapes are at fault, the shape found and the shape wanted."
)
PLAIN = ROOT / "tests" / "references" / "plain"
SECONDS = 10
QUERY = "encoder.layer.0.attention.self.query.weight"
WORDS = "embeddings.word_embeddings.weight"


@dataclasses.dataclass
class Model:
    """A model's folder, to be changed before it is written."""

    tensors: dict[str, np.ndarray]
    config: dict[str, Any]
    vocab: list[str]

    def write(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        safetensors.numpy.save_file(self.tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config))
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in self.vocab), encoding="utf-8")
        return folder


def good_model() -> Model:
    """The reference model `plain`, with a vocabulary of its size."""
    tensors = safetensors.numpy.load_file(PLAIN / "model.safetensors")
    config = json.loads((PLAIN / "config.json").read_text())
    words = (f"word{number}" for number in range(config["vocab_size"] - len(SPECIAL_TOKENS)))
    return Model(tensors, config, [*SPECIAL_TOKENS, *words])


@dataclasses.dataclass(frozen=True)
class Case:
    """A change of a good model, and what the sentence must have."""

    name: str
    change: Callable[[Model], object]
    parts: tuple[str, ...]


def configured(name: str, *parts: str, **values: Any) -> Case:
    """A model whose config.json says something else than its weights; the vocabulary follows it."""

    def change(model: Model) -> None:
        model.config |= values
        size = values.get("vocab_size", len(model.vocab))
        model.vocab = [*model.vocab, *(f"more{number}" for number in range(size))][:size]

    return Case(name, change, parts)


def renamed(old: str, new: str) -> Callable[[Model], object]:
    return lambda model: model.tensors.update({new: model.tensors.pop(old)})


def replaced(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Model], object]:
    return lambda model: model.tensors.update({name: np.ascontiguousarray(change(model.tensors[name]))})


INNER = "encoder.layer.1.intermediate.dense.weight"
CASES = (
    configured("a word more", f"{WORDS} is [83, 20], not [84, 20]", vocab_size=84),
    configured("a word fewer", f"{WORDS} is [83, 20], not [82, 20]", vocab_size=82),
    configured("wider", f"{WORDS} is [83, 20], not [83, 24]", "and", hidden_size=24, num_attention_heads=6),
    configured("narrower", f"{WORDS} is [83, 20], not [83, 10]", "and", hidden_size=10),
    configured("heads", "hidden_size 20 is not a multiple of num_attention_heads 3", num_attention_heads=3),
    configured("more layers", "missing: encoder.layer.3.attention.self.query.weight", num_hidden_layers=4),
    configured("fewer layers", "unexpected: encoder.layer.2.attention", num_hidden_layers=2),
    configured("positions", "position_embeddings.weight is [128, 20], not [64, 20]", max_position_embeddings=64),
    configured("segments", "token_type_embeddings.weight is [3, 20], not [2, 20]", type_vocab_size=2),
    configured("inner size", f"{INNER} is [36, 20], not [80, 20]", intermediate_size=80),
    Case("missing", lambda model: model.tensors.pop(QUERY), (f"missing: {QUERY}",)),
    Case("half a pooler", lambda model: model.tensors.pop("pooler.dense.bias"), ("missing: pooler.dense.bias",)),
    Case("extra", lambda m: m.tensors.update({"adapter.weight": np.zeros(3)}), ("unexpected: adapter.weight",)),
    Case("renamed", renamed(QUERY, "q.weight"), (f"missing: {QUERY}", "unexpected: q.weight")),
    Case("under two names", lambda m: m.tensors.update({f"bert.{WORDS}": m.tensors[WORDS]}), ("two names", WORDS)),
    Case("transposed", replaced(INNER, np.transpose), (f"{INNER} is [20, 36], not [36, 20]",)),
    Case("flattened", replaced(INNER, np.ravel), (f"{INNER} is [720], not [36, 20]",)),
    Case("whole numbers", replaced(INNER, lambda t: t.astype(np.int8)), (f"not floats: {INNER} is I8",)),
    Case("a token more", lambda model: model.vocab.append("more"), ("vocab.txt has 84 tokens", "has 83 rows")),
    Case("a token fewer", lambda model: model.vocab.pop(), ("vocab.txt has 82 tokens", "has 83 rows")),
    Case("no [SEP]", lambda m: m.vocab.__setitem__(3, "[END]"), ("vocab.txt: ", "lacks [SEP]")),
    Case("a token twice", lambda m: m.vocab.__setitem__(9, "word7"), ("vocab.txt:13: token 'word7' stands twice",)),
)


def sweep(model: Model) -> Iterator[Case]:
    """Every tensor in turn: longer and shorter in each dimension, missing, renamed, and of whole numbers."""
    for name, tensor in model.tensors.items():
        shape = list(tensor.shape)
        for axis in range(tensor.ndim):
            for size in (shape[axis] - 1, shape[axis] + 1):
                other = [*shape[:axis], size, *shape[axis + 1 :]]
                change = replaced(name, lambda _, other=other: np.zeros(other, np.float32))
                yield Case(f"{name} {other}", change, (f"{name} is {other}, not {shape}",))
        yield Case(f"{name} missing", lambda model, name=name: model.tensors.pop(name), (f"missing: {name}",))
        yield Case(f"{name} renamed", renamed(name, f"{name}_"), (f"missing: {name}", f"unexpected: {name}_"))
        yield Case(f"{name} int32", replaced(name, lambda t: t.astype(np.int32)), (f"not floats: {name} is I32",))


def run(quick: bool, folder: Path) -> Outcome:
    outcome = Outcome()
    swept = list(sweep(good_model()))[:: 10 if quick else 1]
    for number, case in enumerate([*CASES, *swept]):
        model = good_model()
        case.change(model)
        place = model.write(folder / "model")
        _refuse_in_process(outcome, case, place)
        if number < len(CASES):
            _refuse_as_a_command(outcome, case, place, folder)
        shutil.rmtree(place)
    outcome.require("refused in the process", len(CASES) + len(swept))
    outcome.require("refused by the command", len(CASES))
    _accept(outcome, folder)
    return outcome


def _config(place: Path) -> RunConfig:
    return resolve(TrainConfig(init=str(place), tasks="sst"))


def _refuse_in_process(outcome: Outcome, case: Case, place: Path) -> None:
    outcome.n += 1
    try:
        read_inputs(_config(place))
    except WeightsError as error:
        said = str(error)
        right = str(place) in said and all(part in said for part in case.parts) and "\n" not in said
        if outcome.check(right and len(said) < 1000, f"{case.name}: wanted {case.parts}, but {said!r}"):
            outcome.exposure["refused in the process"] += 1
    except Exception as error:
        outcome.check(False, f"{case.name}: {error!r}")
    else:
        outcome.check(False, f"{case.name}: was accepted")


def _refuse_as_a_command(outcome: Outcome, case: Case, place: Path, folder: Path) -> None:
    before = harness.hash_files(place)
    ended = _train(place, folder)
    outcome.n += 1
    right = ended.is_one_sentence(3, str(place), *case.parts) and not ended.out and ended.seconds < SECONDS
    right = outcome.check(right, f"{case.name}: wanted {case.parts}, but {ended}")
    written = (folder / "run").exists() or harness.hash_files(place) != before
    if outcome.check(not written, f"{case.name}: something was written") and right:
        outcome.exposure["refused by the command"] += 1
    shutil.rmtree(folder / "run", ignore_errors=True)


def _train(place: Path, folder: Path) -> harness.Ended:
    flags = (f"--init={place}", "--tasks=sst", f"--run_dir={folder / 'run'}")
    return harness.run("train.main", *flags, env=harness.without_jax(folder), timeout=60)


def _accept(outcome: Outcome, folder: Path) -> None:
    """The model that was changed is good as it is: the command gets as far as JAX."""
    place = good_model().write(folder / "model")
    outcome.exposure["good weights accepted"] = int(read_inputs(_config(place)).weights is not None)
    outcome.exposure["imports of JAX noticed"] = int(harness.JAX_IMPORTED in _train(place, folder).err)
    outcome.require("good weights accepted", 1)
    outcome.require("imports of JAX noticed", 1)


TRIALS = (Trial("T7", CLAIM, run, ("shapes_not_compared", "vocabulary_not_counted")),)
