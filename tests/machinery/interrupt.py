"""End a trainer by a signal at a point that it surely reaches, in any task, without waiting for the right moment.

The hooks are those of PyTorch and of the interpreter: neither the task nor the machinery is changed.
"""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

VARIABLE = "INTERRUPT"
"""`POINT:NUMBER:MARKER` sends signal NUMBER to the process group at POINT, unless the file MARKER exists."""


WEIGHTS = "/model.safetensors"


class Point(StrEnum):
    """Name where a trainer is interrupted."""

    BATCH = "batch"
    """In the first forward pass of the first step."""
    SAVE = "save"
    """While the first save collects the state: the call before it checks the state after the first step."""
    EVALUATION = "evaluation"
    """In the first forward pass of an evaluation."""
    COMPARISON = "comparison"
    """In the first forward pass of the champion."""
    EXPORT = "export"
    """While the files of the result are written to the store."""


def at(point: Point, number: signal.Signals, marker: Path) -> dict[str, str]:
    """Return the variables of a trainer that is interrupted at `point`, once for each `marker`."""
    return {VARIABLE: f"{point}:{int(number)}:{marker}"}


def arm() -> None:
    """Install the hooks that the environment of this process asks for."""
    if VARIABLE not in os.environ:
        return
    point, number, marker = os.environ[VARIABLE].split(":", 2)
    if Path(marker).exists():
        return

    def interrupt() -> None:
        try:
            Path(marker).touch(exist_ok=False)
        except FileExistsError:
            return
        os.killpg(0, int(number))

    _ARM[Point(point)](interrupt)


def _in_a_pass(interrupt: Any, *, training: bool) -> None:
    from torch.nn.modules.module import register_module_forward_pre_hook

    def entered(module: Any, inputs: Any) -> None:  # noqa: ARG001
        if module.training is training:
            interrupt()

    register_module_forward_pre_hook(entered)


def _in_a_save(interrupt: Any) -> None:
    from torch.nn.modules.module import register_module_forward_pre_hook

    roots, captures = list[Any](), list[None]()

    def captured(*_: Any) -> None:
        captures.append(None)
        if len(captures) == 2:
            interrupt()

    def entered(module: Any, inputs: Any) -> None:  # noqa: ARG001
        if module.training and not roots:
            roots.append(module)
            module.register_state_dict_pre_hook(captured)

    register_module_forward_pre_hook(entered)


def _in_the_comparison(interrupt: Any) -> None:
    def happened(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "shutil.rmtree" and "/champion-" in str(arguments[0]):
            _in_a_pass(interrupt, training=False)

    sys.addaudithook(happened)


def _in_the_export(interrupt: Any) -> None:
    def happened(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and "/export-" in str(arguments[0]) and str(arguments[0]).endswith(WEIGHTS):
            interrupt()

    sys.addaudithook(happened)


_ARM = {
    Point.BATCH: lambda interrupt: _in_a_pass(interrupt, training=True),
    Point.SAVE: _in_a_save,
    Point.EVALUATION: lambda interrupt: _in_a_pass(interrupt, training=False),
    Point.COMPARISON: _in_the_comparison,
    Point.EXPORT: _in_the_export,
}
