"""`python -m benchmarks.scaling [--quick]`: how cost grows with rows, with the length of texts, and with tasks.

Each size is measured in a process of its own, which tells its peak of memory as well. A slope is that of a straight
line through the logarithms: 1 is a cost that grows with the size, 0 one that does not.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import tyro
from rich.console import Console

from bert_jax.batches.batches import training_batches
from bert_jax.batches.encoded import EncodedExamples
from bert_jax.batches.tokenizer import encode_examples, read_tokenizer
from bert_jax.config import SIZES, ModelConfig
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import read_table
from bert_jax.heads import init_params
from bert_jax.tasks import TASKS
from eval.report import new_table
from train.devices.programs import Programs
from train.optim import make_optimizer
from train.resolve import ResolvedTraining
from train.step import init_state, trained_parts

SST = TASKS["sst"]
BATCH = 32


@dataclasses.dataclass(frozen=True)
class Settings:
    """Measures how cost grows: with the rows of a table, with the tokens of a text, with tasks."""

    model: str = "bert-mini"
    """Size of the encoder whose updates are measured."""
    quick: bool = False
    """Small sizes, to see that it works."""


def timed(action: Callable[[], object]) -> float:
    """Seconds of an action, whatever it computes included."""
    start = time.perf_counter()
    jax.block_until_ready(action())
    return time.perf_counter() - start


def cost_of_rows(rows: int) -> dict[str, float]:
    """Seconds to read a table of so many rows, to tokenize it, to plan an epoch's batches, and to pack them."""
    rng = np.random.default_rng(0)
    words = [word for word in (SAMPLE / "vocab.txt").read_text().split("\n") if word.isalpha()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        with path.open("w") as file:
            file.write("\tid\tsentence\tsentiment\n")
            for number in range(rows):
                text = " ".join(rng.choice(words, rng.integers(4, 36)))
                file.write(f"{number}\tid{number}\t{text}\t{number % 5}\n")
        start = time.perf_counter()
        table = read_table(path, SST, labelled=True)
        read = time.perf_counter() - start
    tokenizer = read_tokenizer(SAMPLE)
    start = time.perf_counter()
    encoded = encode_examples(tokenizer, table.examples, "separate", 512)
    tokenized = time.perf_counter() - start
    start = time.perf_counter()
    batches = training_batches(encoded, "sst", 0, BATCH, -(-rows // BATCH), 1, None)
    planned = time.perf_counter() - start
    packed = timed(lambda: [batches[number] for number in range(len(batches))])
    return {"read, s": read, "tokenize, s": tokenized, "plan, s": planned, "pack, s": packed}


def texts_of(length: int, examples: int, vocab_size: int) -> EncodedExamples:
    """Random texts, all of one length."""
    rng = np.random.default_rng(0)
    size = examples * length
    return EncodedExamples(
        tokens=rng.integers(5, vocab_size, size).astype(np.int32),
        token_types=np.zeros(size, np.int32),
        offsets=np.arange(0, size + 1, length),
        labels=rng.integers(0, 5, examples).astype(np.float32),
        ids=[str(number) for number in range(examples)],
        texts=1,
        truncated=0,
    )


def cost_of_updates(model_name: str, length: int, num_tasks: int) -> dict[str, float]:
    """Seconds to compile the steps of some tasks, and of one update of each, on texts of one length."""
    model = ModelConfig(SIZES[model_name])
    tasks = [dataclasses.replace(SST, name=f"task{number}") for number in range(num_tasks)]
    tx, programs = make_optimizer(1e-5), Programs(1)
    params = jax.tree.map(jax.numpy.asarray, init_params(model, tasks, seed=0))
    state = init_state(params, tx, set(params))
    encoded = texts_of(length, BATCH, model.bert.vocab_size)
    batch = training_batches(encoded, "sst", 0, BATCH, 1, 1, None)[0]
    steps = [
        programs.train_step(model, task, ResolvedTraining(lr=1e-5), trained_parts(model, task), 0) for task in tasks
    ]

    def update_each() -> object:
        nonlocal state
        for step in steps:
            state, _ = step(state, batch)
        return state

    first = timed(update_each)
    seconds = statistics.median(timed(update_each) for _ in range(5))
    return {"compile, s": first - seconds, "update, ms": 1e3 * seconds / num_tasks}


def measure(cost: Callable[..., dict[str, float]], *args: object) -> dict[str, float]:
    """A cost, and the peak of memory of a new process in which it is measured."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(cost_and_peak, cost, args).result()


def cost_and_peak(cost: Callable[..., dict[str, float]], args: tuple) -> dict[str, float]:
    """Runs in that process. Linux counts the peak in kilobytes."""
    found = cost(*args)
    return {**found, "peak, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def show(title: str, what: str, found: dict[int, dict[str, float]]) -> None:
    """Prints one table: a row a size, and the slopes below."""
    columns = list(next(iter(found.values())))
    table = new_table(title, what, *columns)
    for size, costs in found.items():
        table.add_row(
            f"{size:,}", *(f"{costs[name]:,.3g}" if costs[name] < 100 else f"{costs[name]:,.0f}" for name in columns)
        )
    sizes = np.log(list(found))
    slopes = [np.polyfit(sizes, np.log([max(costs[name], 1e-9) for costs in found.values()]), 1)[0] for name in columns]
    table.add_row("slope", *(f"{slope:.2f}" for slope in slopes))
    Console().print(table)


def main(settings: Settings) -> None:
    """Measures everything, one size after the other, and prints three tables."""
    rows = (500, 1000, 2000) if settings.quick else (1_000, 10_000, 100_000)
    lengths = (16, 64) if settings.quick else (16, 32, 64, 128, 256, 512)
    tasks = (1, 3) if settings.quick else (1, 3, 10)
    name = "bert-tiny" if settings.quick else settings.model
    print(f"{name}, batches of {BATCH}; Python {platform.python_version()}, jax {jax.__version__}")
    show("a table's rows: texts of 4 to 35 words, one epoch", "rows", {n: measure(cost_of_rows, n) for n in rows})
    by_length = {n: measure(cost_of_updates, name, n, 1) for n in lengths}
    for length, costs in by_length.items():
        costs["us a token"] = 1e3 * costs["update, ms"] / (BATCH * length)
    show(f"a text's length in tokens: one update of {BATCH} texts", "tokens", by_length)
    show(
        "tasks: an update each, texts of 26 tokens", "tasks", {n: measure(cost_of_updates, name, 26, n) for n in tasks}
    )


if __name__ == "__main__":
    main(tyro.cli(Settings))
