"""Check on a machine with a GPU what no other machine can show: `nox -s gpu`, in less than 5 minutes.

Equal bits after SIGTERM and SIGKILL in bf16, on two ranks as well if there are two GPUs. The stall of a checkpoint,
and the cost of deterministic kernels. Without a GPU nothing is run, which is one line and no failure.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as the trainer does, before torch loads

import torch

from benchmarks.figures import Target
from benchmarks.workload import Workload, size_of
from spot.trainer.checkpoint.serialize import StagingWriter
from spot.trainer.device import Compute
from spot.trainer.runtime.flags import Precision, parse
from spot.trainer.state import TrainingState
from spot.trainer.uploader.buffer import SharedBuffer
from tests.machinery.tasks.transformer import model as transformer
from tests.machinery.tasks.transformer.config import Config
from tests.machinery.tasks.transformer.data import LENGTH, TOKENS
from tests.machinery.trainer.distributed.kills import Job, Kill, Layout, train

STALL_AT_MOST = 1.2
SAVES = 7
STATE_BYTES = {"cuda": 4_000_000_000, "cpu": 200_000_000}
PRECISION = {"cuda": "bf16", "cpu": "full"}
STEPS = {"cuda": 100, "cpu": 2}
ROUNDS, BATCH = 5, 64
FLAGS = ("--batch-size", "16", "--epochs", "1000", "--max-steps", "400", "--evaluate-every", "100")
KILLED = ("--checkpoint-interval", "0.3", "--log-interval", "1")
TRAINED_S = 2.0
"""The longest training before a kill."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=STATE_BYTES, default="cuda", help="cpu: try the script itself")
    parser.add_argument("--ranks", type=int, help="at most so many ranks (default: one per GPU, at most 2)")
    parser.add_argument("--megabytes", type=float, help="size of the state whose copy is timed")
    flags = parser.parse_args()
    if flags.device == "cuda" and not torch.cuda.is_available():
        print("nox -s gpu: NEVER RUN here: PyTorch finds no GPU on this machine, and nothing was checked")
        return 0
    device = torch.device(flags.device)
    size = round(flags.megabytes * 1e6) if flags.megabytes else STATE_BYTES[flags.device]
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU: only a try of this script"
    print(f"{name}, torch {torch.__version__}, {size / 1e6:.0f} MB of state", flush=True)
    targets = []
    for target in _checks(device, size, flags.ranks or max(1, min(2, torch.cuda.device_count()))):
        print(f"{'ok    ' if target.holds else 'MISSED'}  {target.text}: {target.measured}", flush=True)
        targets.append(target)
    return 0 if all(target.holds for target in targets) else 1


def _checks(device: torch.device, size: int, ranks: int) -> Iterator[Target]:
    flags = parse(["--device", device.type, "--deterministic", "off"], {})
    precision = Compute.choose(flags).precision
    yield _target("--precision auto is bf16", precision, precision is Precision.BF16 or device.type == "cpu")
    yield from _stall(device, size)
    yield _deterministic(device)
    yield _attention(device)
    layouts = [(1, "none")] + [(number, kind) for number in range(2, ranks + 1) for kind in ("fsdp", "ddp")]
    for number, kind in layouts:
        layout = Layout(hosts=1, ranks=number, parallel=kind)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
            said, equal = _bits(layout, Path(folder), device.type)
        text = f"equal bits after SIGTERM and SIGKILL, {PRECISION[device.type]}, {number} ranks, {kind}"
        yield _target(text, f"{said} in {time.monotonic() - began:.0f} s", equal)


def _stall(device: torch.device, size: int) -> Iterator[Target]:
    """Compare a checkpoint with one copy of as many bytes from the device to pinned memory."""
    with device:
        workload = Workload(size)
        source = torch.ones(size_of(workload.tensors()), dtype=torch.uint8)
    state = TrainingState(
        {"model": workload.model, "optimizer": workload.optimizer}, total_steps=1, patience=0, metrics=()
    )
    floor = torch.empty(source.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    floor.fill_(1)
    buffer = SharedBuffer()
    writer = StagingWriter(buffer)

    def save() -> None:
        writer.write(*state.capture())

    first = _seconds(device, save)
    stalls, copies = [], []
    for _ in range(SAVES):
        copies.append(_seconds(device, lambda: floor.copy_(source, non_blocking=True)))
        stalls.append(_seconds(device, save))
    stall, copy = median(stalls), median(copies)
    rate = source.numel() / copy / 1e9
    said = f"{stall / copy:.2f} x of {1e3 * copy:.1f} ms ({rate:.1f} GB/s), first save {first:.2f} s"
    yield _target(f"stall at most {STALL_AT_MOST} x one copy to the host", said, stall <= STALL_AT_MOST * copy)
    pinned = bool(buffer._pinned)
    yield _target("the buffer is pinned", "yes" if pinned else "no", pinned or device.type == "cpu")


def _deterministic(device: torch.device) -> Target:
    """Time the same steps with and without deterministic kernels, in turns. The cost is told, and has no limit."""
    torch.manual_seed(0)
    with device:
        network = transformer.build(Config())
        tokens = torch.randint(0, TOKENS, (BATCH, LENGTH + 1))
    optimizer, _ = transformer.build_optimizer(network, Config(), total_steps=1)

    def train() -> None:
        for _ in range(STEPS[device.type]):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss = transformer.training_step(network, (tokens[:, :-1], tokens[:, 1:]))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    times: dict[str, list[float]] = {"auto": [], "off": []}
    train()
    for _ in range(ROUNDS):
        for mode, found in times.items():
            torch.use_deterministic_algorithms(mode == "auto", warn_only=True)
            found.append(_seconds(device, train))
    torch.use_deterministic_algorithms(False)
    cost = median(times["auto"]) / median(times["off"]) - 1
    return _target("cost of deterministic kernels", f"{cost:.1%} of a step of a small transformer", holds=True)


def _attention(device: torch.device) -> Target:
    """Compute the gradients of fused attention several times, as `--deterministic auto` does and in strict mode.

    PyTorch documents the fused kernels as not deterministic unless operations without a deterministic form are errors.
    """
    torch.manual_seed(0)
    shape = (2, 8, 1024 if device.type == "cuda" else 64, 64)
    inputs = [torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    equal = {}
    for mode, warn_only in (("auto", True), ("strict", False)):
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
        found = []
        for _ in range(ROUNDS):
            query, key, value = inputs
            mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            mixed.square().sum().backward()  # type: ignore[no-untyped-call]
            found.append([one.grad.clone() for one in inputs if one.grad is not None])
            for one in inputs:
                one.grad = None
        equal[mode] = all(
            torch.equal(one, first) for other in found for one, first in zip(other, found[0], strict=True)
        )
    torch.use_deterministic_algorithms(False)
    said = ", ".join(f"{mode} {'equal' if same else 'DIFFERENT'}" for mode, same in equal.items())
    return _target(f"gradients of fused attention, computed {ROUNDS} times", said, equal["auto"])


def _bits(layout: Layout, folder: Path, device: str) -> tuple[str, bool]:
    """Return a summary, and whether a training that was killed twice ends with the bits of one that was not."""
    flags = (*FLAGS, "--device", device, "--precision", PRECISION[device])
    expected = train(layout, folder / "undisturbed", flags)
    chance = random.Random(0)
    codes = list[int | None]()
    (folder / "killed").mkdir()
    for kind in (Kill.TERM_ONE, Kill.KILL_ALL):
        own, env = (*flags, *KILLED), {"STEP_S": "0.02"}
        job = Job(layout=layout, folder=folder / "killed", attempt=kind, flags=own, env=env).start()
        if not job.wait_until_it_trains():
            return f"no training to kill\n{job.output}", False
        time.sleep(chance.uniform(0.5, 1) * TRAINED_S)
        job.kill(kind, chance)
        codes.extend(job.wait())
        if codes[-1] == 0 or ("resumed from" not in job.output and len(codes) > 1):
            return f"{kind} came too late, or its start did not resume\n{job.output}", False
    equal = train(layout, folder / "killed", flags) == expected
    return f"{'equal' if equal else 'DIFFERENT'}, exit codes {codes}", equal


def _seconds(device: torch.device, work: Callable[[], object]) -> float:
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _target(text: str, measured: str, holds: bool) -> Target:
    return Target(text=text, measured=measured, holds=holds)


if __name__ == "__main__":
    sys.exit(main())
