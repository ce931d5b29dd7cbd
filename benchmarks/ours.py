"""`python -m benchmarks.ours`: this program's side of a comparison; `benchmarks.run` asks for it.

What is timed is the program's own: its batches, its compiled steps, its loop (`train.loop.fit`) and its evaluation.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Work
from benchmarks.loads import SEED, Source, make_load
from benchmarks.serve import serve
from benchmarks.texts import save_texts
from benchmarks.timed import Training, time_compilation, time_evaluation
from bert_jax.config import SIZES, ModelConfig
from bert_jax.heads import init_params
from bert_jax.weights.folder import save_model
from train.devices.profiling import fastest_product
from train.devices.programs import Programs
from train.losses import LOSSES


def hello() -> dict[str, Any]:
    """What we run on."""
    device = jax.devices()[0]
    gpu = None if device.platform == "cpu" else device.device_kind
    return {"gpu": gpu, "versions": {"jax": jax.__version__, "numpy": np.__version__}}


class Ours:
    """One piece of work: made ready, checked, and done as often as asked."""

    def prepare(
        self, work: dict[str, Any], settings: dict[str, Any], folder: str, data_dir: str | None, vocab: str
    ) -> dict[str, Any]:
        """Makes batches, weights and steps; leaves texts and weights in the folder if there is a rival to read them.

        Returns:
          What `Load.amounts` is.
        """
        self.work = Work(**work)
        bert = SIZES[self.work.model]
        if not self.work.dropout:
            bert = dataclasses.replace(bert, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        rate = settings["head_dropout"] if self.work.dropout else 0.0
        self.model = ModelConfig(bert, head_dropout=rate, dtype=self.work.dtype)
        self.load = make_load(self.work, Source(Path(data_dir) if data_dir else None, vocab))
        self.programs = Programs(1)
        tasks = list(self.load.batches)
        params = init_params(self.model, tasks, SEED)
        self.params = jax.tree.map(jnp.asarray, params)
        self.task, batches = next(iter(self.load.batches.items()))
        self.check_batch = batches[0]
        if self.load.encoded is not None and self.work.rivals:
            save_model(Path(folder), bert, params, classifier=self.task)
            check = np.asarray(self.check_batch.example_ids).reshape(-1)[self._is_example]
            save_texts(Path(folder) / "texts.npz", self.load.encoded, check, self.load.ways)
        if self.work.kind != "evaluation":
            lr, decay = settings["lr"], settings["weight_decay"]
            self.training = Training(self.programs, self.model, self.params, tasks, lr, decay)
        return self.load.amounts

    def losses(self, dtype: str) -> list[float]:
        """The loss of each example of the first batch, without dropout."""
        model = dataclasses.replace(self.model, dtype=dtype)
        with jax.default_matmul_precision("highest"):  # a GPU's usual float32 products have 10 bits
            outputs = self.programs.predict_step(model, self.task)(self.params, self.check_batch)
        labels = np.asarray(self.check_batch.labels).reshape(-1)[self._is_example]
        return np.asarray(LOSSES[self.task.kind](jnp.asarray(outputs), jnp.asarray(labels))).tolist()

    def run(self) -> dict[str, float]:
        """Does the work once."""
        batches = self.load.batches
        if self.work.kind == "evaluation":
            return time_evaluation(self.programs, self.model, self.task, self.params, batches[self.task])
        if self.work.kind == "compile":
            return time_compilation(self.programs, self.training, batches)
        return self.training.run(batches)

    @property
    def _is_example(self) -> np.ndarray:
        return np.asarray(self.check_batch.weights).reshape(-1) > 0


if __name__ == "__main__":
    ours = Ours()
    serve({"hello": hello, "product": fastest_product} | {n: getattr(ours, n) for n in ("prepare", "losses", "run")})
