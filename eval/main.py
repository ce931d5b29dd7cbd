"""`python -m eval.main --run_dir=R`: scores a run on the dev tables, every row once."""

import dataclasses
from pathlib import Path
from typing import Literal

from bert_jax.tokenizer import encode_examples
from train.command import run_command
from train.config import check_positive
from train.inputs import read_examples, run_tasks
from train.interrupt import Interrupt
from train.rundir import open_run


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Prints the dev table of a run: accuracy, F1 by class and macro, Pearson, Spearman, and the means.

    Of a masked LM: how well it predicts masked tokens of the tables' texts.
    """

    run_dir: Path
    """Folder of the run."""
    data_dir: Path | None = None
    """Folder with the tables. Default: the one the run was trained on."""
    split: Literal["dev", "train"] = "dev"
    """Which tables."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which checkpoint."""
    batch_size: int = 32
    """Examples a batch."""
    devices: int | None = None
    """Number of devices. Default: all."""


def run(flags: EvalConfig) -> None:
    """Reads the tables before JAX is imported, then restores and scores."""
    check_positive("batch_size", flags.batch_size)
    run_folder, config, model, tokenizer = open_run(flags.run_dir)
    tasks = run_tasks(config)
    tables = {task: read_examples(config, flags.data_dir or config.data_dir, task, flags.split) for task in tasks}

    from eval.evaluate import evaluate, split_batches
    from eval.report import print_scores
    from train.checkpoint import restore_params
    from train.parallel import Parallel
    from train.step import make_predict_step

    parallel = Parallel(flags.devices)
    step, params = restore_params(run_folder.checkpoints, run_folder.fingerprint, model, tasks, flags.checkpoint)
    limit = min(config.max_length, model.bert.max_position_embeddings)
    splits = {
        task: split_batches(
            task,
            encode_examples(tokenizer, table.examples, model.pair_encoding, limit),
            tokenizer.vocab,
            flags.batch_size,
            parallel.count,
            config.row_length,
        )
        for task, table in tables.items()
    }
    predict = {task: parallel.compile_predict_step(make_predict_step(model, task)) for task in tasks}
    with Interrupt() as interrupt:
        predict_fns = {task: lambda batch, f=f: f(params, batch) for task, f in predict.items()}
        scores = evaluate(predict_fns, splits, interrupt.check)
    for task, table in tables.items():
        if table.skipped or splits[task].encoded.truncated:
            print(f"{task.name}: {table.left_out} skipped, {splits[task].encoded.truncated} texts cut")
    rows = {task: len(table.examples) for task, table in tables.items()}
    print_scores(scores, rows, f"{flags.split}, {flags.checkpoint} checkpoint (after update {step}) of {flags.run_dir}")


if __name__ == "__main__":
    run_command(EvalConfig, run, "eval.main")
