"""Writes what this program computes for some texts, for check_export.py to compare with. Needs no torch.

    python -m tests.references.write_outputs RUN FOLDER

FOLDER is the export of RUN. Writes FOLDER.npz: the texts, their embeddings as `eval.encode` gives them, each task's
outputs, and of a masked LM the logits of all tokens of one text.
"""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from bert_jax.batches.packing import BatchShape, pack
from bert_jax.data.tables import Example
from bert_jax.heads import MaskedLmHead, encode
from eval.export.usage import FIRSTS, SECONDS, TEXTS
from train.devices.programs import Programs
from train.runs.finished import FinishedRun, restore_run

# Case, accents, other scripts, words without a piece, words like special tokens, nothing, and too many tokens.
HARD = [
    "It 's a LOVELY film -- with some of the best SPECIAL effects ever .",
    "Café naïve Ärger ½ señor",
    "電影 很好 , \u200b\u00a0\u0007 isn't it ?",
    "supercalifragilistic " + "x" * 150,
    "A [SEP] b [MASK] c [CLS] [UNK] [PAD] .",
    "",
    "The music is dull . " * 200,
]


def outputs_of(run: FinishedRun) -> dict[str, np.ndarray]:
    """Each task's raw outputs for the card's texts or pairs."""
    examples = {
        1: [Example(str(i), (text,), None) for i, text in enumerate([*TEXTS, *HARD])],
        2: [Example(str(i), pair, None) for i, pair in enumerate(zip(FIRSTS, SECONDS, strict=True))],
    }
    return {
        f"output.{task.name}": run.predict(task, run.encode(examples[len(task.text_columns)]), 4) for task in run.tasks
    }


def masked_logits(run: FinishedRun) -> np.ndarray:
    """Logits of all tokens of one text: [tokens, vocabulary]."""
    encoded = run.encode([Example("0", (HARD[0],), None)])
    hidden = encode(run.model, run.params, pack(encoded, np.arange(1), BatchShape(1, len(encoded.tokens)), 1))
    words = run.params["bert"]["embeddings"]["word"]["embedding"]
    logits = MaskedLmHead(run.model.bert).apply({"params": run.params["mlm"]}, hidden[0], words)
    return np.asarray(logits)


def main(run_dir: str, folder: str) -> None:
    texts, stored = [*TEXTS, *HARD], Path(folder).absolute().with_name(Path(folder).name + ".npy")
    flags = [f"--run_dir={run_dir}", f"--output={stored}"]
    subprocess.run([sys.executable, "-m", "eval.encode", *flags], input="\n".join(texts) + "\n", text=True, check=True)
    run = restore_run(Path(run_dir), "best", Programs(1))
    found = {"masked": masked_logits(run)} if run.tasks[0].kind == "mlm" else outputs_of(run)
    np.savez(stored.with_suffix(".npz"), texts=np.array(texts), embeddings=np.load(stored), **found)
    stored.unlink()
    print(f"{stored.with_suffix('.npz')}: {len(texts)} texts, {', '.join(found)}, with jax {jax.__version__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
