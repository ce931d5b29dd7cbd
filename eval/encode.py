"""`python -m eval.encode --run_dir=R --output=F.npy`: embeddings of the texts on stdin, in their order."""

import dataclasses
import io
import sys
from pathlib import Path
from typing import Literal

from bert_jax.config import ModelConfig
from bert_jax.errors import InputError, StorageError, counted
from bert_jax.tokenizer import Tokenizer
from train.command import read_stdin, run_command
from train.config import check_positive
from train.interrupt import Interrupt

Embedding = Literal["cls", "pooler", "mean"]


@dataclasses.dataclass(frozen=True)
class EncodeConfig:
    """Writes the embeddings of the texts on standard input, one a line, as a NumPy array [texts, hidden] float32.

    They are a run's, as its heads read them, or those of weights.
    """

    output: Path
    """File to write; it ends in .npy."""
    run_dir: Path | None = None
    """Folder of the run."""
    init: str | None = None
    """In place of a run, weights: a Hugging Face folder, a hub id (owner/name@revision) or all-minilm-l6-v2."""
    checkpoint: Literal["best", "latest"] = "best"
    """Which checkpoint of the run."""
    pooling: Embedding | None = None
    """The last hidden state of [CLS], BERT's pooler on it, or the mean over all tokens of the text.
    Default: what the run's heads read; of weights and of a masked LM the mean."""
    max_length: int | None = None
    """Tokens a text may have; longer ones are cut. Default: as in training; of weights 512."""
    batch_size: int = 32
    """Texts a batch, if they are of average length."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What embeds texts.

    params: of weights; those of a run lie in its checkpoint, which JAX reads.
    pooling, max_length: where no flag gives another.
    """

    model: ModelConfig
    tokenizer: Tokenizer
    params: dict | None
    has_pooler: bool
    pooling: Embedding
    max_length: int


def open_source(run_dir: Path | None, init: str | None) -> Source:
    """Reads a run's settings, or weights.

    Raises:
      InputError: there is no such run, or not one of both is given.
      WeightsError: it is damaged, or the weights are not there or do not fit.
    """
    from bert_jax.tokenizer import read_tokenizer
    from bert_jax.weights import find_weights, load_weights
    from train.rundir import open_run

    if run_dir is not None and init is None:
        _, config, model, tokenizer = open_run(run_dir)
        has_pooler = model.pooling == "cls" and config.mode != "mlm"
        return Source(model, tokenizer, None, has_pooler, "pooler" if has_pooler else "mean", config.max_length)
    if init is not None and run_dir is None:
        folder = find_weights(init)
        bert, params = load_weights(folder)
        tokenizer = read_tokenizer(folder, bert.vocab_size)
        return Source(ModelConfig(bert), tokenizer, params, "pooler" in params, "mean", 512)
    raise InputError("--run_dir names a run, and --init weights; give one of them")


def main(flags: EncodeConfig) -> None:
    """Checks flags, run or weights, and texts before JAX is imported."""
    from bert_jax.data.tables import Example
    from bert_jax.tokenizer import encode_examples

    if flags.output.suffix != ".npy":
        raise InputError(f"--output={flags.output} does not end in .npy")
    if not flags.output.absolute().parent.is_dir():
        raise StorageError(f"--output={flags.output} is in a folder that does not exist")
    if flags.max_length is not None and not 8 <= flags.max_length <= 512:
        raise InputError(f"--max_length={flags.max_length}, but it lies between 8 and 512")
    check_positive("batch_size", flags.batch_size)
    source = open_source(flags.run_dir, flags.init)
    pooling, bert = flags.pooling or source.pooling, source.model.bert
    if pooling == "pooler" and not source.has_pooler:
        raise InputError(f"--pooling=pooler, but {flags.run_dir or flags.init} has no pooler")
    examples = [Example(str(number), (text,), None) for number, text in enumerate(read_stdin())]
    max_length = min(flags.max_length or source.max_length, bert.max_position_embeddings)
    encoded = encode_examples(source.tokenizer, examples, "separate", max_length)

    import jax
    import numpy as np

    from bert_jax.data.batches import evaluation_batches
    from bert_jax.heads import embed, encode
    from bert_jax.packing import PackedBatch
    from eval.evaluate import predict_split
    from train.finished import restore_run
    from train.programs import Programs

    programs = Programs(1)
    params = source.params
    if params is None:
        assert flags.run_dir is not None
        params = restore_run(flags.run_dir, flags.checkpoint, programs).params
    model = dataclasses.replace(source.model, pooling="mean" if pooling == "mean" else "cls")

    def embed_texts(params: dict, batch: PackedBatch) -> jax.Array:
        if pooling == "cls":
            return encode(model, params, batch, read=batch.first_token)[:, 0]
        return embed(model, params, batch)[:, 0]

    step = programs.parallel.compile_predict_step(embed_texts)
    batches = evaluation_batches(encoded, min(flags.batch_size, len(examples)), shares=1, row_length=None)
    with Interrupt() as interrupt:
        embeddings = predict_split(lambda batch: step(params, batch), batches, interrupt.check)
    buffer = io.BytesIO()
    np.save(buffer, embeddings.astype(np.float32))
    try:
        flags.output.write_bytes(buffer.getvalue())
    except OSError as error:
        raise StorageError(f"--output={flags.output} cannot be written: {error.strerror}") from None
    cut = f", {encoded.truncated} of them cut" if encoded.truncated else ""
    print(f"{counted(len(examples), 'text')}{cut} -> {flags.output} {list(embeddings.shape)}", file=sys.stderr)


if __name__ == "__main__":
    run_command(EncodeConfig, main, "eval.encode")
