"""Masked LM: the batches, the head on the masked tokens alone, the step, the scores."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy

from bert_jax.batches.batches import training_batches
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.masked import mask_batches
from bert_jax.batches.masking import MaskVocabulary, mask_tokens
from bert_jax.batches.packing import PackedBatch
from bert_jax.heads import MaskedLmHead, encode, init_params, predict_logits, used_parts
from bert_jax.tasks import MASKED_LM
from bert_jax.weights.folder import load_weights, save_model
from eval.evaluate import evaluate
from eval.metrics import score_task
from tests.builders import THREE, TINY, batches_in_order, encode_ids, lively_params, moved_parts, padded, tiny_model
from tests.test_step import assert_trees_close, gradient_and_loss
from train.devices.parallel import Parallel
from train.losses import LOSSES
from train.optim import make_optimizer
from train.step import init_state, make_predict_step, make_train_step, trained_parts

PAD, UNK, CLS, SEP, MASK = range(5)
VOCABULARY = MaskVocabulary(mask=MASK, special=np.arange(5), ordinary=np.arange(5, 50))
ALL = (*THREE, MASKED_LM)


def texts_of(examples: int, seed: int = 0, longest: int = 20) -> EncodedExamples:
    """Random texts of up to `longest` words, framed."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, longest + 1, examples)
    return encode_ids([[CLS, *rng.integers(5, 50, size).tolist(), SEP] for size in sizes])


def masked_once(encoded: EncodedExamples, size: int = 8, shares: int = 1, row_length: int | None = None):
    """All texts in order, with the masks of one epoch."""
    return mask_batches(batches_in_order(encoded, size, shares, row_length), VOCABULARY, seed=3, per_epoch=10**6)


def only(batch: PackedBatch) -> PackedBatch:
    """The share of a batch that has one."""
    return jax.tree.map(lambda array: array[0], batch)


def found_masks(batch: PackedBatch) -> set[tuple[int, int, int, int]]:
    """(text, position, id to predict, id that is read) of all masked tokens of a batch of several shares."""
    found = set()
    for share in range(len(batch.token_ids)):
        one = jax.tree.map(lambda array, share=share: np.asarray(array[share]), batch)
        for place, label, weight in zip(one.masked, one.labels, one.weights, strict=True):
            if weight:
                row, column = divmod(int(place), one.token_ids.shape[1])
                text = one.example_ids[one.segment_ids[row, column] - 1]
                found.add((int(text), int(one.position_ids[row, column]), int(label), int(one.token_ids[row, column])))
    return found


def masked_by_hand(batch: PackedBatch, encoded: EncodedExamples, indices: list[int], epoch: int = 0) -> PackedBatch:
    """A batch of one text a row, masked token by token: written out here to be compared with `MaskedBatches`."""
    masked = mask_tokens(encoded, np.asarray(indices), VOCABULARY, seed=3, epoch=epoch)
    token_ids, length = np.array(batch.token_ids), batch.token_ids.shape[1]
    for text, position, replacement in zip(masked.text, masked.position, masked.replacement, strict=True):
        token_ids[text, position] = replacement
    place = masked.text * length + masked.position
    ones = np.ones(len(place), np.float32)
    return batch.replace(
        token_ids=token_ids, labels=masked.original.astype(np.float32), weights=ones, masked=place.astype(np.int32)
    )


def test_a_batch_holds_the_masks_of_its_texts_and_leaves_the_other_tokens():
    encoded = texts_of(20)
    plain = batches_in_order(encoded, 8, 1, None)
    batches = masked_once(encoded)
    before = encoded.tokens.copy()
    for number in range(len(batches)):
        indices = batches.indices[number]
        masked = mask_tokens(encoded, indices, VOCABULARY, seed=3, epoch=0)
        expected = zip(indices[masked.text], masked.position, masked.original, masked.replacement, strict=True)
        batch = batches[number]
        assert found_masks(batch) == {tuple(map(int, each)) for each in expected}
        changed = np.asarray(plain[number].token_ids) != np.asarray(batch.token_ids)
        assert changed.sum() == (masked.replacement != masked.original).sum()
        assert plain[number].masked is None
    assert (encoded.tokens == before).all()


@pytest.mark.parametrize("shares", [2, 4])
def test_a_text_has_the_same_masks_in_whatever_share_it_is(shares):
    encoded = texts_of(19)
    one, several = masked_once(encoded), masked_once(encoded, shares=shares)
    for number in range(len(one)):
        assert found_masks(one[number]) == found_masks(several[number])


def test_each_epoch_has_new_masks_and_every_batch_the_same_room():
    encoded = texts_of(20)
    plain = training_batches(encoded, "mlm", seed=5, batch_size=8, count=9, shares=2, row_length=None)
    batches = mask_batches(plain, VOCABULARY, seed=5, per_epoch=3)
    epochs = [set().union(*(found_masks(batches[3 * epoch + number]) for number in range(3))) for epoch in range(3)]
    places = [{mask[:2] for mask in epoch} for epoch in epochs]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert len(places[a] & places[b]) < 0.5 * len(places[a])
    assert {np.asarray(batches[number].masked).shape for number in range(9)} == {(2, batches.masked_slots)}
    again = mask_batches(plain, VOCABULARY, seed=5, per_epoch=3)  # nothing is remembered from one batch to the next
    assert jax.tree.all(jax.tree.map(np.array_equal, again[7], batches[7]))


def loss_on_all_positions(model, params, batch: PackedBatch) -> jax.Array:
    """The loss with logits of every token, of which the masked ones are taken last."""
    words = params["bert"]["embeddings"]["word"]["embedding"]
    logits = MaskedLmHead(model.bert).apply({"params": params["mlm"]}, encode(model, params, batch), words)
    log_probabilities = jax.nn.log_softmax(jnp.asarray(logits)).reshape(-1, model.bert.vocab_size)
    right = log_probabilities[np.asarray(batch.masked), np.asarray(batch.labels, np.int32)]
    return -jnp.sum(right * batch.weights) / np.sum(batch.weights)


def loss_of(model, params, batch: PackedBatch) -> jax.Array:
    losses = LOSSES["mlm"](predict_logits(model, MASKED_LM, params, batch), jnp.asarray(batch.labels))
    return jnp.sum(losses * batch.weights) / np.sum(batch.weights)


def test_the_head_on_the_masked_tokens_gives_the_loss_and_gradients_of_one_on_all_positions():
    model, params = tiny_model(), lively_params(tiny_model(), ALL)
    params = {part: params[part] for part in used_parts(model, MASKED_LM)}
    batch = only(masked_once(texts_of(8))[0])
    assert 0 < np.sum(batch.weights) < len(batch.weights)  # some slots are empty
    ours, gathered = jax.value_and_grad(lambda p: loss_of(model, p, batch))(params)
    theirs, everywhere = jax.value_and_grad(lambda p: loss_on_all_positions(model, p, batch))(params)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-6) and float(ours) > 1
    assert_trees_close(gathered, everywhere, atol=1e-6)


def test_the_decoder_is_the_word_table_and_the_gradient_reaches_it_from_the_head():
    """A word that no text has gets none from the embeddings, but each masked token says that it is not that word."""
    model = tiny_model()
    batch = only(masked_once(encode_ids([[CLS, *range(5, 25), SEP], [CLS, *range(25, 40), SEP]]))[0])
    unread = np.setdiff1d(np.arange(50), np.asarray(batch.token_ids))
    assert {45, 46, 47, 48, 49} & set(unread.tolist())
    gradient, _ = gradient_and_loss(model, MASKED_LM, batch)
    words = np.abs(gradient["bert"]["embeddings"]["word"]["embedding"]).max(-1)
    assert (words[unread] > 1e-6).all()
    assert set(gradient["mlm"]) == {"dense", "norm", "bias"}  # and no table of its own


def test_a_packed_batch_and_a_padded_one_give_the_same_loss_and_gradients_with_dropout_on():
    model, encoded = tiny_model(), texts_of(12)
    tight, indices = only(masked_once(encoded, row_length=64)[0]), list(range(8))
    loose = masked_by_hand(padded(encoded, indices, 24), encoded, indices)
    assert tight.token_ids.size < loose.token_ids.size and tight.weights.size > loose.weights.size
    grads_tight, loss_tight = gradient_and_loss(model, MASKED_LM, tight)
    grads_loose, loss_loose = gradient_and_loss(model, MASKED_LM, loose)
    assert loss_tight == pytest.approx(loss_loose, abs=1e-5)
    assert gradient_and_loss(model, MASKED_LM, tight, seed=4)[1] != loss_tight
    assert_trees_close(grads_tight, grads_loose, atol=1e-5)


@pytest.mark.parametrize("devices", [2, 4])
def test_several_devices_equal_one_with_sgd_and_dropout_on(devices):
    model, encoded, tx = tiny_model(), texts_of(22), optax.sgd(0.1)
    trained = trained_parts(model, MASKED_LM)
    params = {part: tree for part, tree in lively_params(model, ALL).items() if part in trained}
    results = []
    for count in (1, devices):
        parallel = Parallel(count)
        step = parallel.compile_train_step(make_train_step(model, MASKED_LM, tx, trained, 5))
        plain = training_batches(encoded, "mlm", seed=5, batch_size=8, count=4, shares=count, row_length=64)
        batches = mask_batches(plain, VOCABULARY, seed=5, per_epoch=3)
        state, losses = init_state(jax.tree.map(np.array, params), tx, trained), []
        for number in range(4):  # the third has six texts, and its last share of four none
            state, metrics = step(state, batches[number])
            losses.append(float(metrics["loss"]))
        results.append((state, losses))
    (one, losses_one), (several, losses_several) = results
    np.testing.assert_allclose(losses_one, losses_several, atol=1e-5, rtol=0)
    assert_trees_close(one.params, several.params, atol=1e-5)


def test_a_step_of_masked_lm_moves_neither_the_pooler_nor_a_head_of_a_task():
    model, tx = tiny_model(), make_optimizer(1e-2, weight_decay=0.1)
    assert used_parts(model, MASKED_LM) == used_parts(tiny_model(pooling="mean"), MASKED_LM) == ("bert", "mlm")
    params = lively_params(model, ALL)
    state = init_state(params, tx, set(params))
    state = state.replace(opt_state=jax.tree.map(lambda x: x + 1 if x.dtype == np.float32 else x, state.opt_state))
    step = jax.jit(make_train_step(model, MASKED_LM, tx, trained_parts(model, MASKED_LM), 0))
    after, _ = step(state, only(masked_once(texts_of(8))[0]))
    assert moved_parts(state, after) == {"bert", "mlm"} and set(params) == {
        "bert",
        "pooler",
        "sst",
        "quora",
        "sts",
        "mlm",
    }
    assert set(init_params(model, [MASKED_LM], 0)) == {"bert", "mlm"}


def test_a_batch_without_a_masked_token_has_a_loss_of_zero_and_moves_nothing():
    encoded = encode_ids([[CLS, SEP], [CLS, UNK, UNK, SEP], [CLS, PAD, SEP]])
    batch = only(masked_once(encoded)[0])
    assert not np.any(batch.weights)
    gradient, loss = gradient_and_loss(tiny_model(), MASKED_LM, batch)
    assert loss == 0.0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_only_the_loss_and_whether_it_is_right_come_back_of_each_masked_token():
    model, params = tiny_model(), lively_params(tiny_model(), ALL)
    batch = only(masked_once(texts_of(8))[0])
    logits = np.asarray(predict_logits(model, MASKED_LM, params, batch), np.float64)
    labels = np.where(np.arange(len(batch.labels)) % 3, batch.labels, logits.argmax(-1)).astype(int)  # a third is right
    outputs = np.asarray(jax.jit(make_predict_step(model, MASKED_LM))(params, batch.replace(labels=labels)))
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    nll = -np.log(probabilities[np.arange(len(labels)), labels])
    assert outputs.shape == (len(labels), 2)
    np.testing.assert_allclose(outputs[:, 0], nll, atol=1e-4)
    assert (outputs[:, 1] == (logits.argmax(-1) == labels)).all()


def test_scores_are_means_over_all_masked_tokens_whatever_the_batches_and_shares():
    model, encoded = tiny_model(), texts_of(37)
    params = lively_params(model, ALL, scale=4.0)
    found = []
    for size, shares in ((8, 1), (5, 1), (16, 4)):
        batches = masked_once(encoded, size, shares)
        predict = Parallel(shares).compile_predict_step(make_predict_step(model, MASKED_LM))
        found.append(
            evaluate({MASKED_LM: lambda b, f=predict: f(params, b)}, {MASKED_LM: batches}, lambda: None)[MASKED_LM]
        )
    masked = mask_tokens(encoded, np.arange(37), VOCABULARY, seed=3, epoch=0)
    for scores in found:
        assert scores["masked"] == len(masked.text)
        assert scores["perplexity"] == pytest.approx(found[0]["perplexity"], rel=1e-4)
        assert scores["accuracy"] == found[0]["accuracy"]


def test_accuracy_and_perplexity_are_what_their_names_say():
    outputs = np.array([[math.log(2), 1], [math.log(8), 0]], np.float32)
    scores = score_task(MASKED_LM, outputs, np.zeros(1))
    assert scores == {"accuracy": 0.5, "perplexity": pytest.approx(4.0), "masked": 2}
    for undefined in (outputs[:0], np.where(outputs == 0, np.nan, outputs)):
        scores = score_task(MASKED_LM, undefined, np.zeros(1))
        assert math.isnan(scores["accuracy"]) and math.isnan(scores["perplexity"])
    assert score_task(MASKED_LM, np.full((2, 2), 1e30), np.zeros(1))["perplexity"] == math.inf


def test_the_head_keeps_its_values_under_hugging_faces_names(tmp_path):
    names = {"transform.dense.weight", "transform.dense.bias", "transform.LayerNorm.weight", "transform.LayerNorm.bias"}
    params = {part: lively_params(tiny_model(), ALL)[part] for part in ("bert", "pooler", "mlm")}
    save_model(tmp_path, TINY, params)
    saved = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    head = {name for name in saved if not name.startswith("bert.")}
    assert head == {f"cls.predictions.{name}" for name in {*names, "bias"}} and "bert.pooler.dense.weight" in saved
    kernel = saved["cls.predictions.transform.dense.weight"]
    assert (kernel == np.asarray(params["mlm"]["dense"]["kernel"]).T).all() and (kernel != kernel.T).any()
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "config.json").stat().st_mode
    saved["cls.predictions.decoder.weight"] = np.zeros((50, 16), np.float32)  # a copy of a table, not read
    saved["cls.predictions.decoder.bias"] = np.zeros(50, np.float32)
    safetensors.numpy.save_file(saved, tmp_path / "model.safetensors")
    again = load_weights(tmp_path)[1]
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, params))
    del saved["cls.predictions.transform.LayerNorm.bias"]
    safetensors.numpy.save_file(saved, tmp_path / "model.safetensors")
    assert set(load_weights(tmp_path)[1]) == {"bert", "pooler"}  # half a head is none
