# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# # 1. A first run
#
# First train a model and ask it something, then look at what it was made of: tables of sentences,
# tokens, packed batches, parameters and a loss. All of it is on the sample that comes with the
# program. It takes a few minutes on a CPU and needs no download.
#
# *Opening it on Colab:* the badge leads to Colab's window for notebooks from GitHub; name the
# repository there, or upload this file. Then give the next cell the address to clone. In a clone,
# on Colab or at home, leave it empty.

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
# ## Training
#
# `train.fit` takes every flag of `python -m train.main` by its name. Here it trains three tasks at
# once, as `python -m train.main --scheduler=mtdnn --epochs=4` does in a terminal. A run says what
# it found and what it will do, trains, and ends with the scores on the dev tables. The stop button
# saves it, and its cell, run again, goes on from there. This run lies in a temporary folder; in a
# terminal it would lie in `runs/`.

# %%
import tempfile

import train

runs = tempfile.TemporaryDirectory()
run_dir = Path(runs.name) / "first"

# %%
run = train.fit(scheduler="mtdnn", epochs=4, run_dir=run_dir)

# %% [markdown]
# `fit` returns the run. `train.open_run(run_dir)` opens it again later, from its folder alone. Its
# learning curves: left the loss while training, right the score on dev after each epoch.

# %%
run.plot()

# %% [markdown]
# ## Answers
#
# `run.predict` asks one of the tasks about texts, or about pairs of texts. A prediction has the
# label, what it means in words, and a score: the probability of the label, of a paraphrase that it
# is one, of a similarity the number itself. The best checkpoint answers.
#
# Mind the pairs. A model so small, trained from nothing, reads their words and does not compare
# them, so it may well call two questions about different things a paraphrase.

# %%
questions = {
    "sst": [
        "The film is superb .",
        "The plot is neither good nor bad .",
        "A dull , lifeless story .",
    ],
    "quora": [
        ("How do I save money ?", "What is the best way to spend less ?"),
        ("How do I save money ?", "How do I grow tomatoes ?"),
    ],
    "sts": [("A man is singing in the park .", "A man is humming a tune under the trees .")],
}
for task, texts in questions.items():
    for text, answer in zip(texts, run.predict(task, texts), strict=True):
        print(f"{answer.words:20} {answer.score:6.3f}  {text}")

# %% [markdown]
# ## Which labels it confuses
#
# A score is one number. Which label was taken for which says more. `run.table` reads a table of the
# run, here the dev sentences of `sst` with their labels.

# %%
import matplotlib.pyplot as plt
import numpy as np

sst = run.tasks["sst"]
dev = run.table("sst", "dev").examples
labels = [int(example.label) for example in dev]
predicted = [each.label for each in run.predict("sst", [example.texts for example in dev])]
counts = np.zeros((sst.num_labels, sst.num_labels), int)
np.add.at(counts, (labels, predicted), 1)

figure, axes = plt.subplots(figsize=(5, 4.2))
axes.imshow(counts, cmap="Blues")
for (row, column), count in np.ndenumerate(counts):
    color = "white" if count > counts.max() / 2 else "black"
    axes.text(column, row, count, ha="center", va="center", color=color)
axes.set_xticks(range(sst.num_labels), sst.label_words, rotation=30, ha="right")
axes.set_yticks(range(sst.num_labels), sst.label_words)
axes.set(xlabel="predicted", ylabel="in the table")
axes.set_title(f"dev, accuracy {counts.trace() / counts.sum():.3f}", loc="left", fontsize=10)
plt.show()
steps_off = np.abs(np.subtract.outer(range(sst.num_labels), range(sst.num_labels)))
wrong, by_one = counts[steps_off > 0].sum(), counts[steps_off == 1].sum()
print(f"{wrong} are wrong, {by_one} of them by one step")

# %% [markdown]
# `run.scores` has the scores that were logged while training, and `run.evaluate` computes them anew
# with 95 % intervals: of dev rows drawn again and again, with replacement.

# %%
for name, scores in run.evaluate().items():
    metric = run.tasks[name].metric
    low, high = scores["interval"]
    print(f"{name:5}  {metric} {scores[metric]:.3f}, 95 % interval {low:.3f} to {high:.3f}")

# %% [markdown]
# ## Tables
#
# So much for what comes out. What went in? A task is a table of texts with labels. The sample has
# three, in the format of Stanford's CS224N: `sst` (how good a film was, 0 to 4), `quora` (whether
# two questions ask the same) and `sts` (how near two sentences are, 0 to 5). The sentences are made
# up, and simple enough to be learned in a minute.

# %%
tables = {name: run.table(name, "train") for name in run.tasks}
for name, table in tables.items():
    kind = run.tasks[name].kind
    print(f"{name}, a {kind} of {len(table.examples)} rows in {table.path.name}")
    for example in table.examples[:4]:
        print(f"  {example.label:g}  {'  |  '.join(example.texts)}")

# %% [markdown]
# Each row has become an `Example`. A row that does not have what the task wants would have been an
# error with its file and line; nothing is dropped in silence.

# %%
tables["sst"].examples[0]

# %% [markdown]
# ## Tokens
#
# BERT reads word pieces from a fixed vocabulary. A word that is not in it is cut into pieces that
# are; `##` marks those that go on a word. Around each text stand `[CLS]`, from whose place the
# model reads what it makes of the whole sentence, and `[SEP]`.

# %%
encoded = run.restored.encode(tables["sst"].examples)
ids = encoded.tokens[: encoded.offsets[1]]
numbered = zip(run.tokenizer.names(ids), ids, strict=True)
print("known words  ", *(f"{name}={number}" for name, number in numbered))
print("unknown words", *run.tokenizer.tokens("An unwatchable musical"))

# %% [markdown]
# ## A packed batch
#
# The usual batch has one text a row, and all rows are as long as the longest text: much of what is
# computed is padding. Here several texts share a row. The loss and the gradients are the same,
# because a token attends to its own text alone and positions begin anew in each text. This is the
# first batch of `sst` that the run was trained on.

# %%
from bert_jax.batches.batches import training_batches

batches = training_batches(
    encoded,
    sst.name,
    run.config.run.seed,
    run.config.training.batch_size,
    count=30,
    shares=1,
    row_length=None,
)
batch = batches.pack_share(0, batches.indices[0])
for name, array in vars(batch).items():
    if array is not None:
        print(f"{name:15} {array.dtype!s:8} {list(array.shape)}")

# %% [markdown]
# Each band is one sentence; white is padding. The rows are as many as the fullest batch needs.

# %%
texts = np.ma.masked_equal(batch.segment_ids, 0)
packed = batches.real_tokens / batches.computed_tokens
padded = batches.real_tokens / batches.padded_tokens
figure, axes = plt.subplots(figsize=(9, 0.25 * len(texts) + 0.8))
axes.pcolormesh(texts % 20, cmap="tab20", edgecolors="white", linewidth=0.3)
axes.invert_yaxis()
axes.set(xlabel="token", ylabel="row", yticks=[])
title = f"{len(batch.labels)} sentences in {len(texts)} rows. In all {len(batches)} batches "
title += f"{packed:.0%} are text; with one sentence a row {padded:.0%} would be"
axes.set_title(title, loc="left", fontsize=10)
plt.show()

# %% [markdown]
# ## One batch through the model
#
# The model is a function of parameters and a batch. Parameters come in parts: the encoder, BERT's
# pooler, and a small head for each task. `init_params` draws those that training began with;
# `run.restored.params` are those of the best checkpoint.

# %%
import jax

from bert_jax.heads import encode, init_params, predict_logits

params = init_params(run.model, list(run.tasks.values()), seed=run.config.run.seed)
for part, tree in params.items():
    print(f"{part:7} {sum(leaf.size for leaf in jax.tree.leaves(tree)):9,} parameters")

# %%
hidden = encode(run.model, params, batch)
logits = predict_logits(run.model, sst, params, batch)
print(f"token ids      {list(batch.token_ids.shape)}  rows, tokens")
print(f"hidden states  {list(hidden.shape)}  rows, tokens, features")
print(f"logits         {list(logits.shape)}  sentences, labels")

# %% [markdown]
# ## The loss
#
# A loss is one number an example. A model that knows nothing gives each label about the same
# probability, so its mean loss is near the logarithm of how many labels there are. The mean of a
# batch is what an update makes smaller.

# %%
from train.losses import LOSSES

losses = np.asarray(LOSSES[sst.kind](logits, batch.labels))
print(f"mean loss {losses.mean():.3f}, logarithm of {sst.num_labels}: {np.log(sst.num_labels):.3f}")
logits = predict_logits(run.model, sst, run.restored.params, batch)
losses = np.asarray(LOSSES[sst.kind](logits, batch.labels))
print(f"mean loss {losses.mean():.3f} after training")

# %% [markdown]
# In a terminal, from the repository's root:
#
# ```sh
# python -m train.main --scheduler=mtdnn
# echo 'The film is superb .' | python -m eval.predict --run_dir=runs/mtdnn --task=sst
# python -m eval.main --run_dir=runs/mtdnn
# ```
#
# What these leave, `train.open_run("runs/mtdnn")` opens here.
#
# Next: `02_schedulers` mixes the tasks in two ways, `03_inside_bert` looks inside, and
# `04_your_own_task` brings a task of your own.
