"""Compare the default loop with a bare PyTorch loop: the same model, data, optimizer and batches.

Both loops make a step in turn, on one thread, without checkpoints: `python -m benchmarks` measures those.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader, Dataset

from spot.storage.local import LocalStore
from spot.trainer import Data, Sample, Session
from spot.trainer.context import Runtime, Start, Task
from spot.trainer.data.contract import TaskModel
from spot.trainer.loop import train
from spot.trainer.runtime import flags
from spot.trainer.runtime.signals import StopSignal

WANTED = 0.98
SYMBOLS = 256
TEXTS = 4096
WARM_UP = 5
"""Steps that are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Describe a GPT-like model, and its batches."""

    name: str
    width: int
    layers: int
    context: int
    batch: int
    steps: int


SIZES = (
    Size(name="small", width=64, layers=1, context=16, batch=8, steps=1000),
    Size(name="medium", width=192, layers=3, context=32, batch=8, steps=150),
)
FLAGS = (
    *("--device", "cpu", "--workers", "0", "--epochs", "1000"),
    *("--enable-checkpointing", "false", "--log-interval", "10"),
)
Moment = tuple[float, float]
"""Wall and CPU time in seconds."""


class Model(nn.Module):
    """Predict the next symbol."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens = nn.Embedding(SYMBOLS, size.width)
        layer = nn.TransformerEncoderLayer(size.width, 4, 4 * size.width, 0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.head = nn.Linear(size.width, SYMBOLS)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.head(self.layers(self.tokens(inputs)))
        return found


class Texts(Dataset[dict[str, Tensor]]):
    """Hold texts in memory; an item is read by its index or by its sample."""

    def __init__(self, context: int, count: int = TEXTS) -> None:
        generator = torch.Generator().manual_seed(1)
        self._texts = torch.randint(SYMBOLS, (count, context + 1), generator=generator)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, sample: int | Sample) -> dict[str, Tensor]:
        text = self._texts[sample if isinstance(sample, int) else sample.index]
        return {"inputs": text[:-1], "labels": text[1:]}


def loss_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch["inputs"]).flatten(0, 1), batch["labels"].flatten())


def optimizer_of(model: nn.Module, total_steps: int) -> tuple[AdamW, LinearLR]:
    optimizer = AdamW(model.parameters(), lr=1e-4)
    return optimizer, LinearLR(optimizer, 1.0, 0.1, total_iters=total_steps)


class Bare:
    """Train as a user would without this template."""

    def __init__(self, size: Size) -> None:
        torch.manual_seed(0)
        self._model = Model(size).train()
        self._optimizer, self._scheduler = optimizer_of(self._model, size.steps)
        self._batches = self._endless(DataLoader(Texts(size.context), batch_size=size.batch, shuffle=True))

    def step(self) -> None:
        loss = loss_of(self._model, next(self._batches))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._scheduler.step()

    @staticmethod
    def _endless(batches: DataLoader[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from batches


class InTurn:
    """Make a bare step after each step of the default loop, and time both: other processes then disturb both alike."""

    def __init__(self, bare: Bare) -> None:
        self._bare = bare
        self._ended: Moment | None = None
        self.pairs: list[tuple[Moment, Moment]] = []
        """Wall and CPU seconds of a bare step and of a step of the default loop."""

    def on_step(self, step: int, total: int) -> None:  # noqa: ARG002
        began = _now()
        torch.use_deterministic_algorithms(False)
        self._bare.step()
        torch.use_deterministic_algorithms(True, warn_only=True)
        ended = _now()
        if self._ended:
            self.pairs.append((_since(ended, began), _since(began, self._ended)))
        self._ended = ended


def compare(size: Size) -> dict[str, float]:
    """Return the step times of both loops, and the ratio of throughput by wall and by CPU time."""
    torch.use_deterministic_algorithms(False)
    turns = InTurn(Bare(size))
    task = SimpleNamespace(
        build=lambda _: Model(size),
        build_optimizer=lambda model, _, total_steps: optimizer_of(model, total_steps),
        training_step=loss_of,
        evaluation_step=lambda model, batch: {"loss": loss_of(model, batch).expand(len(batch["inputs"]))},
    )
    given = flags.parse([*FLAGS, "--batch-size", str(size.batch), "--max-steps", str(size.steps)], {})
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        start = Start(
            task=Task(),
            flags=given,
            outputs=LocalStore(folder),
            stop=StopSignal(),
            runtime=Runtime(on_step=turns.on_step),
        )
        session = Session(start, metrics={"loss": "min"})
        session.__enter__()  # without its end, which writes the results
        data = Data(train=cast(Any, Texts(size.context)), held_out=cast(Any, Texts(size.context, 8)), objects=())
        train(session, cast(TaskModel, task), data, given)
    pairs = turns.pairs[WARM_UP:]
    bare, default = ([pair[way] for pair in pairs] for way in range(2))
    return {
        "bare_ms": 1e3 * statistics.median(wall for wall, _ in bare),
        "default_ms": 1e3 * statistics.median(wall for wall, _ in default),
        "throughput": statistics.median(first[0] / second[0] for first, second in pairs),
        "throughput_by_cpu": sum(cpu for _, cpu in bare) / sum(cpu for _, cpu in default),
    }


def _now() -> Moment:
    return time.perf_counter(), time.process_time()


def _since(later: Moment, earlier: Moment) -> Moment:
    return later[0] - earlier[0], later[1] - earlier[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repeats: does the benchmark work?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    print("model   bare step  default loop  throughput of bare loop (by CPU time)")
    for size in SIZES:
        row = rows[size.name] = compare(replace(size, steps=20) if given.quick else size)
        print(
            f"{size.name:7} {row['bare_ms']:6.2f} ms {row['default_ms']:10.2f} ms"
            f" {row['throughput']:12.3f} ({row['throughput_by_cpu']:.3f}), wanted {WANTED}",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
