"""Parse the trainer's flags, with defaults from the environment variables of Vertex AI."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, NoReturn, TypeVar

from spot.core import typed
from spot.core.fields import ID, shown
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.signals import DEFAULT_GRACE_S

DIRECTORIES = (
    ("--output-dir", "AIP_MODEL_DIR", "output/models", "model, metrics and completion.json"),
    ("--checkpoint-dir", "AIP_CHECKPOINT_DIR", "output/checkpoints", "checkpoints and markers"),
    ("--tensorboard-dir", "AIP_TENSORBOARD_LOG_DIR", None, "TensorBoard logs"),
)
"""Flag, variable of Vertex AI, default and contents."""
LONGEST_LINE = 400
EPOCH = "epoch"


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
    BF16 = "bf16"
    FP16 = "fp16"


class Deterministic(StrEnum):
    AUTO = "auto"
    OFF = "off"


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
    """Samples of an optimizer step."""
    accumulate: int
    """Forward passes of an optimizer step."""
    clip_norm: float
    """0 does not clip."""
    ema: float
    """The decay; 0 keeps no average."""
    evaluate_every: int | None
    """Steps; None evaluates at the end of each epoch."""
    patience: int
    seed: int
    device: Device
    precision: Precision
    deterministic: Deterministic
    workers: int | None
    """None is `auto`: by the number of CPUs."""
    enable_checkpointing: bool
    checkpoint_interval: float | None
    """Seconds; None is `auto`: computed from the cost of a save and the rate of preemptions."""
    keep: int
    resume: Resume
    grace: float
    log_interval: float
    config: Any = None
    """An instance of the task's `Config`, None without one."""


SETTLED: Final = (*("epochs", "max_steps", "batch_size", "accumulate", "clip_norm", "ema", "patience", "seed"),)
"""The flags that the result depends on as they are; a precision depends on the machine as well."""
NAMES: Final = tuple(field.name.replace("_", "-") for field in fields(Flags) if field.name != "config")

TAKEN: Final = (*NAMES, "help")
"""Names that no setting of a task can have."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if len(message) > LONGEST_LINE:
            message = f"{message[:LONGEST_LINE]}..."
        raise UsageError(f"{message} (python -m task --help lists the flags)")


def parse(arguments: Sequence[str], environ: Mapping[str, str], config: type | None = None) -> Flags:
    """Return the flags, with an instance of the task's `config`.

    Raise `UsageError` with one line: flag, value and what is allowed.
    """
    own = typed.keys(config, TAKEN) if config else ()
    parser = _parser(environ, own)
    words = list[str]()
    for word in arguments:  # argparse takes the value -1e-5 for a flag, unless = joins it
        if words and words[-1] in {f"--{key.flag}" for key in own}:
            words[-1] += f"={word}"
        else:
            words.append(word)
    known, unknown = parser.parse_known_args(words)
    if unknown:
        nearest = get_close_matches(unknown[0], [f"--{name}" for name in (*NAMES, *(key.flag for key in own))], n=1)
        parser.error(f"{shown(unknown[0])} is not a flag{f': did you mean {nearest[0]}?' if nearest else ''}")
    values = vars(known)
    given = {key.flag: values.pop(key.flag) for key in own}
    flags = Flags(**values)
    for flag, value, own_id in (
        ("--standby", flags.standby, flags.attempt),
        ("--from-run", flags.from_run, flags.run),
    ):
        if value and not (flags.enable_checkpointing and flags.resume is Resume.AUTO):
            raise UsageError(
                f"{flag} resumes from a checkpoint: it needs --enable-checkpointing true and --resume auto"
            )
        if value == own_id:
            raise UsageError(f"{flag} {value} names itself: name another one")
    if flags.batch_size % flags.accumulate:
        raise UsageError(
            f"--accumulate {flags.accumulate} does not divide --batch-size {flags.batch_size}: each step is split into"
            " forward passes of equal size"
        )
    try:
        return replace(flags, config=typed.build(config, given)) if config else flags
    except ValueError as error:  # of the user's __post_init__
        raise UsageError(f"the configuration is refused: {error}") from error


def settled(flags: Flags, precision: Precision) -> dict[str, Any]:
    """Return what the result depends on, by flag. `precision` is the one in use."""
    own = typed.flags_of(flags.config) if flags.config else {}
    return {
        **{name.replace("_", "-"): getattr(flags, name) for name in SETTLED},
        "evaluate-every": flags.evaluate_every or EPOCH,
        "precision": precision.value,
        "deterministic": flags.deterministic.value,
        **own,
    }


def _parser(environ: Mapping[str, str], own: Sequence[typed.Key]) -> _Parser:
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
    training.add_argument("--batch-size", type=_whole(1), default=64, metavar="N", help="use N samples a step")
    training.add_argument(
        "--accumulate", type=_whole(1), default=1, metavar="N", help="split each step into N forward passes"
    )
    training.add_argument("--clip-norm", type=_clip, default=0.0, metavar="NORM", help="clip gradients; 0: off")
    training.add_argument("--ema", type=_decay, default=0.0, metavar="DECAY", help="average the weights; 0: off")
    training.add_argument(
        "--evaluate-every",
        type=_or(EPOCH, _whole(1)),
        default=EPOCH,
        metavar="{epoch,N}",
        help="evaluate at the end of each epoch, or every N steps",
    )
    training.add_argument(
        "--patience",
        type=_whole(0),
        default=0,
        metavar="N",
        help="stop after N evaluations without a better score; 0: never",
    )
    training.add_argument("--seed", type=_whole(0), default=0, metavar="N", help="seed weights, order and augmentation")
    _add_choice(training, "--precision", Precision, "use this precision; auto: bf16 or fp16 on CUDA, else full")
    _add_choice(training, "--deterministic", Deterministic, "use deterministic kernels where PyTorch has them")

    machine = parser.add_argument_group("machine")
    _add_choice(machine, "--device", Device, "train on this device; auto: CUDA if available")
    machine.add_argument(
        "--workers", type=_or("auto", _whole(0)), default="auto", metavar="{auto,N}", help="load data in N processes"
    )
    machine.add_argument("--log-interval", type=_positive, default=10.0, metavar="S", help="log every S seconds")

    saving = parser.add_argument_group("checkpoints")
    saving.add_argument(
        "--enable-checkpointing", type=_truth, default="true", metavar="{true,false}", help="save and resume"
    )
    saving.add_argument(
        "--checkpoint-interval",
        type=_or("auto", _positive),
        default="auto",
        metavar="{auto,S}",
        help="save every S seconds; auto: by cost and preemption rate",
    )
    saving.add_argument("--keep", type=_whole(1), default=3, metavar="N", help="keep the N newest and the best")
    _add_choice(saving, "--resume", Resume, "resume, or quarantine all checkpoints (never)")
    saving.add_argument(
        "--grace", type=_positive, default=DEFAULT_GRACE_S, metavar="S", help="exit within S seconds of SIGTERM"
    )
    groups = {table: parser.add_argument_group(f"your {table} settings: task/config.py") for table in typed.TABLES}
    for key in own:
        default = None if key.default is None else typed.word(key.default)
        groups[key.table].add_argument(
            f"--{key.flag}",
            dest=key.flag,
            type=_own(key),
            default=default,
            metavar="VALUE",
            help=key.allowed.replace("%", "%%"),
        )
    return parser


def _own(key: typed.Key) -> Callable[[str], Any]:
    def parse_own(text: str) -> Any:
        try:
            return key.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_own


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


_E = TypeVar("_E", bound=StrEnum)
_T = TypeVar("_T")


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


def _number(allowed: str, accepts: Callable[[float], bool]) -> Callable[[str], float]:
    def parse_number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not accepts(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
        return value

    return parse_number


_positive = _number("a number above 0", lambda value: 0 < value < math.inf)
_clip = _number("a number of at least 0", lambda value: 0 <= value < math.inf)
_decay = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)


def _or(word: str, parse_value: Callable[[str], _T]) -> Callable[[str], _T | None]:
    """Return a parser that returns None for `word`."""

    def parse_either(text: str) -> _T | None:
        if text == word:
            return None
        try:
            return parse_value(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, nor {word}") from None

    return parse_either


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
