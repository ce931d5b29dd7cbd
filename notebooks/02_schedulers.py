# %% [markdown]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# # 2. Schedulers: which task next?
#
# One model learns several tasks, a batch of one at a time. In which order? The paper behind this
# program compares two: one task after the other, and a batch of each in turn as MT-DNN does it.
# Here both train on the sample, and then on less and less of one task, as in the paper's Figure 1.
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
# ## A scheduler is a generator of names
#
# It gets the number of batches that each task has in an epoch, and says one name an update. It
# holds no arrays and trains nothing, so a run resumes by skipping.

# %%
from train.schedulers import SCHEDULERS, make_schedule

batches = {"sst": 3, "quora": 6, "sts": 2}
orders = {name: list(make(batches, 1, 0)) for name, make in SCHEDULERS.items()}
for name, order in orders.items():
    print(f"{name:9}", *order)

# %% [markdown]
# In turn, each batch comes once in an epoch, and the largest task has most of the updates. MT-DNN
# gives every task as many as the largest has: the small ones begin again when they run out. The
# baseline trains the first task alone.

# %%
import matplotlib.pyplot as plt
import numpy as np

colors = dict(zip(batches, ("C0", "C1", "C2"), strict=True))
figure, axes = plt.subplots(figsize=(9, 1.8))
for row, order in enumerate(orders.values()):
    for update, task in enumerate(order):
        axes.barh(row, 0.92, left=update, height=0.8, color=colors[task])
axes.set_yticks(range(len(orders)), list(orders))
axes.invert_yaxis()
axes.set(xlabel="update", xticks=range(0, 1 + max(map(len, orders.values())), 3))
axes.legend([axes.barh(0, 0, color=color) for color in colors.values()], colors, ncols=3)
plt.show()

# %% [markdown]
# ## Both on the sample
#
# Six short runs on two tasks: each scheduler with a sixteenth, a quarter and all of Quora's train
# table, and half of SST's. With less of Quora, in turn gives it fewer updates. MT-DNN gives both
# tasks as many as the larger one has, if need be on the same few examples. `make_schedule` is what
# a run asks for the task of each update: it counts the batches and calls the generator.
#
# The runs of one notebook share what they have compiled, so only the first takes long. What they
# print is left out here.

# %%
import tempfile
from collections import Counter

from IPython.utils.capture import capture_output

import train

folder = tempfile.TemporaryDirectory()
runs = {}
for share in (1 / 16, 1 / 4, 1):
    for scheduler in ("in_turn", "mtdnn"):
        with capture_output():
            run = runs[scheduler, share] = train.fit(
                scheduler=scheduler,
                tasks="sst,quora",
                subset=f"sst=0.5,quora={share}",
                epochs=3,
                run_dir=Path(folder.name) / f"{scheduler}-{share}",
            )
        rows = {task: len(run.table(task, "train").examples) for task in run.tasks}
        settings, seed = run.config.training, run.config.run.seed
        schedule = make_schedule(scheduler, rows, settings.batch_size, settings.epochs, seed)
        updates = ", ".join(f"{count} of {task}" for task, count in Counter(schedule).items())
        print(f"{scheduler:7}  quora {share:4.0%}  updates: {updates}", flush=True)

# %% [markdown]
# ## Learning curves
#
# With all of Quora, which is then the larger task. Points are the scores on dev after each epoch,
# out of the log of the run, `run.history`.

# %%
tasks = runs["mtdnn", 1].tasks.values()
figure, grid = plt.subplots(1, len(tasks), figsize=(9, 3), layout="constrained")
for axes, task in zip(grid, tasks, strict=True):
    for scheduler, style in (("in_turn", "o-"), ("mtdnn", "s--")):
        log = [entry for entry in runs[scheduler, 1].history if "dev" in entry]
        scores = [entry["dev"][task.name][task.metric] for entry in log]
        axes.plot([entry["epoch"] for entry in log], scores, style, label=scheduler)
    axes.set_title(f"{task.name}, {task.metric} on dev", loc="left", fontsize=10)
    axes.set(xlabel="epoch", xticks=[entry["epoch"] for entry in log], ylim=(0, 1))
grid[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Figure 1, in small
#
# The paper's figure has the difference between the two in F1 of the paraphrases, against the
# share. Beside it are both F1s, with their 95 % intervals: those of dev rows drawn anew.

# %%
from eval.metrics import bootstrap, interval, score_task

f1, ends = {}, {}
for key, run in runs.items():
    quora, dev = run.tasks["quora"], run.table("quora", "dev")
    encoded = run.restored.encode(dev.examples)
    outputs = run.restored.predict(quora, encoded, batch_size=32)
    f1[key] = score_task(quora, outputs, encoded.labels)["f1"][1]
    drawn = bootstrap(quora, outputs, encoded.labels, resamples=200)["f1"]
    ends[key] = interval(drawn)[1]

shares = sorted({share for _, share in runs})
gaps = [f1["in_turn", share] - f1["mtdnn", share] for share in shares]
print("share of Quora       in turn        MT-DNN  difference")
for share, gap in zip(shares, gaps, strict=True):
    cells = []
    for scheduler in ("in_turn", "mtdnn"):
        low, high = ends[scheduler, share]
        cells.append(f"{f1[scheduler, share]:.3f} ±{(high - low) / 2:.3f}")
    print(f"{share:<14g}  {cells[0]}  {cells[1]}  {gap:+10.3f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(shares, gaps, marker="o")
left.axhline(0, color="gray", linewidth=0.8)
left.set_ylabel("F1, in turn minus MT-DNN")
for scheduler, name in (("in_turn", "in turn"), ("mtdnn", "MT-DNN")):
    values = np.array([f1[scheduler, share] for share in shares])
    lows, highs = np.transpose([ends[scheduler, share] for share in shares])
    spread = (values - lows, highs - values)
    right.errorbar(shares, values, yerr=spread, marker="o", capsize=3, label=name)
right.set_ylabel("F1 on dev, 95 % interval")
right.legend(frameon=False)
for axes in (left, right):
    axes.set_xscale("log", base=2)
    axes.set_xticks(shares, ["1/16", "1/4", "all"])
    axes.minorticks_off()
    axes.set_xlabel("share of Quora's train table")
figure.suptitle("Quora's paraphrases (the sample, 3 epochs, one seed)", fontsize=11)
plt.show()

# %% [markdown]
# The sentences are of our own making, the model is tiny, and it is one seed, so the numbers say
# little about schedulers. The paper's own figure is trained by
#
# ```sh
# python -m eval.paper --figure=1 --data_dir=data/cs224n --init=google-bert/bert-base-uncased
# ```
#
# Next: `03_inside_bert`.
