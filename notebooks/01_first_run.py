# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# # 1. A first run
#
# From tables of sentences to a trained model and its answers, on the sample that comes with the
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
# ## Tables
#
# A task is a table of texts with labels. The sample has three, in the format of Stanford's CS224N:
# `sst` (how good a film was, 0 to 4), `quora` (whether two questions ask the same) and `sts` (how
# near two sentences are, 0 to 5). The sentences are made up, and simple enough to be learned in a
# minute.

# %%
from bert_jax.definition import find_tasks
from train.config import TrainConfig
from train.inputs import find_source, read_split

source = find_source(TrainConfig().tables)
tables = {task: read_split(source, task, "train") for task in find_tasks("sst,quora,sts")}
for task, table in tables.items():
    print(f"{task.name}, a {task.kind} of {len(table.examples)} rows in {table.path.name}")
    for example in table.examples[:4]:
        print(f"  {example.label:g}  {'  |  '.join(example.texts)}")

# %% [markdown]
# Each row has become an `Example`. A row that does not have what the task wants would have been an
# error with its file and line; nothing is dropped in silence.

# %%
sst, quora, sts = tables
tables[sst].examples[0]

# %% [markdown]
# ## Tokens
#
# BERT reads word pieces from a fixed vocabulary. A word that is not in it is cut into pieces that
# are; `##` marks those that go on a word. Around each text stand `[CLS]`, from whose place the
# model will read what it makes of the whole sentence, and `[SEP]`.

# %%
from bert_jax.batches.tokenizer import encode_examples, read_tokenizer
from bert_jax.data.sample import SAMPLE

tokenizer = read_tokenizer(SAMPLE)
encoded = encode_examples(tokenizer, tables[sst].examples, "separate", max_length=512)
ids = encoded.tokens[: encoded.offsets[1]]
numbered = zip(tokenizer.names(ids), ids, strict=True)
print("known words  ", *(f"{name}={number}" for name, number in numbered))
print("unknown words", *tokenizer.tokens("An unwatchable musical"))

# %% [markdown]
# ## A packed batch
#
# The usual batch has one text a row, and all rows are as long as the longest text: much of what is
# computed is padding. Here several texts share a row. The loss and the gradients are the same,
# because a token attends to its own text alone and positions begin anew in each text.

# %%
from bert_jax.batches.batches import training_batches

config = TrainConfig()
batches = training_batches(
    encoded,
    sst.name,
    config.run.seed,
    config.training.batch_size,
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
import matplotlib.pyplot as plt
import numpy as np

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
# pooler, and a small head for each task.

# %%
import dataclasses

import jax

from bert_jax.config import SIZES, ModelConfig
from bert_jax.heads import encode, init_params, predict_logits

bert = dataclasses.replace(SIZES["bert-tiny"], vocab_size=len(tokenizer.vocab))
model = ModelConfig(bert)
params = init_params(model, list(tables), seed=config.run.seed)
for part, tree in params.items():
    print(f"{part:7} {sum(leaf.size for leaf in jax.tree.leaves(tree)):9,} parameters")

# %%
hidden = encode(model, params, batch)
logits = predict_logits(model, sst, params, batch)
print(f"token ids      {list(batch.token_ids.shape)}  rows, tokens")
print(f"hidden states  {list(hidden.shape)}  rows, tokens, features")
print(f"logits         {list(logits.shape)}  sentences, labels")

# %% [markdown]
# A loss is one number an example. A model that knows nothing gives each label about the same
# probability, so its mean loss is near the logarithm of how many labels there are.

# %%
from train.losses import LOSSES

losses = np.asarray(LOSSES[sst.kind](logits, batch.labels))
print(f"mean loss {losses.mean():.3f}, logarithm of {sst.num_labels}: {np.log(sst.num_labels):.3f}")

# %% [markdown]
# ## Training
#
# All three tasks at once, as `python -m train.main --scheduler=mtdnn --epochs=4` does it in a
# terminal. A run says what it found and what it will do, trains, and ends with the scores on the
# dev tables. The stop button saves it, and its cell, run again, goes on from there. Here it lies
# in a temporary folder; in a terminal it would lie in `runs/`.

# %%
import contextlib
import tempfile

from bert_jax.cli.interrupt import Interrupt
from train.devices.programs import Programs
from train.stages import resolve_stages, run_stages

runs = tempfile.TemporaryDirectory()
run_dir = Path(runs.name) / "first"
programs = Programs()  # keeps what has been compiled

# %%
stages = resolve_stages(TrainConfig(scheduler="mtdnn", epochs=4, run_dir=run_dir))
with Interrupt() as interrupt, contextlib.redirect_stderr(sys.stdout):
    run_stages(stages, interrupt, programs)

# %% [markdown]
# The run has drawn its learning curves: left the loss while training, right the score on dev after
# each epoch.

# %%
from IPython.display import Image

Image(run_dir / "learning_curves.png")

# %% [markdown]
# ## Answers
#
# `restore_run` gives the best checkpoint with its tokenizer and its tasks.
#
# Mind the pairs. A model so small, trained from nothing, reads their words and does not compare
# them, so it may well call two questions about different things a paraphrase.

# %%
from bert_jax.data.tables import Example
from eval.answers import in_words
from train.runs.finished import restore_run

run = restore_run(run_dir, "best", programs)
questions = {
    sst: [
        ("The film is superb .",),
        ("The plot is neither good nor bad .",),
        ("A dull , lifeless story .",),
    ],
    quora: [
        ("How do I save money ?", "What is the best way to spend less ?"),
        ("How do I save money ?", "How do I grow tomatoes ?"),
    ],
    sts: [("A man is singing in the park .", "A man is humming a tune under the trees .")],
}
for task, texts in questions.items():
    asked = run.encode([Example(str(number), each, None) for number, each in enumerate(texts)])
    for each, output in zip(texts, run.predict(task, asked, batch_size=8), strict=True):
        answer = in_words(task, output)
        print(f"{answer['words']:20} {answer['score']:6.3f}  {'  |  '.join(each)}")

# %% [markdown]
# ## Which labels it confuses
#
# A score is one number. Which label was taken for which says more.

# %%
from eval.metrics import confusion, score_task

dev = run.encode(read_split(source, sst, "dev").examples)
outputs = run.predict(sst, dev, batch_size=32)
counts = confusion(sst, outputs, dev.labels)
accuracy = score_task(sst, outputs, dev.labels)["accuracy"]
figure, axes = plt.subplots(figsize=(5, 4.2))
axes.imshow(counts, cmap="Blues")
for (row, column), count in np.ndenumerate(counts):
    color = "white" if count > counts.max() / 2 else "black"
    axes.text(column, row, count, ha="center", va="center", color=color)
axes.set_xticks(range(sst.num_labels), sst.label_words, rotation=30, ha="right")
axes.set_yticks(range(sst.num_labels), sst.label_words)
axes.set(xlabel="predicted", ylabel="in the table")
axes.set_title(f"dev, accuracy {accuracy:.3f}", loc="left", fontsize=10)
plt.show()
steps_off = np.abs(np.subtract.outer(range(sst.num_labels), range(sst.num_labels)))
wrong, by_one = counts[steps_off > 0].sum(), counts[steps_off == 1].sum()
print(f"{wrong} are wrong, {by_one} of them by one step")

# %% [markdown]
# In a terminal, from the repository's root:
#
# ```sh
# python -m train.main --scheduler=mtdnn
# echo 'The film is superb .' | python -m eval.predict --run_dir=runs/mtdnn --task=sst
# python -m eval.main --run_dir=runs/mtdnn
# ```
#
# Next: `02_schedulers` mixes the tasks in two ways, `03_inside_bert` looks inside, and
# `04_your_own_task` brings a task of your own.
