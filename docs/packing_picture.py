"""Draws `docs/packing.svg`: the first SST batch of a run, padded and packed.

PYTHONPATH=. python docs/packing_picture.py DATA_DIR all-minilm-l6-v2 > docs/packing.svg
"""

import sys
from pathlib import Path

import numpy as np

from bert_jax.batches.batches import training_batches
from bert_jax.batches.tokenizer import encode_examples, read_tokenizer
from bert_jax.data.tables import find_file, read_table
from bert_jax.tasks import TASKS
from bert_jax.weights.folder import find_weights

CELL = 6  # pixels a token
COLOURS = ("#4c78a8", "#72b7b2", "#54a24b", "#eeca3b", "#f58518", "#e45756", "#b279a2", "#9d755d")
PADDING, INK = "#e9e9ee", "#3a3a44"


def grid(segments: np.ndarray, left: int, top: int) -> str:
    """A band for each text, ruled into tokens: [rows, length] of text numbers, 0 for padding."""
    rows, length = segments.shape
    size = f'width="{length * CELL}" height="{rows * CELL}"'
    bands = [f'<rect x="{left}" y="{top}" {size} fill="{PADDING}"/>']
    for row, line in enumerate(segments):
        for segment in np.unique(line[line > 0]):
            begin, count = int(np.argmax(line == segment)), int((line == segment).sum())
            place = f'x="{left + begin * CELL}" y="{top + row * CELL}" width="{count * CELL}" height="{CELL}"'
            bands.append(f'<rect {place} fill="{COLOURS[(segment - 1) % len(COLOURS)]}"/>')
    return "".join(bands) + f'<rect x="{left}" y="{top}" {size} fill="url(#ruled)"/>'


def text(x: int, y: int, words: str, size: int = 13) -> str:
    """A line of words at a place."""
    return f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="{size}" fill="{INK}">{words}</text>'


def draw(data_dir: Path, init: str) -> str:
    """The first batch of 32 sentences, both ways, with the share of real tokens in each."""
    task = TASKS["sst"]
    examples = read_table(find_file(data_dir, task, "train"), task, labelled=True).examples
    encoded = encode_examples(read_tokenizer(find_weights(init)), examples, "separate", 512)
    batches = training_batches(encoded, "sst", seed=11711, batch_size=32, count=1, shares=1, row_length=64)
    packed = np.asarray(batches[0].segment_ids)[0]
    lengths = encoded.lengths[batches.indices[0]].reshape(-1)
    longest = int(lengths.max())
    padded = np.where(np.arange(longest) < lengths[:, None], np.arange(1, len(lengths) + 1)[:, None], 0)
    left, top, gap = 16, 52, 48
    right = left + longest * CELL + gap
    width, height = right + 64 * CELL + left, top + len(lengths) * CELL + 16
    caption = top + packed.shape[0] * CELL + 26
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
            f'<pattern id="ruled" width="{CELL}" height="{CELL}" x="{left}" y="{top}" patternUnits="userSpaceOnUse">',
            f'<path d="M{CELL - 0.5} 0V{CELL - 0.5}H0" fill="none" stroke="#ffffff"/></pattern>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            text(left, 22, "padded: 32 sentences, one a row"),
            text(left, 40, f"{padded.size} tokens computed, {(padded > 0).mean():.0%} real", 11),
            text(right, 22, "packed: the same 32 sentences in rows of 64"),
            text(right, 40, f"{packed.size} tokens computed, {(packed > 0).mean():.0%} real", 11),
            grid(padded, left, top),
            grid(packed, right, top),
            text(right, caption, "One colour is one text: attention stays inside it, positions restart in it,", 11),
            text(right, caption + 16, "dropout is keyed by it. Loss and gradients are those of the padded batch.", 11),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(draw(Path(sys.argv[1]), sys.argv[2]))
