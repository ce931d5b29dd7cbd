"""Splits of TensorFlow Datasets -> Tables, without TensorFlow: the course's, as `minbert`, and public ones.

TFDS is imported where it is used: nothing else of the program needs it, and it takes half a second. Records are read in
chunks and parsed here: TFDS's own decoding takes four times as long.
"""

import dataclasses
import hashlib
import importlib.util
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bert_jax.data.tables import NO_LABEL, Example, Folder, Table, find_file
from bert_jax.errors import InputError, StorageError, UserError, quote
from bert_jax.tasks import Split, Task

PACKAGES = ("tensorflow_datasets", "array_record", "importlib_resources")
CHUNK = 4096  # records
FORMAT = "array_record"  # the one that TFDS reads and writes without TensorFlow and without losing rows
IDS = ("id", "idx")  # of minbert, of GLUE; IMDB has none


@dataclasses.dataclass(frozen=True)
class Datasets:
    """A place to read splits of tasks from: TFDS's folder. What it lacks is made there, of public data by a download.

    manual_dir: folder with the course's tables.
    splits: what is read as a split, such as `train[:80%]`, where that is not the task's own.
    """

    folder: Path
    manual_dir: Path
    splits: Mapping[Split, str | None]

    def __str__(self) -> str:
        return f"TFDS with the tables of {self.manual_dir}"

    def has(self, task: Task, split: Split) -> bool:
        """Whether there is a split of a task."""
        return not task.files or Folder(self.manual_dir).has(task, split)  # a task of one's own has its own folder

    def read(self, task: Task, split: Split, labelled: bool) -> Table:
        """A split of a task.

        Args:
          labelled: whether rows have labels; those without one are skipped and counted then.

        Raises:
          InputError: TFDS is not installed, cannot get the data or has no such split, or a row cannot be used.
          StorageError: the data cannot be written.
        """
        if task.folder:
            return Folder(task.folder).read(task, split, labelled)
        builder = self._builder(task, split)
        spec = self._spec(task, split)
        self._check_rows(builder, task, split, spec)
        path = Path(builder.data_dir) / f"{task.name}-{spec}"
        examples = list(_read(builder, path, task, spec))
        seen: set[str] = set()
        for example in examples:
            if example.id in seen:  # splits that are numbered alike are added up
                raise InputError(f"{path}: id {quote(example.id)} stands in it twice")
            seen.add(example.id)
        if not labelled:
            examples = [dataclasses.replace(example, label=None) for example in examples]
        kept = [example for example in examples if example.label is not None] if labelled else examples
        if not kept:
            raise InputError(f"{path}: there are no {'labelled ' if labelled else ''}rows")
        rows = [(example.id, example.texts, example.label) for example in examples]
        sha256 = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        return Table(path, kept, len(examples) - len(kept), sha256)

    def _spec(self, task: Task, split: Split) -> str:
        return self.splits.get(split) or task.tfds_splits[split]

    def _builder(self, task: Task, split: Split) -> Any:
        """TFDS's builder of a task, with its data on the disk."""
        for package in PACKAGES:
            if importlib.util.find_spec(package) is None:
                raise InputError(f"--data=tfds needs {package}: pip install -r requirements.txt")
        import tensorflow_datasets as tfds

        settings: dict[str, Any] = {"data_dir": self.folder}
        if task.files:
            import bert_jax.data.minbert  # noqa: F401  registers the builder

            find_file(self.manual_dir, task, split)
            settings["manual_dir"] = self.manual_dir
        else:
            import tensorflow_datasets.text.glue  # without TensorFlow, TFDS does not find it by itself

            _open_archives_without_tensorflow()
        name, _, config = task.tfds.partition("/")

        def find() -> Any:
            return tfds.builder_cls(name)(config=config, **settings)

        builder = find()
        if builder.data_path.exists():
            return builder
        try:
            builder.download_and_prepare(file_format=FORMAT)
        except UserError:
            raise
        except Exception as error:  # a server, a disk or TFDS itself: there is no telling what they come up with
            if not builder.data_path.exists():  # nor has another process made them in the meantime
                kind = StorageError if isinstance(error, OSError) and error.strerror else InputError
                raise kind(f"{task.tfds} cannot be made in {self.folder}: {_in_short(error)}") from None
        return find()

    def _check_rows(self, builder: Any, task: Task, split: Split, spec: str) -> None:
        """Raises InputError if a split has no rows, or some that another split of the task has as well."""
        rows = self._rows(builder, task, split)
        if not rows:
            raise InputError(f"--{split}_split={spec} of {task.tfds} has no rows")
        for other in task.tfds_splits:
            shared = len(rows & self._rows(builder, task, other)) if other != split and self.has(task, other) else 0
            if shared:
                specs = f"the {split} split {spec!r} and the {other} split {self._spec(task, other)!r}"
                raise InputError(f"{specs} of {task.tfds} have {shared:,} rows in common")

    def _rows(self, builder: Any, task: Task, split: Split) -> set[tuple[str, int]]:
        """File and number of each row of a split."""
        spec, splits = self._spec(task, split), builder.info.splits
        try:
            files = splits[spec].file_instructions
        except (ValueError, KeyError, AssertionError):
            names = ", ".join(splits)
            wanted = f"there are {names}, and parts of them such as train[:80%]"
            raise InputError(f"--{split}_split={spec} is no split of {task.tfds}; {wanted}") from None
        return {(file.filename, row) for file in files for row in range(file.skip, file.skip + file.take)}


def _open_archives_without_tensorflow() -> None:
    """Gives TFDS Python's own functions for the two of TensorFlow that it unpacks downloads with."""
    from tensorflow_datasets.core.download import extractor

    if importlib.util.find_spec("tensorflow") is None:
        gfile, compat = SimpleNamespace(GFile=open), SimpleNamespace(as_text=str)
        extractor.tf = SimpleNamespace(io=SimpleNamespace(gfile=gfile), compat=compat)


def _read(builder: Any, path: Path, task: Task, spec: str) -> Iterator[Example]:
    """The rows of a split, in their order."""
    from tensorflow_datasets.core.decode import DeserializeMethod
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        records = builder.as_data_source(spec, deserialize_method=DeserializeMethod.RAW_BYTES)
        for start in range(0, len(records), CHUNK):
            numbers = range(start, min(start + CHUNK, len(records)))
            for number, record in zip(numbers, records.__getitems__(numbers), strict=True):
                features = tf_example_pb2.Example.FromString(record).features.feature  # type: ignore[attr-defined]
                yield _example(path, task, number, features)
    except UserError:
        raise
    except NotImplementedError:
        said = f"is in the format {builder.info.file_format.value}, which needs TensorFlow"
        raise InputError(f"{builder.data_dir} {said}; name another --tfds_dir for {FORMAT}") from None
    except Exception as error:
        raise InputError(f"{path}: {_in_short(error)}; delete {builder.data_dir} to have it made anew") from None


def _example(path: Path, task: Task, number: int, features: Mapping[str, Any]) -> Example:
    """A record as a row; its label is None if it has none."""
    try:
        texts = tuple(features[name].bytes_list.value[0].decode() for name in task.text_columns)
    except UnicodeDecodeError:
        raise InputError(f"{path}: row {number} is not UTF-8") from None
    identity = next((_value(features[name]) for name in IDS if name in features), f"row-{number}")
    identity = identity.decode() if isinstance(identity, bytes) else str(identity)
    label = _value(features[task.label_column])
    label = struct.unpack("<d", label)[0] if isinstance(label, bytes) else float(label)
    if label == NO_LABEL:
        return Example(identity, texts, None)
    if not 0 <= label <= task.max_label or (not task.is_graded and label != int(label)):
        raise InputError(f"{path}: row {number} has the label {label:g}, outside 0 to {task.max_label}")
    return Example(identity, texts, label)


def _value(feature: Any) -> bytes | int | float:
    """The one value of a feature, in whichever of the three lists of TFDS's records it is."""
    return getattr(feature, feature.WhichOneof("kind")).value[0]


def _in_short(error: Exception) -> str:
    """The first line of what is wrong."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]
