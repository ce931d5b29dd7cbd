"""`python -m eval.export --run_dir=R --output=D`: a run's model as transformers and sentence-transformers load it."""

import dataclasses
import shlex
from pathlib import Path

from bert_jax.cli.command import run_command
from eval.export.usage import training_flags
from eval.flags import OfRun


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(OfRun):
    """Writes a run's model into a folder that transformers, sentence-transformers and --init load, with a model card.

    The encoder is a BertModel, of a masked LM a BertForMaskedLM; the heads lie in heads.safetensors beside it.
    """

    output: Path
    """Folder to write; it is new or empty."""
    task: str | None = None
    """Makes it a BertForSequenceClassification of this task of the run, in place of a BertModel."""


def main(flags: ExportConfig) -> None:
    """Checks the run, the task and the output before JAX is imported."""
    run = flags.open()
    step = run.export(flags.output, flags.task)
    again = "" if run.is_masked_lm else training_flags(run.model)
    print(f"{flags.checkpoint} checkpoint (after update {step}) of {flags.run_dir} -> {flags.output}")
    print(f"{flags.output / 'README.md'} says how other libraries load it")
    print(f"next: python -m train.main --init={shlex.quote(str(flags.output))}{again}")


if __name__ == "__main__":
    run_command(ExportConfig, main, "eval.export")
