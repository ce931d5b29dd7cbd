"""Weights in and out: names, layouts, and what does not fit."""

import json
import math
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from bert_jax.config import SIZES
from bert_jax.errors import WeightsError
from bert_jax.weights.folder import find_weights, load_weights, read_bert_config, save_model
from bert_jax.weights.layout import entries, to_hugging_face

REFERENCES = Path(__file__).parent / "references"
PLAIN = REFERENCES / "plain"


def copy_of(tmp_path: Path, change=None, config=None) -> Path:
    """The reference model `plain`, its tensors and its config.json changed."""
    tensors = safetensors.numpy.load_file(PLAIN / "model.safetensors")
    change = change or (lambda tensors: tensors)
    safetensors.numpy.save_file(change(dict(tensors)), tmp_path / "model.safetensors")
    values = json.loads((PLAIN / "config.json").read_text()) | (config or {})
    (tmp_path / "config.json").write_text(json.dumps(values))
    return tmp_path


@pytest.mark.parametrize("name", ["plain", "prefixed_gamma_beta"])
def test_what_is_saved_is_what_was_loaded(tmp_path, name):
    bert, params = load_weights(REFERENCES / name)
    save_model(tmp_path, bert, params)
    again, params_again = load_weights(tmp_path)
    assert again == bert
    ours, theirs = to_hugging_face(params, bert), to_hugging_face(params_again, bert)
    assert ours.keys() == theirs.keys()
    assert all((ours[key] == theirs[key]).all() for key in ours)


def test_saved_tensors_have_hugging_faces_names_and_numbers(tmp_path):
    bert, params = load_weights(PLAIN)
    save_model(tmp_path, bert, params)
    wanted = safetensors.numpy.load_file(PLAIN / "model.safetensors")
    saved = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    assert saved.keys() == wanted.keys()
    assert all((saved[key] == wanted[key]).all() for key in wanted)


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_prefix_and_old_layer_norm_names_make_no_difference(tmp_path, prefix):
    def rename(tensors):
        return {
            prefix + key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
            for key, v in tensors.items()
        } | {"cls.predictions.bias": np.zeros(83, np.float32), f"{prefix}embeddings.position_ids": np.arange(128)[None]}

    bert, plain = load_weights(PLAIN)
    _, renamed = load_weights(copy_of(tmp_path, rename))
    a, b = to_hugging_face(plain, bert), to_hugging_face(renamed, bert)
    assert a.keys() == b.keys() and all((a[key] == b[key]).all() for key in a)


def test_weights_without_a_pooler_give_no_pooler(tmp_path):
    folder = copy_of(tmp_path, lambda t: {k: v for k, v in t.items() if not k.startswith("pooler")})
    assert set(load_weights(folder)[1]) == {"bert"}


def with_head(tensors):
    head = {
        "heads.sst.weight": np.arange(100, dtype=np.float32).reshape(5, 20),
        "heads.sst.bias": np.ones(5, "float32"),
    }
    return tensors | head


def test_heads_are_written_beside_the_model_and_read_there_and_in_it(tmp_path):
    bert, params = load_weights(copy_of(tmp_path, with_head))
    assert set(params) == {"bert", "pooler", "sst"} and params["sst"]["dense"]["kernel"].shape == (20, 5)
    for given in (params, {"bert": params["bert"]}):  # the second leaves no head of the first
        save_model(tmp_path / "new", bert, given)
        model = safetensors.numpy.load_file(tmp_path / "new" / "model.safetensors")
        assert not any(name.startswith("heads.") for name in model)
        again = load_weights(tmp_path / "new")[1]
        assert jax.tree.structure(again) == jax.tree.structure(given)
        assert jax.tree.all(jax.tree.map(np.array_equal, again, given))


def test_a_head_in_both_files_and_a_broken_file_of_heads_are_errors(tmp_path):
    folder = copy_of(tmp_path, with_head)
    safetensors.numpy.save_file(with_head({}), folder / "heads.safetensors")
    with pytest.raises(WeightsError, match=r"there under two names: heads\.sst\.bias, heads\.sst\.weight$"):
        load_weights(folder)
    (folder / "heads.safetensors").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"heads\.safetensors is not a readable safetensors file"):
        load_weights(folder)


def test_half_precision_weights_become_float32(tmp_path):
    folder = copy_of(tmp_path, lambda t: {k: v.astype(np.float16) for k, v in t.items()})
    kernel = load_weights(folder)[1]["pooler"]["dense"]["kernel"]
    assert kernel.dtype == np.float32


def test_all_missing_unexpected_and_misshaped_tensors_are_named_at_once(tmp_path):
    def spoil(tensors):
        del tensors["encoder.layer.1.output.dense.bias"], tensors["embeddings.LayerNorm.weight"]
        tensors["encoder.layer.0.attention.self.query.weight"] = np.zeros((20, 19), np.float32)
        return tensors | {"encoder.layer.3.output.dense.bias": np.zeros(20, np.float32)}

    with pytest.raises(WeightsError) as caught:
        load_weights(copy_of(tmp_path, spoil))
    message = str(caught.value)
    for part in (
        "missing: ",
        "encoder.layer.1.output.dense.bias",
        "embeddings.LayerNorm.weight",
        "unexpected: encoder.layer.3.output.dense.bias",
        "mis-shaped: encoder.layer.0.attention.self.query.weight is [20, 19], not [20, 20]",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vocab_size": 84}, r"embeddings\.word_embeddings\.weight is \[83, 20\], not \[84, 20\]"),
        ({"num_hidden_layers": 2}, r"unexpected: encoder\.layer\.2"),
        ({"num_hidden_layers": 4}, r"missing: encoder\.layer\.3"),
        ({"num_attention_heads": 3}, "hidden_size 20 is not a multiple of num_attention_heads 3"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"model_type": "roberta"}, "model_type is 'roberta'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"hidden_size": "20"}, "hidden_size is '20', not a whole number"),
        ({"hidden_size": 0}, "hidden_size is 0, outside 1 to 10,000,000"),
        ({"max_position_embeddings": 7}, "max_position_embeddings is 7, outside 8 to 10,000,000"),
        ({"hidden_size": True}, "hidden_size is True, not a whole number"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, outside 1 to 128"),
        ({"layer_norm_eps": math.nan}, "layer_norm_eps is nan, outside 0 to 1"),
        ({"initializer_range": math.inf}, "initializer_range is inf, outside 0 to 1"),
        ({"hidden_dropout_prob": 1}, "hidden_dropout_prob is 1, outside 0 to 1"),
        ({"hidden_act": "gelu" * 10**6}, r"hidden_act is 'gelu.{100,150}$"),
    ],
)
def test_a_configuration_that_does_not_fit_is_an_error(tmp_path, config, message):
    with pytest.raises(WeightsError, match=message):
        load_weights(copy_of(tmp_path, config=config))


def test_values_that_are_not_finite_are_an_error(tmp_path):
    def spoil(tensors):
        tensors["pooler.dense.bias"] = np.full(20, np.nan, np.float32)
        return tensors

    with pytest.raises(WeightsError, match=r"pooler\.dense\.bias holds a value that is not finite"):
        load_weights(copy_of(tmp_path, spoil))


def test_float64_values_beyond_float32_are_an_error(tmp_path):
    folder = copy_of(tmp_path, lambda t: t | {"pooler.dense.bias": np.full(20, 1e300)})
    with pytest.raises(WeightsError, match=r"pooler\.dense\.bias holds a value that is not finite"):
        load_weights(folder)


def test_bfloat16_weights_become_float32(tmp_path):
    folder = copy_of(tmp_path, lambda t: {k: v.astype("bfloat16") for k, v in t.items()})
    kernel = load_weights(folder)[1]["pooler"]["dense"]["kernel"]
    wanted = load_weights(PLAIN)[1]["pooler"]["dense"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, wanted, rtol=2**-8)


def test_a_tensor_under_two_names_is_an_error(tmp_path):
    folder = copy_of(tmp_path, lambda t: t | {"bert.pooler.dense.bias": np.zeros(20, np.float32)})
    with pytest.raises(WeightsError, match=r"there under two names: (bert\.)?pooler\.dense\.bias$"):
        load_weights(folder)


def test_odd_names_are_quoted_and_many_are_counted(tmp_path):
    odd = {f"../{n}\n": np.zeros(1, np.float32) for n in range(9)}
    with pytest.raises(WeightsError, match=r"unexpected: ('\.\./.\\n', ){3}'\.\./.\\n' and 5 more$"):
        load_weights(copy_of(tmp_path, lambda t: t | odd))


def test_tensors_are_compared_before_they_are_read(tmp_path):
    header = {"pooler.dense.bias": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}
    shutil.copy(PLAIN / "config.json", tmp_path)
    with (tmp_path / "model.safetensors").open("wb") as file:
        content = json.dumps(header).encode()
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(file.tell() + 2**40)  # a terabyte of zeros that takes no room
    with pytest.raises(WeightsError, match=r"mis-shaped: pooler\.dense\.bias is \[274877906944\], not \[20\]"):
        load_weights(tmp_path)


def test_long_headers_and_pipes_are_errors(tmp_path):
    shutil.copy(PLAIN / "config.json", tmp_path)
    (tmp_path / "model.safetensors").write_bytes((2**63).to_bytes(8, "little"))
    with pytest.raises(WeightsError, match="its header would have 9,223,372,036,854,775,808 bytes"):
        load_weights(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="it is a pipe"):
        load_weights(tmp_path)


def test_json_that_is_nested_too_deeply_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("[" * 10**6)
    with pytest.raises(WeightsError, match=r"config\.json: it is nested too deeply"):
        read_bert_config(tmp_path / "config.json")


def test_integers_are_no_weights(tmp_path):
    folder = copy_of(tmp_path, lambda t: t | {"pooler.dense.bias": np.zeros(20, np.int32)})
    with pytest.raises(WeightsError, match=r"not floats: pooler\.dense\.bias is I32"):
        load_weights(folder)


def test_broken_and_missing_files_are_errors(tmp_path):
    with pytest.raises(WeightsError, match=r"config\.json does not exist"):
        load_weights(tmp_path)
    shutil.copy(PLAIN / "config.json", tmp_path)
    with pytest.raises(WeightsError, match=r"model\.safetensors does not exist$"):
        load_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(WeightsError, match="is a pickle and is not read"):
        load_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((PLAIN / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_weights(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(WeightsError, match="not a JSON object"):
        read_bert_config(tmp_path / "config.json")


def test_weights_are_found_by_folder_and_in_the_hubs_cache(tmp_path, monkeypatch):
    assert find_weights(str(PLAIN)) == PLAIN
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--owner--name" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    shutil.copy(PLAIN / "config.json", snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = find_weights(f"owner/name@{commit}")
    assert found.name == commit and (found / "config.json").exists()


@pytest.mark.parametrize("init", ["no-such-thing", "./no/such", "owner/no-such-model@main", "a/b@../c", "a" * 5000])
def test_weights_that_are_nowhere_are_an_error(init):
    with pytest.raises(WeightsError, match=f"^--init={re.escape(init)}"):
        find_weights(init)


def test_named_sizes_have_their_published_number_of_parameters():
    def parameters(name):
        return sum(np.prod(entry.shape) * len(entry.names) for entry in entries(SIZES[name]))

    published = {"bert-tiny": 4.4, "bert-mini": 11.2, "bert-small": 28.8, "bert-medium": 41.4, "bert-base": 109.5}
    for name, millions in (published | {"bert-large": 335.1, "minilm-l6": 22.7}).items():
        assert round(parameters(name) / 1e6, 1) == millions
