"""The table of cases: what is timed, and what it should come to. Nobody else asks for a case by its name."""

import dataclasses
from typing import Literal, NamedTuple

from bert_jax.config import Dtype

Kind = Literal["steps", "masked_lm", "epoch", "evaluation", "compile", "multitask"]
Device = Literal["cpu", "gpu"]
Figure = Literal["ratio", "share", "step", "run", "cold", "warm", "programs"]


class Rival(NamedTuple):
    """A way to do the same with Hugging Face transformers in PyTorch.

    title: what its line in a table is called; all of them are PyTorch.
    batches: which examples go together; each batch is padded to its longest text.
    compile: a mode of `torch.compile`, or None for eager.
    """

    title: str
    batches: Literal["same", "grouped", "sorted"] = "same"
    compile: Literal["default", "reduce-overhead"] | None = None


RIVALS = {
    "eager": Rival("PyTorch"),
    "grouped": Rival("group_by_length", batches="grouped"),
    "sorted": Rival("sorted by length", batches="sorted"),
    "compiled": Rival("torch.compile", compile="default"),
    "graphs": Rival("reduce-overhead", compile="reduce-overhead"),
}


def side_title(side: str) -> str:
    """What a side, "ours" or a name in RIVALS, is called where somebody reads it."""
    return RIVALS[side].title if side in RIVALS else side


@dataclasses.dataclass(frozen=True)
class Work:
    """Something that both sides do and that is timed, apart from what is asked of it.

    examples: a step, or a batch of an evaluation.
    length: tokens of every text; None: as long as SST's are.
    count: steps or batches that are timed in one go, evenly spread over the epoch; 0 is all of them.
    rivals: names in RIVALS; none where only our own figure is wanted.
    dropout: False only where both sides must come to the same numbers.
    """

    kind: Kind
    model: str
    dtype: Dtype
    device: Device = "cpu"
    examples: int = 32
    length: int | None = None
    count: int = 0
    rivals: tuple[str, ...] = ()
    dropout: bool = True

    @property
    def title(self) -> str:
        """What is done, in words."""
        size = f"{self.examples} x {self.length}"
        words = {
            "steps": f"same tensor, {size} tokens",
            "masked_lm": f"masked LM, {size} tokens",
            "epoch": f"epoch of SST, {self.examples} a step",
            "evaluation": f"dev set of SST, {self.examples} a batch",
            "compile": f"first step of SST, {self.examples} a step",
            "multitask": "epoch of SST, Quora and STS",
        }
        return words[self.kind]

    def __str__(self) -> str:
        return f"{self.title}, {self.model}, {self.dtype}, {self.device}"


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the table of goals: a figure of some work.

    goal: to be reached or passed; upwards where the figure is in HIGHER, else downwards.
    against: the rival that a ratio is of.
    """

    name: str
    figure: Figure
    goal: float
    work: Work
    against: str = ""


# What a figure is, in a few letters. A ratio is rival's seconds / ours, of the same examples; a share is of the FLOP/s
# of the best bare product; cold and warm are of tracing and compiling. The first two are better the higher they are.
FIGURES: dict[Figure, str] = {
    "ratio": "ratio",
    "share": "of ceiling",
    "step": "ms a step",
    "run": "s in all",
    "cold": "s, cold",
    "warm": "s, warm",
    "programs": "programs",
}
HIGHER = ("ratio", "share")

SIZES = ("bert-base", "minilm-l6")
EPOCH_RIVALS = ("eager", "grouped")


def _tensor(model: str, dtype: Dtype) -> Work:
    return Work("steps", model, dtype, length=26, count=5, rivals=("eager",))


def _epoch(model: str, dtype: Dtype) -> Work:
    return Work("epoch", model, dtype, count=8, rivals=EPOCH_RIVALS)


def _evaluation(model: str, dtype: Dtype) -> Work:
    return Work("evaluation", model, dtype, rivals=("eager", "sorted"))


def _compile(dtype: Dtype) -> Work:
    return Work("compile", "bert-base", dtype)


def _gpu(kind: Kind, rivals: tuple[str, ...] = (), **changes) -> Work:
    return Work(kind, "bert-base", "bfloat16", "gpu", rivals=rivals, **changes)


GPU_EPOCH = _gpu("epoch", ("eager", "compiled", "grouped"), count=64)

CASES = (
    *(Case("C1", "ratio", 1.7, _tensor(model, "float32"), "eager") for model in SIZES),
    *(Case("C2", "ratio", 1.1, _tensor(model, "bfloat16"), "eager") for model in SIZES),
    *(Case("C3", "ratio", 3.0, _epoch(model, "float32"), "eager") for model in SIZES),
    *(Case("C4", "ratio", 2.0, _epoch(model, "bfloat16"), "eager") for model in SIZES),
    Case("C5", "share", 0.75, _tensor("bert-base", "float32")),
    Case("C5", "share", 0.75, _tensor("bert-base", "bfloat16")),
    *(Case("C6", "cold", 6.0, _compile(dtype)) for dtype in ("float32", "bfloat16")),
    *(Case("C6", "warm", 1.5, _compile(dtype)) for dtype in ("float32", "bfloat16")),
    *(Case("C6", "programs", 2.0, _compile(dtype)) for dtype in ("float32", "bfloat16")),
    *(Case("C7", "ratio", 2.0, _evaluation(model, "float32"), "eager") for model in SIZES),
    *(Case("C7", "ratio", 2.0, _evaluation(model, "bfloat16"), "eager") for model in SIZES),
    Case("G1", "step", 2.5, GPU_EPOCH),
    Case("G2", "ratio", 5.0, GPU_EPOCH, "eager"),
    Case("G3", "ratio", 2.5, GPU_EPOCH, "compiled"),
    Case("G4", "ratio", 1.1, _gpu("steps", ("graphs",), length=26, count=100), "graphs"),
    Case("G5", "share", 0.50, _gpu("steps", ("graphs",), examples=256, length=26, count=50)),
    Case("G6", "share", 0.55, _gpu("steps", ("graphs",), examples=1024, length=26, count=20)),
    Case("G7", "share", 0.55, _gpu("masked_lm", examples=256, length=128, count=20)),
    Case("G9", "run", 20.0, _gpu("multitask")),
)
NAMES = tuple(dict.fromkeys(case.name for case in CASES))


def quick(work: Work) -> Work:
    """The same in so small that it only shows that everything works."""
    return dataclasses.replace(work, model="bert-tiny", count=2)
