"""Everything that a run reads, read and checked before JAX is imported, so that mistakes are answered at once."""

import dataclasses
import hashlib

from bert_jax.config import SIZES, BertConfig
from bert_jax.data.sample import SAMPLE
from bert_jax.data.tables import Table, find_file, read_table
from bert_jax.errors import InputError
from bert_jax.tasks import Split, Task, find_tasks
from bert_jax.tokenizer import Tokenizer, read_tokenizer
from bert_jax.weights import find_weights, load_weights
from train.config import TrainConfig

SPLITS: tuple[Split, ...] = ("train", "dev")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Settings, tables, vocabulary and weights of a run.

    weights: parts of the parameters, or None for a random start.
    source: where the model comes from, for people.
    """

    config: TrainConfig
    tables: dict[Task, dict[Split, Table]]
    bert: BertConfig
    tokenizer: Tokenizer
    weights: dict | None
    source: str

    @property
    def max_length(self) -> int:
        """Tokens a text may have: what is asked for, and no more than the model has positions."""
        return min(self.config.max_length, self.bert.max_position_embeddings)

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each table, by its path inside the data folder."""
        paths = [table.path for splits in self.tables.values() for table in splits.values()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def read_inputs(config: TrainConfig) -> Inputs:
    """Reads what resolved settings name; the first thing that is wrong is an error.

    Raises:
      InputError: a table is missing or wrong.
      WeightsError: the weights are missing or do not fit.
    """
    data_dir = config.data_dir or SAMPLE
    tables: dict[Task, dict[Split, Table]] = {
        task: {split: read_table(find_file(data_dir, task, split), task, labelled=True) for split in SPLITS}
        for task in find_tasks(config.tasks)
    }
    if config.init:
        folder = find_weights(config.init)
        bert, weights = load_weights(folder)
        tokenizer = read_tokenizer(folder, bert.vocab_size)
        return Inputs(config, tables, bert, tokenizer, weights, f"weights of {config.init}")
    if config.model not in SIZES:
        raise InputError(f"--model={config.model} is no size; there are {', '.join(SIZES)}")
    tokenizer = read_tokenizer(config.vocab or SAMPLE)
    bert = dataclasses.replace(SIZES[config.model], vocab_size=len(tokenizer.vocab))
    return Inputs(config, tables, bert, tokenizer, None, f"random {config.model}")
