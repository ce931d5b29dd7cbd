"""`minbert`: the course's tables as a data set of TensorFlow Datasets. Importing this file imports TFDS."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from bert_jax.data.public import default_folder
from bert_jax.data.tables import NO_LABEL, Folder, find_file, read_bytes
from bert_jax.tasks import COURSE_TASKS, Split, Task

SST = COURSE_TASKS["sst"]
CONFIGS: dict[str, Task] = {
    **COURSE_TASKS,
    "sst_cmu": dataclasses.replace(SST, files={split: names[1:] for split, names in SST.files.items()}),
}


class Minbert(tfds.core.GeneratorBasedBuilder):
    """Rows of the strict reader, those without a label among them, in the order of their tables.

    `sst_cmu` is SST in the older files, `label ||| text`; `sst` takes them too where there are no others. The folder of
    the data is named after the content of the files, so rows of files that have changed are never given again.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in CONFIGS]  # noqa: RUF012  as in TFDS

    def __init__(self, *, manual_dir: os.PathLike, config: str, data_dir: os.PathLike | None = None, **settings: Any):
        """Finds the data of a config, which `download_and_prepare` makes where there are none.

        Args:
          manual_dir: folder with the course's files, as they are.
          data_dir: TFDS's folder, if not the usual one.
        """
        self.task, self.tables = CONFIGS[config], Folder(Path(manual_dir))
        folder = Path(data_dir or default_folder()) / f"minbert-{self._digest()[:16]}"
        super().__init__(config=config, data_dir=folder, **settings)

    def _digest(self) -> str:
        """SHA-256 of the files."""
        files = {split: read_bytes(find_file(self.tables.path, self.task, split)) for split in self._splits()}
        hashes = [f"{split} {hashlib.sha256(data).hexdigest()}\n" for split, data in files.items()]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def _splits(self) -> list[Split]:
        return [split for split in self.task.tfds_splits if self.tables.has(self.task, split)]

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        # As bytes: TFDS stores other floats in 32 bits, and 4.2 would come back as 4.19999980926513671875.
        label = tfds.features.Tensor(shape=(), dtype=np.float64, encoding="bytes")
        features = {"id": text(), **{name: text() for name in self.task.text_columns}, self.task.label_column: label}
        return tfds.core.DatasetInfo(
            builder=self,
            description="Tables of Stanford's CS224N default project.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        return {self.task.tfds_splits[split]: self._generate_examples(split) for split in self._splits()}

    def _generate_examples(self, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        task = self.task
        rows = self.tables.read(task, split, labelled=False).examples
        labelled = self.tables.read(task, split, labelled=True).examples if split != "test" else []
        labels = {row.id: row.label for row in labelled}
        for number, row in enumerate(rows):
            texts = zip(task.text_columns, row.texts, strict=True)
            yield number, {"id": row.id, **dict(texts), task.label_column: labels.get(row.id, float(NO_LABEL))}
