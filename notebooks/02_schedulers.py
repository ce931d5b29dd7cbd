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
from train.schedulers import SCHEDULERS

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

from eval.paper.plots import COLORS, STYLE, draw_size_study

# It draws into files; here pictures belong below their cells.
# %matplotlib inline
plt.rcParams.update(STYLE)
colors = dict(zip(batches, COLORS, strict=False))
figure, axes = plt.subplots(figsize=(9, 1.8))
for row, order in enumerate(orders.values()):
    for update, task in enumerate(order):
        axes.barh(row, 0.92, left=update, height=0.8, color=colors[task])
axes.set_yticks(range(len(orders)), list(orders))
axes.invert_yaxis()
axes.grid(visible=False)
axes.set(xlabel="update", xticks=range(0, 1 + max(map(len, orders.values())), 3))
axes.legend([axes.barh(0, 0, color=color) for color in colors.values()], colors, ncols=3)
plt.show()

# %% [markdown]
# ## Both on the sample
#
# Six short runs on two tasks: each scheduler with a sixteenth, a quarter and all of Quora's train
# table, and half of SST's. With less of Quora, in turn gives it fewer updates. MT-DNN gives both
# tasks as many as the larger one has, if need be on the same few examples.

# %%
import tempfile
from collections import Counter

from IPython.utils.capture import capture_output

from bert_jax.cli.interrupt import Interrupt
from train.config import TrainConfig
from train.devices.programs import Programs
from train.inputs import read_inputs
from train.stages import resolve_stages, run_stages

runs = tempfile.TemporaryDirectory()
programs = Programs()  # what one run has compiled, the next one uses
folders = {}
for share in (1 / 16, 1 / 4, 1):
    for scheduler in ("in_turn", "mtdnn"):
        folder = folders[scheduler, share] = Path(runs.name) / f"{scheduler}-{share}"
        subset = f"sst=0.5,quora={share}"
        (stage,) = resolve_stages(
            TrainConfig(
                scheduler=scheduler, tasks="sst,quora", subset=subset, epochs=3, run_dir=folder
            )
        )
        counts = Counter(read_inputs(stage).schedule)
        updates = ", ".join(f"{count} of {task}" for task, count in counts.items())
        print(f"{scheduler:7}  quora {share:4.0%}  updates: {updates}", flush=True)
        with capture_output(), Interrupt() as interrupt:
            run_stages([stage], interrupt, programs)

# %% [markdown]
# ## Learning curves
#
# With all of Quora, which is then the larger task. Points are the scores on dev after each epoch.

# %%
from bert_jax.definition import find_tasks
from train.runs.log import dev_entries

sst, quora = tasks = find_tasks("sst,quora")
figure, grid = plt.subplots(1, len(tasks), figsize=(9, 3), layout="constrained")
for axes, task in zip(grid, tasks, strict=True):
    for scheduler, style in (("in_turn", "o-"), ("mtdnn", "s--")):
        log = dev_entries(folders[scheduler, 1] / "metrics.jsonl")
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
from eval.paper.comparison import Comparison, Number, Point, print_comparison
from train.inputs import find_source, read_split
from train.runs.finished import restore_run

dev = read_split(find_source(TrainConfig().tables), quora, "dev").examples
numbers = {}
for key, folder in folders.items():
    run = restore_run(folder, "best", programs)
    encoded = run.encode(dev)
    outputs = run.predict(quora, encoded, batch_size=32)
    f1 = score_task(quora, outputs, encoded.labels)["f1"][1]
    drawn = bootstrap(quora, outputs, encoded.labels, resamples=200)["f1"]
    numbers[key] = Number(f1, interval(drawn)[1], None)
shares = sorted({share for _, share in folders})
points = [Point(share, numbers["in_turn", share], numbers["mtdnn", share]) for share in shares]
print_comparison(Comparison((), tuple(points), ""))
draw_size_study(points, "the sample, 3 epochs, one seed")
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
