"""A run as `train.open_run` gives it: its settings, scores and log, and what its model says.

The commands that open a run do their work by it. JAX is imported once something is computed.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np

from bert_jax.data.tables import Table
from bert_jax.errors import InputError, counted, perhaps
from bert_jax.tasks import Split, Task
from train.devices.shared import programs
from train.extend import Addition, extended
from train.inputs import find_source, read_examples, read_split, run_tasks
from train.resolve import subset_shares
from train.runs import log
from train.runs.embedder import Embedder, Pooled
from train.runs.folder import open_folder, read_record, stage_folders
from train.runs.questions import Prediction, as_examples, task_examples
from train.runs.record import told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from train.runs.finished import Attention, FinishedRun

Given = ParamSpec("Given")
Result = TypeVar("Result")
Which = Literal["best", "latest"]
RESAMPLES = 1000  # draws of each interval


def _extended(method: Callable[Concatenate["Run", Given], Result]) -> Callable[Concatenate["Run", Given], Result]:
    """The method of a Run while the program is extended by what the run needs."""

    @functools.wraps(method)
    def within(self: "Run", *args: Given.args, **kwargs: Given.kwargs) -> Result:
        with extended(self._added):
            return method(self, *args, **kwargs)

    return within


class Run:
    """A run's settings, scores and log, and what its model says.

    config: its settings, in parts.
    tasks: by name.
    model, tokenizer: what it computes with.
    """

    def __init__(self, run_dir: Path, checkpoint: Which = "best", added: Sequence[Addition] = ()):
        """As `open_run`.

        Args:
          added: what the program has to be extended by while it is used.
        """
        self.run_dir, self._added = run_dir, added
        self.checkpoint: Which = checkpoint
        with extended(self._added):
            self._folder, self.config, self.model, self.tokenizer = open_folder(run_dir)
            self.tasks: Mapping[str, Task] = {task.name: task for task in run_tasks(self.config)}

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, tasks={', '.join(self.tasks)})"

    @property
    def path(self) -> Path:
        """Its folder; of a recipe's run that of the stage."""
        return self._folder.path

    @property
    def is_masked_lm(self) -> bool:
        return self.config.training.mode == "mlm"

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Dev scores of the best checkpoint, as the log has them, by task; none before the first evaluation."""
        best = log.best_entry(self._folder.metrics)
        return best["dev"] if best else {}

    @property
    def history(self) -> list[dict[str, Any]]:
        """The log: an entry every so many updates, with losses, and one an evaluation, with dev scores."""
        return log.entries(self._folder.metrics)

    def find_task(self, name: str) -> Task:
        """One of its tasks.

        Raises:
          InputError: it has none of that name, or is a masked LM, which gives texts no labels.
        """
        self.check_labels()
        if name not in self.tasks:
            guess = perhaps(name, self.tasks)
            raise InputError(f"--task={name} is no task of this run{guess}; it has {', '.join(self.tasks)}")
        return self.tasks[name]

    def check_labels(self, named: Path | None = None) -> None:
        """Raises InputError if it is a masked LM.

        Args:
          named: the folder that the user named, if it is the one around it.
        """
        if self.is_masked_lm:
            wanted = f"python -m train.main --init={self._folder.model} trains tasks from it"
            raise InputError(f"{named or self.run_dir} is a masked LM, which gives texts no labels; {wanted}")

    @_extended
    def table(self, task: str, split: Split = "dev") -> Table:
        """Read a table of one of its tasks: `table("sst", "train").examples` are the rows that it is trained on.

        Those of a test table come without labels.

        Raises:
          InputError: there is no such task, or the table is missing or wrong.
        """
        found, tables = self.find_task(task), self.config.tables
        share = subset_shares(tables).get(found.name, 1.0)
        return read_split(find_source(tables), found, split, labelled=split != "test", share=share)

    @_extended
    def predict(
        self,
        task: str,
        texts: Sequence[str | tuple[str, ...]],
        batch_size: int = 32,
        check: Callable[[], None] = lambda: None,
    ) -> list[Prediction]:
        """What a task says of each text, or of each pair, (first, second). How many texts were cut is told on stderr.

        Args:
          check: called before each batch; raises to stop.

        Raises:
          InputError: there is no such task, or a text is none, or no pair where the task takes pairs.
        """
        found = self.find_task(task)
        examples = task_examples(found, texts)
        if not examples:
            return []

        from eval.answers import in_words

        encoded = self.restored.encode(examples)
        if encoded.truncated:
            cut = counted(encoded.truncated, "text")
            print(f"cut to {self.restored.max_length} tokens: {cut}", file=sys.stderr)
        answers = [in_words(found, each) for each in self.restored.predict(found, encoded, batch_size, check)]
        return [
            Prediction(a["label"], a["score"], tuple(each["probability"] for each in a["labels"]), a["words"])
            for a in answers
        ]

    @_extended
    def evaluate(
        self,
        split: Split = "dev",
        data_dir: str | Path | None = None,
        batch_size: int = 32,
        devices: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, dict[str, Any]]:
        """Scores of each task on a split of its tables, every row once.

        Args:
          data_dir: folder with the tables; those that it was trained on if none is named.
          devices: how many; all if it is not said.
          check: called before each batch; raises to stop.

        Returns:
          By task, what `FinishedRun.judge` says.

        Raises:
          InputError: a table is missing or wrong, or there are not so many devices.
        """
        tables = self.config.tables
        source = find_source(tables, Path(data_dir) if data_dir else None)
        read = {task: read_examples(tables, source, task, split) for task in self.tasks.values()}

        run = self.restore(devices)
        return {task.name: run.judge(task, table, batch_size, check, RESAMPLES) for task, table in read.items()}

    def encode(self, texts: Sequence[str], pooling: Pooled | None = None, batch_size: int = 32) -> np.ndarray:
        """Embeddings of texts: [texts, hidden] float32.

        Args:
          pooling: the last hidden state of [CLS], BERT's pooler on it, or the mean over all tokens; what the run's
            heads read if it is not said, of a masked LM the mean.

        Raises:
          InputError: the model has no pooler, which was asked for.
        """
        return self.embedder.embed(texts, pooling, batch_size=batch_size)[0]

    @property
    def embedder(self) -> Embedder:
        """What embeds texts as its heads read them."""
        has_pooler = self.model.pooling == "cls" and not self.is_masked_lm
        return Embedder(
            name=str(self.run_dir),
            model=self.model,
            tokenizer=self.tokenizer,
            params=lambda: self.restored.params,
            programs=lambda: programs(1),
            has_pooler=has_pooler,
            pooling="pooler" if has_pooler else "mean",
            max_length=self.config.reading.max_length,
        )

    def attention(self, texts: Sequence[str], row_length: int = 64) -> "Attention":
        """Compute how much each token of some texts attends to each other, in every layer and head.

        Args:
          row_length: tokens a row; as many texts as fit share one. A longer text makes all rows as long.
        """
        run = self.restored
        return run.attention(run.encode(as_examples(texts)), row_length)

    @_extended
    def export(self, folder: str | Path, task: str | None = None) -> int:
        """Writes its model into a new folder that transformers, sentence-transformers and `init` load, with a card.

        Args:
          task: makes it a BertForSequenceClassification of this task, in place of a BertModel.

        Returns:
          The number of updates that made the model.

        Raises:
          InputError: the folder is not empty, or the task's head is none that transformers can hold.
          StorageError: it cannot be written.
        """
        from eval.export.card import Card
        from eval.export.folder import check_output, find_classifier, write_export

        classifier = None if task is None else find_classifier(task, self.tasks, self.model)
        path = Path(folder)
        check_output(path, self.run_dir)
        records = [told(read_record(open_folder(stage)[0])) for stage in stage_folders(self.run_dir) or [self.path]]
        judged = log.dev_entries(self._folder.metrics)

        import jax

        run = self.restored
        params = jax.tree.map(np.asarray, run.params)
        card = Card(
            name=path.resolve().name,
            model=self.model,
            tasks=tuple(self.tasks.values()),
            classifier=classifier,
            has_pooler="pooler" in params,
            checkpoint=self.checkpoint,
            step=run.step,
            scores=next((log.with_nan(entry["dev"]) for entry in reversed(judged) if entry["step"] == run.step), {}),
            stages=records,
        )
        write_export(path, card, params, self.tokenizer, run.max_length)
        return run.step

    def plot(self) -> "Figure":
        """The learning curves: each task's loss and dev score against updates. In a notebook it is shown."""
        from eval.curves import draw_run

        return draw_run(self.history, {task.name: task.metric for task in self.tasks.values()})

    @property
    def step(self) -> int:
        """The updates that made the checkpoint."""
        return self.restored.step

    @functools.cached_property
    def restored(self) -> "FinishedRun":
        """Its checkpoint on one device, read when it is asked for the first time."""
        return self.restore(1)

    @_extended
    def restore(self, devices: int | None) -> "FinishedRun":
        """Its checkpoint on some devices, or on all.

        Raises:
          InputError: there are not so many.
          WeightsError: there is no checkpoint, or it is damaged.
        """
        from train.runs.finished import restore_run

        return restore_run(self.run_dir, self.checkpoint, programs(devices))
