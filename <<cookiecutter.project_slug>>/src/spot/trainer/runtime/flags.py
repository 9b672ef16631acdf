"""Parse the trainer's flags, with defaults from the environment variables of Vertex AI."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, TypeVar

from spot.core.fields import ID
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.signals import DEFAULT_GRACE_S

DIRECTORIES = (
    ("--output-dir", "AIP_MODEL_DIR", "output/models", "model, metrics and completion.json"),
    ("--checkpoint-dir", "AIP_CHECKPOINT_DIR", "output/checkpoints", "checkpoints and markers"),
    ("--tensorboard-dir", "AIP_TENSORBOARD_LOG_DIR", None, "TensorBoard logs"),
)
"""Flag, variable of Vertex AI, default and contents."""
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
    """Hold the flags of one start."""

    output_dir: str
    checkpoint_dir: str
    tensorboard_dir: str | None
    data: str
    run: str
    attempt: str
    standby: str | None
    """The attempt that this standby replaces."""
    from_run: str | None
    """The run whose checkpoints this run starts from."""
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
    """Seconds; None is `auto`: computed from the cost of a save and the rate of preemptions."""
    keep: int
    resume: Resume
    grace: float
    log_interval: float


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if len(message) > LONGEST_LINE:
            message = f"{message[:LONGEST_LINE]}..."
        raise UsageError(f"{message} (python -m task --help lists the flags)")


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Flags:
    """Return the flags. Raise `UsageError` with one line: flag, value and what is allowed."""
    flags = Flags(**vars(_parser(environ).parse_args(arguments)))
    for flag, value, own in (("--standby", flags.standby, flags.attempt), ("--from-run", flags.from_run, flags.run)):
        if value and not (flags.enable_checkpointing and flags.resume is Resume.AUTO):
            raise UsageError(
                f"{flag} resumes from a checkpoint: it needs --enable-checkpointing true and --resume auto"
            )
        if value == own:
            raise UsageError(f"{flag} {value} names itself: name another one")
    return flags


def _parser(environ: Mapping[str, str]) -> _Parser:
    parser = _Parser(
        prog="python -m task",
        allow_abbrev=False,
        formatter_class=_Help,
        description="Train, save and resume. Start again with the same flags to resume after any interruption.",
        epilog="Exit codes: 0 complete, 143 saved on SIGTERM (130 on Ctrl-C), 1 error, 2 flag, data or permission to"
        " change, 75 start again.",
    )
    where = parser.add_argument_group("locations: gs://bucket/prefix or a local directory")
    for flag, variable, default, contents in DIRECTORIES:
        where.add_argument(
            flag,
            type=_location,
            default=environ.get(variable) or default,
            metavar="DIR",
            help=f"write {contents} to DIR/RUN/ [{variable}]",
        )
    where.add_argument("--data", type=_location, default="sample", metavar="URI", help="train on this file")
    where.add_argument("--run", type=_id, default="default", metavar="ID", help="name this run")
    where.add_argument("--attempt", type=_id, default="local", metavar="ID", help="name this attempt of the run")
    where.add_argument("--from-run", type=_id, metavar="ID", help="start from the checkpoints of this run")
    where.add_argument("--standby", type=_id, metavar="ATTEMPT", help="wait as a standby and replace this attempt")

    training = parser.add_argument_group("training: a run resumes only with the values it started with")
    training.add_argument("--epochs", type=_whole(1), default=30, metavar="N", help="make N passes over the data")
    training.add_argument("--max-steps", type=_whole(1), metavar="N", help="stop after N steps, if sooner")
    training.add_argument("--batch-size", type=_whole(1), default=64, metavar="N", help="use N samples a forward pass")
    training.add_argument("--accumulate", type=_whole(1), default=1, metavar="N", help="use N forward passes a step")
    training.add_argument("--learning-rate", type=_positive, default=0.002, metavar="RATE", help="set the peak rate")
    training.add_argument(
        "--patience",
        type=_whole(0),
        default=0,
        metavar="N",
        help="stop after N evaluations without a better score; 0: never",
    )
    training.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="seed weights, order and augmentation")
    _add_choice(training, "--precision", Precision, "use this precision; auto: mixed on CUDA")

    machine = parser.add_argument_group("machine")
    _add_choice(machine, "--device", Device, "train on this device; auto: CUDA if available")
    machine.add_argument("--workers", type=_whole(0), default=0, metavar="N", help="load data in N processes")
    machine.add_argument("--log-interval", type=_positive, default=10.0, metavar="S", help="log every S seconds")

    saving = parser.add_argument_group("checkpoints")
    saving.add_argument(
        "--enable-checkpointing", type=_truth, default="true", metavar="{true,false}", help="save and resume"
    )
    saving.add_argument(
        "--checkpoint-interval",
        type=_interval,
        default="auto",
        metavar="{auto,S}",
        help="save every S seconds; auto: by cost and preemption rate",
    )
    saving.add_argument("--keep", type=_whole(1), default=3, metavar="N", help="keep the N newest and the best")
    _add_choice(saving, "--resume", Resume, "resume, or quarantine all checkpoints (never)")
    saving.add_argument(
        "--grace", type=_positive, default=DEFAULT_GRACE_S, metavar="S", help="exit within S seconds of SIGTERM"
    )
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


_E = TypeVar("_E", bound=StrEnum)


def _one_of(kind: type[_E]) -> Callable[[str], _E]:
    def parse_choice(text: str) -> _E:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(kind)}") from None

    return parse_choice


def _add_choice(group: argparse._ArgumentGroup, flag: str, kind: type[_E], text: str) -> None:
    """Add a flag with a default, the first member of `kind`."""
    group.add_argument(flag, type=_one_of(kind), default=next(iter(kind)), metavar=f"{{{','.join(kind)}}}", help=text)


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
        return None
    try:
        return _positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto") from None


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def _id(text: str) -> str:
    if not ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 63 of a-z, 0-9, _ and -, starting with a-z or 0-9")
    return text


def _location(text: str) -> str:
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a gs:// URI nor a local path")
    return text
