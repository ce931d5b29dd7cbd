"""`python -m eval.encode --run_dir=R --output=F.npy`: embeddings of the texts on stdin, in their order."""

import dataclasses
import io
import sys
from pathlib import Path

import numpy as np

from bert_jax.cli.command import read_stdin, run_command
from bert_jax.cli.interrupt import Interrupt
from bert_jax.cli.settings import between, setting
from bert_jax.errors import InputError, StorageError, counted, refused
from eval.flags import Judged
from train.devices.shared import programs
from train.runs.embedder import Embedder, Pooled


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeConfig(Judged):
    """Writes the embeddings of the texts on standard input, one a line, as a NumPy array [texts, hidden] float32.

    They are a run's, as its heads read them, or those of weights.
    """

    output: Path
    """File to write; it ends in .npy."""
    run_dir: Path | None = None  # type: ignore[assignment]
    """Folder of the run."""
    init: str | None = None
    """In place of a run, weights: a Hugging Face folder, a hub id (owner/name@revision) or all-minilm-l6-v2."""
    pooling: Pooled | None = None
    """The last hidden state of [CLS], BERT's pooler on it, or the mean over all tokens of the text. Default: what the
    run's heads read; of weights and of a masked LM the mean."""
    max_length: int | None = setting(None, range=between(8, 512))
    """Tokens a text may have; longer ones are cut. Default: as in training; of weights 512."""


def main(flags: EncodeConfig) -> None:
    """Checks flags, run or weights, and texts before JAX is imported."""
    if flags.output.suffix != ".npy":
        raise InputError(f"--output={flags.output} does not end in .npy")
    if not flags.output.absolute().parent.is_dir():
        raise StorageError(f"--output={flags.output} is in a folder that does not exist")
    if (flags.run_dir is None) == (flags.init is None):
        raise InputError("--run_dir names a run, and --init weights; give one of them")
    embedder = Embedder.of_weights(flags.init, lambda: programs(1)) if flags.init else flags.open().embedder
    embedder.check(flags.pooling)
    texts = read_stdin()
    with Interrupt() as interrupt:
        embeddings, cut = embedder.embed(texts, flags.pooling, flags.max_length, flags.batch_size, interrupt.check)
    buffer = io.BytesIO()
    np.save(buffer, embeddings)
    with refused(StorageError, f"--output={flags.output} cannot be written"):
        flags.output.write_bytes(buffer.getvalue())
    of_them = f", {cut} of them cut" if cut else ""
    print(f"{counted(len(texts), 'text')}{of_them} -> {flags.output} {list(embeddings.shape)}", file=sys.stderr)


if __name__ == "__main__":
    run_command(EncodeConfig, main, "eval.encode")
