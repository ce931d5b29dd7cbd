"""`python -m benchmarks.rival`: the same work by Hugging Face transformers in PyTorch; `benchmarks.run` asks for it.

The rival at its best: SDPA attention, fused AdamW, bfloat16 by autocast, gradients set to None, all cores, each batch
padded to its longest text, the loss read once at the end. It shares no code with the program: it is given token ids,
batches and weights as files.
"""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import transformers  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from benchmarks.serve import serve


def hello() -> dict[str, Any]:
    """What we run on."""
    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


class Theirs:
    """One piece of work: made ready, checked, and done as often as asked."""

    def prepare(self, work: dict[str, Any], settings: dict[str, Any], folder: str) -> None:
        """Reads texts and weights."""
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        torch.manual_seed(0)
        self.work = work
        self.device = torch.device("cuda" if work["device"] == "gpu" else "cpu")
        self.texts = dict(np.load(Path(folder) / "texts.npz"))
        rate = settings["head_dropout"] if work["dropout"] else 0.0
        self.model = transformers.BertForSequenceClassification.from_pretrained(
            folder, attn_implementation="sdpa", classifier_dropout=rate
        ).to(self.device)
        decayed = [parameter for parameter in self.model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.model.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(
            groups, lr=settings["lr"], eps=1e-6, weight_decay=settings["weight_decay"], fused=True
        )
        self.callables: dict[str | None, Any] = {None: self.model}

    def losses(self, dtype: str) -> list[float]:
        """The loss of each example of the check, without dropout."""
        self.model.eval()
        token_ids, mask, labels = self._collate(self.texts["check"])
        with torch.inference_mode(), self._autocast(dtype):
            logits = self._logits(self.model, token_ids, mask)
        return functional.cross_entropy(logits, labels, reduction="none").tolist()

    def run(self, batches: str, compile: str | None) -> dict[str, float]:  # noqa: A002  torch's own word
        """Does the work once.

        Args:
          batches: which of the ways to make batches.
          compile: a mode of `torch.compile`, or None for eager.
        """
        model, taken = self._callable(compile), self._batches(batches)
        kept = self._collate(taken[0]) if self.work["kind"] == "steps" else None  # the same tensor, made once
        do = self._evaluate if self.work["kind"] == "evaluation" else self._update
        self.model.train(do == self._update)
        total = torch.zeros((), device=self.device)
        self._synchronize()
        start = time.perf_counter()
        with torch.inference_mode() if do == self._evaluate else contextlib.nullcontext():
            for indices in taken:
                total += do(model, kept or self._collate(indices))
        loss = total.item()
        self._synchronize()
        seconds = time.perf_counter() - start
        count = sum(map(len, taken)) if do == self._evaluate else len(taken)
        return {"seconds": seconds, "loss": loss / count}

    @staticmethod
    def _logits(model: Any, token_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[examples, length] -> [examples, classes] float32."""
        return model(input_ids=token_ids, attention_mask=mask).logits.float()

    def _update(self, model: Any, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        token_ids, mask, labels = batch
        with self._autocast(self.work["dtype"]):
            loss = functional.cross_entropy(self._logits(model, token_ids, mask), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _evaluate(self, model: Any, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        token_ids, mask, labels = batch
        with self._autocast(self.work["dtype"]):
            logits = self._logits(model, token_ids, mask)
        return functional.cross_entropy(logits, labels, reduction="sum")

    def _callable(self, mode: str | None) -> Any:
        if mode not in self.callables:
            dynamic = True if self.work["length"] is None else None  # lengths change from batch to batch
            self.callables[mode] = torch.compile(self.model, mode=mode, dynamic=dynamic)
        return self.callables[mode]

    def _batches(self, way: str) -> list[np.ndarray]:
        ends = np.cumsum(self.texts[f"{way}_sizes"])
        return np.split(self.texts[f"{way}_indices"], ends[:-1])

    def _collate(self, indices: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Token ids and mask [examples, longest] and labels [examples], on the device."""
        starts, lengths = self.texts["offsets"][indices], np.diff(self.texts["offsets"])[indices]
        mask = np.arange(lengths.max()) < lengths[:, None]
        token_ids = np.zeros(mask.shape, np.int64)
        token_ids[mask] = np.concatenate(
            [self.texts["tokens"][start : start + size] for start, size in zip(starts, lengths, strict=True)]
        )
        labels = self.texts["labels"][indices].astype(np.int64)
        arrays = (token_ids, mask.astype(np.int64), labels)
        return tuple(torch.from_numpy(array).to(self.device, non_blocking=True) for array in arrays)

    def _autocast(self, dtype: str) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == "bfloat16")

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def product(self, rows: int, inner: int, columns: int, dtype: str, repeats: int) -> float:
        """FLOP/s of the fastest of some [rows, inner] x [inner, columns]."""
        kind = getattr(torch, dtype)
        a = torch.randn(rows, inner, device=self.device).to(kind)
        b = torch.randn(inner, columns, device=self.device).to(kind)
        out = torch.mm(a, b)
        seconds = []
        for _ in range(repeats):
            self._synchronize()
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            self._synchronize()
            seconds.append(time.perf_counter() - start)
        return 2.0 * rows * inner * columns / min(seconds)


if __name__ == "__main__":
    theirs = Theirs()
    serve({"hello": hello} | {name: getattr(theirs, name) for name in ("prepare", "losses", "run", "product")})
