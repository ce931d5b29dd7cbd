"""Models that mean harm: made to run code, to fill the memory, to keep the program waiting, or to be trained on."""

import dataclasses
import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.trials.weights import WORDS, Model, good_model

CANARY = "canary"  # a file that would be made beside the model's folder if anything in it were run


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A model's folder, or a run's, that means harm.

    spoil: changes the folder, which holds a good one.
    reason, code: of the sentence that must come.
    """

    name: str
    spoil: Callable[[Path], object]
    reason: str
    code: int = 3


class Bomb:
    """A pickle of this makes a file as soon as it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def bomb(folder: Path) -> bytes:
    return pickle.dumps({"weight": Bomb(folder.parent / CANARY)})


def write(name: str, content: bytes | Callable[[Path], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content(folder) if callable(content) else content)


def instead(name: str, place: Callable[[Path], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        place(folder / name)

    return spoil


def _both(*spoils: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [spoil(folder) for spoil in spoils]


def _model(change: Callable[[Model], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        model = good_model()
        change(model)
        model.write(folder)

    return spoil


# Pickles, and code.


def _numpy_pickle(folder: Path) -> bytes:
    with (folder / "weights.npy").open("wb") as file:
        np.save(file, np.array([Bomb(folder.parent / CANARY)], dtype=object), allow_pickle=True)
    return (folder / "weights.npy").read_bytes()


def _torch_zip(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", bomb(folder))
    return (folder / "pytorch_model.bin").read_bytes()


def _code(folder: Path) -> None:
    for name in ("modeling_bert.py", "sitecustomize.py", "numpy.py", "__init__.py"):
        (folder / name).write_text(f"open({str(folder.parent / CANARY)!r}, 'w')\n")
    values = good_model().config | {"auto_map": {"AutoModel": "modeling_bert.BertModel"}, "model_type": "modeling_bert"}
    (folder / "config.json").write_text(json.dumps(values))


UNREADABLE = "is not a readable safetensors file"
PICKLES = (
    Artefact(
        "pytorch_model.bin alone",
        _both(write("pytorch_model.bin", bomb), instead("model.safetensors", lambda path: None)),
        "pytorch_model.bin is a pickle and is not read",
    ),
    Artefact("a pickle as model.safetensors", write("model.safetensors", bomb), UNREADABLE),
    Artefact("a pickled array as model.safetensors", write("model.safetensors", _numpy_pickle), UNREADABLE),
    Artefact("a zip of PyTorch as model.safetensors", write("model.safetensors", _torch_zip), UNREADABLE),
    Artefact("a pickle as config.json", write("config.json", bomb), "config.json: it is no JSON"),
    Artefact("a pickle as vocab.txt", write("vocab.txt", bomb), "vocab.txt "),
    Artefact("code beside the weights", _code, "model_type is 'modeling_bert'"),
    Artefact(
        "code as an activation",
        _model(lambda m: m.config.update(hidden_act="__import__('os').system('touch canary')")),
        "hidden_act is ",
    ),
)

# safetensors: eight bytes that say how long the header is, the header in JSON, the values.


def _tensors(header: dict[str, Any] | bytes, size: int = 0, length: int | None = None) -> Callable[[Path], object]:
    """A file with this header and `size` bytes of zeros, which take no room on the disk."""

    def spoil(folder: Path) -> None:
        content = header if isinstance(header, bytes) else json.dumps(header).encode()
        with (folder / "model.safetensors").open("wb") as file:
            file.write((len(content) if length is None else length).to_bytes(8, "little") + content)
            file.truncate(file.tell() + size)

    return spoil


def _tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _many(size: int) -> bytes:
    """A header of about so many bytes, all of it tensors without values."""
    entry = json.dumps(_tensor([0], 0, 0), separators=(",", ":"))
    return ("{" + ",".join(f'"{number}":{entry}' for number in range(size // (len(entry) + 11))) + "}").encode()


TERABYTE = 2**40
TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
HEADERS = (
    Artefact("no bytes", write("model.safetensors", b""), UNREADABLE),
    Artefact("a header of minus one byte", _tensors(b"{}", length=2**64 - 1), UNREADABLE),
    Artefact("a header longer than the file", _tensors(b"{}", length=9_000_000), UNREADABLE),
    Artefact("a header of 99 MB", lambda folder: _tensors(_many(99_000_000))(folder), UNREADABLE),
    Artefact("a header of 9 MB", lambda folder: _tensors(_many(9_000_000))(folder), "unexpected: "),
    Artefact("a header of brackets", _tensors(b"[" * 1_000_000), UNREADABLE),
    Artefact("a header that is not UTF-8", _tensors(b'{"\xff": 1}'), UNREADABLE),
    Artefact("tensors that overlap", _tensors({"a": _tensor([2], 0, 8), "b": _tensor([2], 4, 12)}, 12), UNREADABLE),
    Artefact("a tensor past the end", _tensors({"a": _tensor([9], 0, 36)}, 4), UNREADABLE),
    Artefact("a tensor before the beginning", _tensors({"a": _tensor([1], -4, 0)}, 4), UNREADABLE),
    Artefact("a tensor twice", _tensors(TWICE, 8), UNREADABLE),
    Artefact("an unknown type", _tensors({"a": _tensor([1], 0, 4, "PY")}, 4), UNREADABLE),
    Artefact("a shape beyond 64 bits", _tensors({"a": _tensor([2**62, 2**62], 0, 4)}, 4), UNREADABLE),
    Artefact(
        "a terabyte of zeros", _tensors({WORDS: _tensor([2**36, 4], 0, TERABYTE)}, TERABYTE), f"mis-shaped: {WORDS}"
    ),
    Artefact("no tensors", _tensors({}), "missing: embeddings.word_embeddings.weight"),
    Artefact(
        "names that lead out",
        _model(lambda m: m.tensors.update({"../../canary": m.tensors.pop(WORDS), "/tmp/canary\n\x1b[2J": np.zeros(1)})),
        "unexpected: '../../canary', '/tmp/canary\\n\\x1b[2J'",
    ),
    Artefact(
        "names of megabytes",
        _model(lambda m: m.tensors.update({"long" * 10**6 + str(n): np.zeros(1) for n in range(2)})),
        "unexpected: 'longlong",
    ),
)


def _filled(name: str, value: float, dtype: type = np.float32) -> Callable[[Path], object]:
    def change(model: Model) -> None:
        model.tensors[name] = model.tensors[name].astype(dtype)
        model.tensors[name].flat[-1] = value

    return _model(change)


FINITE = "holds a value that is not finite"
VALUES = (
    Artefact("a NaN", _filled(WORDS, math.nan), f"{WORDS} {FINITE}"),
    Artefact("an infinity", _filled("pooler.dense.bias", math.inf), f"pooler.dense.bias {FINITE}"),
    Artefact("a float64 beyond float32", _filled(WORDS, 1e300, np.float64), f"{WORDS} {FINITE}"),
    Artefact("a NaN in half precision", _filled(WORDS, math.nan, np.float16), f"{WORDS} {FINITE}"),
)


def _configured(name: str, reason: str, **values: Any) -> Artefact:
    return Artefact(name, _model(lambda model: model.config.update(values)), reason)


def _json(name: str, content: str | bytes, reason: str) -> Artefact:
    return Artefact(name, write("config.json", content if isinstance(content, bytes) else content.encode()), reason)


CONFIGS = (
    _json("half a JSON", '{"hidden_size": ', "config.json: it is no JSON"),
    _json("no bytes as JSON", "", "config.json: it is no JSON"),
    _json("UTF-16 as JSON", '{"hidden_size": 20}'.encode("utf-16"), "config.json: it is no JSON"),
    _json("a list", "[20]", "config.json: it holds list, not a JSON object"),
    _json("brackets", "[" * 5_000_000, "config.json: it is nested too deeply"),
    _json("objects in objects", '{"a":' * 1_000_000, "config.json: it is nested too deeply"),
    _json("an integer of a million digits", '{"hidden_size": ' + "9" * 10**6 + "}", "config.json: it is no JSON"),
    _json("no keys", "{}", f"mis-shaped: {WORDS} is [83, 20], not [30522, 768]"),
    _configured("a giant", f"{WORDS} is [83, 20], not [83, 9999990]", hidden_size=9_999_990),
    _configured("a billion layers", "num_hidden_layers is 1000000000, outside", num_hidden_layers=10**9),
    _configured("very many layers", "and 1,996 more", num_hidden_layers=128),
    _configured("a negative size", "vocab_size is -83, outside", vocab_size=-83),
    _configured("no heads", "num_attention_heads is 0, outside", num_attention_heads=0),
    _configured("half a layer", "num_hidden_layers is 2.5, not a whole number", num_hidden_layers=2.5),
    _configured("a size in words", "hidden_size is 'twenty', not a whole number", hidden_size="twenty"),
    _configured("a size of megabytes", "hidden_size is '9999", hidden_size="9" * 5_000_000),
    _configured("a size that is true", "type_vocab_size is True, not a whole number", type_vocab_size=True),
    _configured("an eps that is NaN", "layer_norm_eps is nan, outside 0 to 1", layer_norm_eps=math.nan),
    _configured("a dropout of 1e999", "hidden_dropout_prob is inf, outside 0 to 1", hidden_dropout_prob=math.inf),
    _configured("a dropout that is a list", "hidden_dropout_prob is [", hidden_dropout_prob=[[[[[0.1]]]]] * 1000),
)


def _case(content: bytes, reason: str) -> Artefact:
    return Artefact(f"a case setting of {content[:9]}", write("tokenizer_config.json", content), reason)


NOISE = np.random.default_rng(0).bytes(1_000_000)
VOCABULARIES = (
    Artefact(
        "a vocabulary of a terabyte", lambda folder: os.truncate(folder / "vocab.txt", TERABYTE), "it has 1,099,511"
    ),
    Artefact("a vocabulary of noise", write("vocab.txt", NOISE), "vocab.txt is no text"),
    Artefact(
        "a token of megabytes", _model(lambda m: m.vocab.__setitem__(9, "a" * 7_000_000)), "vocab.txt:10: a token of"
    ),
    Artefact("a million tokens", _model(lambda m: m.vocab.extend(map(str, range(10**6)))), "has 1000083 tokens"),
    Artefact("a million line ends", write("vocab.txt", b"\n" * 7_000_000), "token '' stands twice"),
    _case(b'{"do_lower_case": "../x"}', "do_lower_case is '../x', not true or false"),
    _case(b"[" * 10**6, "tokenizer_config.json: it is nested too deeply"),
)


def link(name: str, to: str) -> Callable[[Path], object]:
    return instead(name, lambda path: path.symlink_to(to))


def _bomb_outside(folder: Path) -> None:
    (folder.parent / "outside").write_bytes(bomb(folder))


FILES = ("config.json", "vocab.txt", "model.safetensors", "tokenizer_config.json")
PLACES = (
    *(Artefact(f"a pipe as {name}", instead(name, os.mkfifo), name) for name in FILES),
    *(Artefact(f"a folder as {name}", instead(name, Path.mkdir), name) for name in FILES),
    *(Artefact(f"an endless {name}", link(name, "/dev/zero"), name) for name in FILES),
    Artefact("a link to a pickle", _both(_bomb_outside, link("model.safetensors", "../outside")), UNREADABLE),
    Artefact("a link to a file of others", link("vocab.txt", "/etc/passwd"), "vocab.txt has"),
    Artefact("a link to nowhere", link("vocab.txt", "nowhere"), "vocab.txt does not exist"),
    Artefact("a link to itself", link("vocab.txt", "vocab.txt"), "Too many levels of symbolic links"),
)

MODELS = (PICKLES, HEADERS, VALUES, CONFIGS, VOCABULARIES, PLACES)
