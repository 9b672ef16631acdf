"""The trainer's flags, from the command line and from the variables that Vertex AI sets."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, TypeVar

from bucket.layout import RUN
from trainer.errors import UsageError
from trainer.stop import DEFAULT_GRACE_S

AUTO_INTERVAL = None
"""`--checkpoint-interval auto`: from the measured cost of a save and the rate of preemptions."""

BUNDLED = "digits"
"""`--data digits`: the data set that comes with the project."""

LONGEST_LINE = 400


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Resume(StrEnum):
    AUTO = "auto"
    NEVER = "never"


class Precision(StrEnum):
    AUTO = "auto"
    FULL = "full"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What one start of the trainer was asked to do."""

    output_dir: str
    checkpoint_dir: str
    tensorboard_dir: str | None
    data: str
    run: str
    attempt: str
    epochs: int
    max_steps: int | None
    batch_size: int
    accumulate: int
    learning_rate: float
    patience: int
    seed: int
    device: Device
    precision: Precision
    workers: int
    enable_checkpointing: bool
    checkpoint_interval: float | None
    keep: int
    resume: Resume
    grace: float
    log_interval: float


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if len(message) > LONGEST_LINE:
            message = f"{message[:LONGEST_LINE]}..."
        raise UsageError(f"{message} (trainer --help lists the flags)")


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Flags:
    """Raises `UsageError` with one line that names the flag, the value and what is allowed."""
    values = vars(_parser(environ).parse_args(arguments))
    for flag in ("output_dir", "checkpoint_dir", "tensorboard_dir"):
        if values[flag] is not None:
            values[flag] = values[flag].rstrip("/") or "/"
    return Flags(**values)


def _parser(environ: Mapping[str, str]) -> _Parser:
    parser = _Parser(
        prog="trainer",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description=__doc__,
    )
    where = parser.add_argument_group("where things are (gs:// or local)")
    where.add_argument(
        "--output-dir",
        type=_location,
        default=environ.get("AIP_MODEL_DIR") or "output/models",
        help="model, metrics and completion.json go to <dir>/<run>/ [AIP_MODEL_DIR]",
    )
    where.add_argument(
        "--checkpoint-dir",
        type=_location,
        default=environ.get("AIP_CHECKPOINT_DIR") or "output/checkpoints",
        help="checkpoints and markers go to <dir>/<run>/ [AIP_CHECKPOINT_DIR]",
    )
    where.add_argument(
        "--tensorboard-dir",
        type=_location,
        default=environ.get("AIP_TENSORBOARD_LOG_DIR") or None,
        help="TensorBoard logs go to <dir>/<run>/; none are written without it [AIP_TENSORBOARD_LOG_DIR]",
    )
    where.add_argument("--data", type=_location, default=BUNDLED, help="a data file, or the bundled digits")
    where.add_argument("--run", type=_id, default="default", help="the retraining that this start belongs to")
    where.add_argument("--attempt", type=_id, default="local", help="the job that this start belongs to")

    training = parser.add_argument_group("training (a resume with other values is refused)")
    training.add_argument("--epochs", type=_whole(1), default=30, help="passes over the training data")
    training.add_argument("--max-steps", type=_whole(1), default=None, help="stop after so many steps, if sooner")
    training.add_argument("--batch-size", type=_whole(1), default=64, help="samples per forward pass")
    training.add_argument("--accumulate", type=_whole(1), default=1, help="forward passes per optimizer step")
    training.add_argument("--learning-rate", type=_positive, default=0.002, help="the peak")
    training.add_argument(
        "--patience",
        type=_whole(0),
        default=0,
        help="stop after so many evaluations without a better one; 0: never",
    )
    training.add_argument("--seed", type=_whole(0), default=0, help="of weights, order and augmentation")
    training.add_argument("--precision", type=_one_of(Precision), default=Precision.AUTO, help="auto: mixed on CUDA")

    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", type=_one_of(Device), default=Device.AUTO, help="cuda: stop if there is none")
    machine.add_argument("--workers", type=_whole(0), default=0, help="processes that load data")

    saving = parser.add_argument_group("checkpoints")
    saving.add_argument("--enable-checkpointing", type=_truth, default=True, help="true or false", metavar="BOOL")
    saving.add_argument(
        "--checkpoint-interval",
        type=_interval,
        default=AUTO_INTERVAL,
        help="seconds between saves, or auto: from their measured cost and the rate of preemptions",
    )
    saving.add_argument("--keep", type=_whole(1), default=3, help="newest checkpoints kept, besides the best")
    saving.add_argument("--resume", type=_one_of(Resume), default=Resume.AUTO, help="never: set checkpoints aside")
    saving.add_argument("--grace", type=_positive, default=DEFAULT_GRACE_S, help="seconds from SIGTERM to the end")
    parser.add_argument("--log-interval", type=_positive, default=10.0, help="seconds between lines on progress")
    return parser


_E = TypeVar("_E", bound=StrEnum)


def _one_of(kind: type[_E]) -> Callable[[str], _E]:
    def parse_choice(text: str) -> _E:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(kind)}") from None

    return parse_choice


def _whole(least: int) -> Callable[[str], int]:
    def parse_whole(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 10 or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return parse_whole


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _interval(text: str) -> float | None:
    if text == "auto":
        return AUTO_INTERVAL
    try:
        return _positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto") from None


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def _id(text: str) -> str:
    if not RUN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 63 of a-z, 0-9, _ and -, a letter or digit first")
    return text


def _location(text: str) -> str:
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a gs:// URI nor a local path")
    return text
