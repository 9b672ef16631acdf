"""Parse the trainer's flags, with defaults from the environment variables of Vertex AI."""
# ruff: noqa: RUF009  # `_choice` returns a dataclass field

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, NoReturn

from spot.core import typed
from spot.core.fields import shown
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.signals import DEFAULT_GRACE_S
from spot.trainer.runtime.values import explained, identifier, location, number, one_of, positive, truth, whole, word_or

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


class Parallel(StrEnum):
    AUTO = "auto"
    NONE = "none"
    DDP = "ddp"
    FSDP = "fsdp"


class Deterministic(StrEnum):
    AUTO = "auto"
    OFF = "off"


GROUPS: Final = {
    "output_dir": "locations (gs://bucket/prefix or a local directory)",
    "epochs": "training (a run resumes only with the values that it started with)",
    "device": "machine",
    "enable_checkpointing": "checkpoints",
}
"""Titles of the groups of flags, by the first flag of each."""
VARIABLES: Final = {
    "output_dir": "AIP_MODEL_DIR",
    "checkpoint_dir": "AIP_CHECKPOINT_DIR",
    "tensorboard_dir": "AIP_TENSORBOARD_LOG_DIR",
}
"""Variables of Vertex AI that have the defaults of flags."""

_non_negative = number("a number of at least 0", lambda value: 0 <= value < math.inf)
_decay = number("a number from 0 to below 1", lambda value: 0 <= value < 1)


def _flag(read: Callable[[str], object], default: str | None, metavar: str, text: str) -> Any:
    return field(metadata={"type": explained(read), "default": default, "metavar": metavar, "help": text})


def _choice(kind: type[StrEnum], text: str) -> Any:
    """Return a flag whose default is the first member of `kind`."""
    return _flag(one_of(kind), next(iter(kind)), f"{{{','.join(kind)}}}", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Hold the flags of one start. Each states its reader, default, value and help."""

    output_dir: str = _flag(location, "output/models", "DIR", "write model, metrics and completion.json to DIR/RUN/")
    checkpoint_dir: str = _flag(location, "output/checkpoints", "DIR", "write checkpoints and markers to DIR/RUN/")
    tensorboard_dir: str | None = _flag(location, None, "DIR", "write TensorBoard logs to DIR/RUN/")
    data: str = _flag(location, "sample", "URI", "train on this object, prefix/ or pattern*")
    champion: str | None = _flag(location, None, "URI", "compare the result with the model of this run")
    """The folder of the run, and a checksum of its files."""
    run: str = _flag(identifier, "default", "ID", "name this run")
    attempt: str = _flag(identifier, "local", "ID", "name this attempt of the run")
    from_run: str | None = _flag(identifier, None, "ID", "start from the checkpoints of this run")
    standby: str | None = _flag(identifier, None, "ATTEMPT", "wait as a standby and replace this attempt")

    epochs: int = _flag(whole(1), "30", "N", "make N passes over the data")
    max_steps: int | None = _flag(whole(1), None, "N", "stop after N steps, if sooner")
    batch_size: int = _flag(whole(1), "64", "N", "use N samples a step")
    accumulate: int = _flag(whole(1), "1", "N", "split each step into N forward passes")
    clip_norm: float = _flag(_non_negative, "0", "NORM", "clip gradients to this norm; 0: off")
    ema: float = _flag(_decay, "0", "DECAY", "average the weights with this decay; 0: off")
    evaluate_every: int | None = _flag(
        word_or(EPOCH, whole(1)), EPOCH, "{epoch,N}", "evaluate after each epoch, or every N steps"
    )
    patience: int = _flag(whole(0), "0", "N", "stop after N evaluations without a better score; 0: never")
    seed: int = _flag(whole(0), "0", "N", "seed weights, order and augmentation")
    precision: Precision = _choice(Precision, "use this precision; auto: bf16 or fp16 on CUDA, else full")
    deterministic: Deterministic = _choice(Deterministic, "use deterministic kernels where PyTorch has them")

    device: Device = _choice(Device, "train on this device; auto: CUDA if available")
    ranks: int | None = _flag(
        word_or("auto", whole(1)), "auto", "{auto,N}", "train in N processes; auto: one for each GPU"
    )
    parallel: Parallel = _choice(Parallel, "spread a model over ranks; auto: fsdp, or ddp if only that is right")
    workers: int | None = _flag(word_or("auto", whole(0)), "auto", "{auto,N}", "load data in N processes")
    log_interval: float = _flag(positive, "10", "S", "log every S seconds")

    enable_checkpointing: bool = _flag(truth, "true", "{true,false}", "save and resume")
    checkpoint_interval: float | None = _flag(
        word_or("auto", positive), "auto", "{auto,S}", "save every S seconds; auto: by cost and preemption rate"
    )
    keep: int = _flag(whole(1), "3", "N", "keep the N newest and the best")
    resume: Resume = _choice(Resume, "resume; never: quarantine the checkpoints and start anew")
    grace: float = _flag(positive, str(DEFAULT_GRACE_S), "S", "exit within S seconds of SIGTERM")

    config: Any = None
    """An instance of the task's `Config`, None without one."""


_FLAGS: Final = [one for one in fields(Flags) if one.name != "config"]
NAMES: Final = tuple(one.name.replace("_", "-") for one in _FLAGS)
TAKEN: Final = (*NAMES, "help")
"""Names that no setting of a task can have."""
SETTLED: Final = (
    *("epochs", "max_steps", "batch_size", "accumulate", "clip_norm", "ema", "patience", "seed", "deterministic"),
)
"""The flags that the result depends on as they are; a precision depends on the machine as well."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
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
    flags = Flags(**{one.name: getattr(known, one.name) for one in _FLAGS})
    for flag, value, itself in (("--standby", flags.standby, flags.attempt), ("--from-run", flags.from_run, flags.run)):
        if value and not (flags.enable_checkpointing and flags.resume is Resume.AUTO):
            raise UsageError(
                f"{flag} resumes from a checkpoint: it needs --enable-checkpointing true and --resume auto"
            )
        if value == itself:
            raise UsageError(f"{flag} {value} names itself: name another one")
    if flags.batch_size % flags.accumulate:
        raise UsageError(
            f"--accumulate {flags.accumulate} does not divide --batch-size {flags.batch_size}: each step is split into"
            " forward passes of equal size"
        )
    try:
        return replace(flags, config=typed.build(config, vars(known))) if config else flags
    except ValueError as error:  # of the user's __post_init__
        raise UsageError(f"the configuration is refused: {error}") from error


def settled(flags: Flags, precision: Precision) -> dict[str, Any]:
    """Return what the result depends on, by flag. `precision` is the one in use."""
    own = typed.flags_of(flags.config) if flags.config else {}
    return {
        **{name.replace("_", "-"): getattr(flags, name) for name in SETTLED},
        "evaluate-every": flags.evaluate_every or EPOCH,
        "precision": precision,
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
    group: Any = parser
    for one in _FLAGS:
        if one.name in GROUPS:
            group = parser.add_argument_group(GROUPS[one.name])
        argument, variable = dict(one.metadata), VARIABLES.get(one.name)
        if variable:
            argument["default"] = environ.get(variable) or argument["default"]
            argument["help"] += f" [{variable}]"
        group.add_argument(f"--{one.name.replace('_', '-')}", **argument)
    for table in typed.TABLES:
        group = parser.add_argument_group(f"your {table} settings (task/config.py)")
        for key in (key for key in own if key.table == table):
            default, text = None if key.default is None else typed.word(key.default), key.allowed.replace("%", "%%")
            shape: Any = {"type": explained(key.read), "default": default, "metavar": "VALUE", "help": text}
            group.add_argument(f"--{key.flag}", dest=key.flag, **shape)
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)
