"""The model card of an exported run: README.md, whose front matter the hub reads and whose text people do."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from bert_jax.config import ModelConfig
from bert_jax.tasks import KINDS, Task
from bert_jax.weights.folder import HEADS_FILE
from eval.export import usage
from eval.report import HEADINGS, format_score

# Each score by the name that people know; below, by the hub's where that is another.
SCORES = {**HEADINGS, "perplexity": "perplexity"}
HUB_METRIC = {"macro_f1": "f1", "pearson": "pearsonr", "spearman": "spearmanr"}
NAMES_OF_FILES = {"init", "data_dir", "vocab"}


@dataclasses.dataclass(frozen=True)
class Card:
    """What a card tells of.

    name: what the folder is called.
    classifier: the task of which it is a BertForSequenceClassification.
    checkpoint: "best" or "latest", and `step` the updates that made it.
    scores: on the dev tables, by task; empty where this checkpoint was not scored.
    stages: the record of the run, or of each stage of a recipe: config, bert, files, versions.
    """

    name: str
    model: ModelConfig
    tasks: Sequence[Task]
    classifier: Task | None
    has_pooler: bool
    checkpoint: str
    step: int
    scores: Mapping[str, Mapping[str, Any]]
    stages: Sequence[Mapping[str, Mapping[str, Any]]]

    @property
    def is_masked_lm(self) -> bool:
        return self.tasks[0].is_masked_lm


def render_card(card: Card) -> str:
    """Write the text of the card."""
    parts = {"front_matter": _front_matter(card), "about": _about(card), "scores": _scores(card), "use": _use(card)}
    return usage.fill("card", name=card.name, training=_training(card), data=_data(card), **parts)


def _front_matter(card: Card) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # takes a while to import

    # A correlation or a share that is not defined has no place among numbers.
    results = [
        EvalResult(
            task_type=KINDS[task.kind].hub_task,
            dataset_type=f"custom-{task.name}",  # the hub's own data sets of these names have other rows
            dataset_name=f"{task.name} in {_tables(card, task)}",
            metric_type=HUB_METRIC.get(name, name),
            metric_name=SCORES[name],
            metric_value=round(value, 4),
        )
        for task in ([card.classifier] if card.classifier else card.tasks)
        for name, value in card.scores.get(task.name, {}).items()
        if name in SCORES and value == value
    ]
    shown = card.classifier or card.tasks[0]
    embeds = not card.classifier and not card.is_masked_lm
    return ModelCardData(
        library_name="sentence-transformers" if embeds else "transformers",
        pipeline_tag="sentence-similarity" if embeds else KINDS[shown.kind].hub_task,
        tags=["bert-jax", "bert", *(task.name for task in card.tasks)],
        model_name=card.name,
        eval_results=results or None,
    ).to_yaml()


def _about(card: Card) -> str:
    bert = card.model.bert
    size = f"{bert.num_hidden_layers} layers of {bert.hidden_size}, {bert.vocab_size:,} word pieces"
    if card.is_masked_lm:
        return f"A BERT ({size}) that bert-jax trained as a masked LM: `BertForMaskedLM`."
    settings = card.stages[-1]["config"]
    what = "heads, on an encoder that it left as it was" if settings["mode"] == "pretrain" else "one model"
    names = ", ".join(task.name for task in card.tasks)
    if settings["scheduler"] == "baseline" and len(card.tasks) > 1:
        names = f"{card.tasks[0].name} alone; the other heads are as they began"
    words = usage.PIECES["in_words"]
    said = f"A BERT ({size}): bert-jax trained {what}, for {names}. A text's embedding is {words[card.model.pooling]}"
    if any(task.is_pair for task in card.tasks):
        said += f"; a pair is read as {words[card.model.pair_encoding]}"
    holds = f"`BertForSequenceClassification` of {card.classifier.name}" if card.classifier else "`BertModel`"
    return f"{said}. The folder holds a {holds}, and the heads of the tasks in `{HEADS_FILE}`."


def _scores(card: Card) -> str:
    said = f"These are the parameters after update {card.step:,}, the run's {card.checkpoint} checkpoint"
    if not card.scores:
        return f"{said}, which was not scored on the dev tables."
    names = [name for name in SCORES if any(name in scores for scores in card.scores.values())]
    rows = [
        [task.name, *(format_score(card.scores[task.name][n]) if n in card.scores[task.name] else "" for n in names)]
        for task in card.tasks
    ]
    masked, labelled = "on the masked tokens of every text, with fixed masks", "on every row that has a label, once"
    places = " and ".join(dict.fromkeys(_tables(card, task) for task in card.tasks))
    how = f"on {places}, in {_setting(card, 'dtype')}, {masked if card.is_masked_lm else labelled}"
    said += f". The scores are those that training measured then, {how}."
    if card.checkpoint == "best":
        said += " The best checkpoint is the one with the highest mean over the trained tasks of the first score here,"
        said += " so these flatter it a little."
    return f"{_table(['task', *(SCORES[name] for name in names)], rows)}\n\n{said}"


def _tables(card: Card, task: Task) -> str:
    """Which tables its scores are of."""
    if task.folder:
        return f"the dev table of {task.name}"
    folder = _setting(card, "data_dir")
    return f"the dev tables of {folder}" if folder else "the dev tables of bert-jax's embedded sample"


def _use(card: Card) -> str:
    """Show code for each library."""
    blocks = usage.show(card.name, card.model, card.tasks, card.classifier, card.has_pooler)
    flags = "" if card.is_masked_lm else usage.training_flags(card.model)
    blocks.append(usage.fill("train", folder=shlex.quote(card.name), flags=flags))
    if not card.is_masked_lm:
        blocks.append('"[SEP]" and the like in a text are text, as they were in training.')
    return "\n".join(blocks).removesuffix("\n")


def _training(card: Card) -> str:
    shown = [
        [name, *(_said(name, stage["config"].get(name)) for stage in card.stages)]
        for name in card.stages[0]["config"]
        if any(stage["config"].get(name) is not None for stage in card.stages)
    ]
    headings = [f"stage {number}" for number in range(1, len(card.stages) + 1)] if len(card.stages) > 1 else ["value"]
    versions = ", ".join(f"{name} {version}" for name, version in card.stages[-1]["versions"].items())
    return f"{_table(['setting', *headings], shown)}\n\nVersions: {versions}."


def _data(card: Card) -> str:
    files = {name: digest for stage in reversed(card.stages) for name, digest in stage["files"].items()}
    by_content = {"vocab.txt": "the vocabulary: its tokens and its case"}
    if _setting(card, "init"):
        by_content["weights"] = f"the weights of {_setting(card, 'init')}: names and values"
    else:  # a later stage has those of the one before
        files.pop("weights", None)
    rows = [[by_content.get(name, name), f"`{digest}`"] for name, digest in files.items()]
    return _table(["what", "SHA-256"], rows)


def _setting(card: Card, name: str) -> str:
    """A setting of the first stage."""
    return _said(name, card.stages[0]["config"].get(name))


def _said(name: str, value: Any) -> str:
    """A setting's value; of a folder only what it is called, as where it was is nobody's business."""
    if value is None:
        return ""
    path = PurePath(str(value))
    if name not in NAMES_OF_FILES or (len(path.parts) == 2 and not path.is_absolute() and path.parts[1] != "model"):
        return str(value)
    return "/".join(path.parts[-2:]) if path.name == "model" else path.name


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
