"""`python -m eval.encode --init=I --output=F.npy`: embeddings of the texts on stdin, in their order."""

import dataclasses
import io
import sys
from pathlib import Path
from typing import Literal

from bert_jax.errors import InputError, StorageError
from train.command import read_stdin, run_command
from train.config import check_positive
from train.interrupt import Interrupt


@dataclasses.dataclass(frozen=True)
class EncodeConfig:
    """Writes the embeddings of the texts on standard input, one a line, as a NumPy array [texts, hidden] float32."""

    init: str
    """Weights: a Hugging Face folder, a hub id (owner/name@revision) or all-minilm-l6-v2."""
    output: Path
    """File to write; it ends in .npy."""
    pooling: Literal["cls", "pooler", "mean"] = "mean"
    """The last hidden state of [CLS], BERT's pooler on it, or the mean over all tokens of the text."""
    max_length: int = 512
    """Tokens a text may have; longer ones are cut."""
    batch_size: int = 32
    """Texts a batch, if they are of average length."""


def main(flags: EncodeConfig) -> None:
    """Checks flags, weights and texts before JAX is imported."""
    from bert_jax.data.tables import Example
    from bert_jax.tokenizer import encode_examples, read_tokenizer
    from bert_jax.weights import find_weights, load_weights

    if flags.output.suffix != ".npy":
        raise InputError(f"--output={flags.output} does not end in .npy")
    if not flags.output.absolute().parent.is_dir():
        raise StorageError(f"--output={flags.output} is in a folder that does not exist")
    if not 8 <= flags.max_length <= 512:
        raise InputError(f"--max_length={flags.max_length}, but it lies between 8 and 512")
    check_positive("batch_size", flags.batch_size)
    folder = find_weights(flags.init)
    bert, params = load_weights(folder)
    if flags.pooling == "pooler" and "pooler" not in params:
        raise InputError(f"--pooling=pooler, but {folder} has no pooler")
    tokenizer = read_tokenizer(folder, bert.vocab_size)
    examples = [Example(str(number), (text,), None) for number, text in enumerate(read_stdin())]
    encoded = encode_examples(tokenizer, examples, "separate", min(flags.max_length, bert.max_position_embeddings))

    import jax
    import jax.numpy as jnp
    import numpy as np

    from bert_jax.data.batches import evaluation_batches
    from bert_jax.heads import Pooler, first_hidden, mean_hidden
    from bert_jax.modules import Encoder
    from bert_jax.packing import PackedBatch
    from eval.evaluate import predict_split
    from train.parallel import Parallel

    def embed(params: dict, batch: PackedBatch) -> jax.Array:
        hidden = Encoder(bert).apply({"params": params["bert"]}, batch)
        assert isinstance(hidden, jax.Array)
        if flags.pooling == "mean":
            return mean_hidden(hidden, jnp.asarray(batch.segment_ids), jnp.asarray(batch.first_token))[:, 0]
        first = first_hidden(hidden, jnp.asarray(batch.first_token))[:, 0]
        return first if flags.pooling == "cls" else Pooler(bert).apply({"params": params["pooler"]}, first)  # type: ignore[return-value]

    step = Parallel(1).compile_predict_step(embed)
    batches = evaluation_batches(encoded, min(flags.batch_size, len(examples)), shares=1, row_length=None)
    with Interrupt() as interrupt:
        embeddings = predict_split(lambda batch: step(params, batch), batches, interrupt.check)
    buffer = io.BytesIO()
    np.save(buffer, embeddings)
    try:
        flags.output.write_bytes(buffer.getvalue())
    except OSError as error:
        raise StorageError(f"--output={flags.output} cannot be written: {error.strerror}") from None
    cut = f", {encoded.truncated} of them cut" if encoded.truncated else ""
    print(f"{len(examples)} texts{cut} -> {flags.output} {list(embeddings.shape)}", file=sys.stderr)


if __name__ == "__main__":
    run_command(EncodeConfig, main, "eval.encode")
