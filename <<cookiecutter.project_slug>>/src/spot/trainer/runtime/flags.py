"""Parse the trainer's flags, with defaults from the environment variables of Vertex AI."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, NoReturn

from spot.core import typed
from spot.core.fields import shown
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.signals import DEFAULT_GRACE_S
from spot.trainer.runtime.values import identifier, location, number, one_of, positive, truth, whole, word_or

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


class Parallel(StrEnum):
    AUTO = "auto"
    NONE = "none"
    DDP = "ddp"
    FSDP = "fsdp"


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
    champion: str | None
    """The model in use: the folder of its run, and a checksum of its files."""
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
    ranks: int | None
    """Processes on this machine; None is `auto`: one for each GPU."""
    parallel: Parallel
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


VARIABLES: Final = {
    "output-dir": "AIP_MODEL_DIR",
    "checkpoint-dir": "AIP_CHECKPOINT_DIR",
    "tensorboard-dir": "AIP_TENSORBOARD_LOG_DIR",
}
"""Variables of Vertex AI that have the defaults of flags."""

_Row = tuple[str, Callable[[str], object], str | None, str, str]
_non_negative = number("a number of at least 0", lambda value: 0 <= value < math.inf)
_decay = number("a number from 0 to below 1", lambda value: 0 <= value < 1)


def _choice(name: str, kind: type[StrEnum], text: str) -> _Row:
    """Return a flag whose default is the first member of `kind`."""
    return name, one_of(kind), next(iter(kind)), f"{{{','.join(kind)}}}", text


GROUPS: Final[Mapping[str, tuple[_Row, ...]]] = {
    "locations (gs://bucket/prefix or a local directory)": (
        ("output-dir", location, "output/models", "DIR", "write model, metrics and completion.json to DIR/RUN/"),
        ("checkpoint-dir", location, "output/checkpoints", "DIR", "write checkpoints and markers to DIR/RUN/"),
        ("tensorboard-dir", location, None, "DIR", "write TensorBoard logs to DIR/RUN/"),
        ("data", location, "sample", "URI", "train on this object, prefix/ or pattern*"),
        ("champion", location, None, "URI", "compare the result with the model of this run"),
        ("run", identifier, "default", "ID", "name this run"),
        ("attempt", identifier, "local", "ID", "name this attempt of the run"),
        ("from-run", identifier, None, "ID", "start from the checkpoints of this run"),
        ("standby", identifier, None, "ATTEMPT", "wait as a standby and replace this attempt"),
    ),
    "training (a run resumes only with the values that it started with)": (
        ("epochs", whole(1), "30", "N", "make N passes over the data"),
        ("max-steps", whole(1), None, "N", "stop after N steps, if sooner"),
        ("batch-size", whole(1), "64", "N", "use N samples a step"),
        ("accumulate", whole(1), "1", "N", "split each step into N forward passes"),
        ("clip-norm", _non_negative, "0", "NORM", "clip gradients to this norm; 0: off"),
        ("ema", _decay, "0", "DECAY", "average the weights with this decay; 0: off"),
        ("evaluate-every", word_or(EPOCH, whole(1)), EPOCH, "{epoch,N}", "evaluate after each epoch, or every N steps"),
        ("patience", whole(0), "0", "N", "stop after N evaluations without a better score; 0: never"),
        ("seed", whole(0), "0", "N", "seed weights, order and augmentation"),
        _choice("precision", Precision, "use this precision; auto: bf16 or fp16 on CUDA, else full"),
        _choice("deterministic", Deterministic, "use deterministic kernels where PyTorch has them"),
    ),
    "machine": (
        _choice("device", Device, "train on this device; auto: CUDA if available"),
        ("ranks", word_or("auto", whole(1)), "auto", "{auto,N}", "train in N processes; auto: one for each GPU"),
        _choice("parallel", Parallel, "spread a model over ranks; auto: fsdp, or ddp if only that is right"),
        ("workers", word_or("auto", whole(0)), "auto", "{auto,N}", "load data in N processes"),
        ("log-interval", positive, "10", "S", "log every S seconds"),
    ),
    "checkpoints": (
        ("enable-checkpointing", truth, "true", "{true,false}", "save and resume"),
        (
            *("checkpoint-interval", word_or("auto", positive), "auto", "{auto,S}"),
            "save every S seconds; auto: by cost and preemption rate",
        ),
        ("keep", whole(1), "3", "N", "keep the N newest and the best"),
        _choice("resume", Resume, "resume; never: quarantine the checkpoints and start anew"),
        ("grace", positive, str(DEFAULT_GRACE_S), "S", "exit within S seconds of SIGTERM"),
    ),
}
"""Flag, reader, default, value and help, by the title of their group."""
SETTLED: Final = ("epochs", "max_steps", "batch_size", "accumulate", "clip_norm", "ema", "patience", "seed")
"""The flags that the result depends on as they are; a precision depends on the machine as well."""
NAMES: Final = tuple(field.name.replace("_", "-") for field in fields(Flags) if field.name != "config")

LOOP_FLAGS: Final = ("epochs", "accumulate", "clip_norm", "ema", "evaluate_every")
"""The flags of the default loop."""
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
    values = {name.replace("-", "_"): value for name, value in vars(known).items() if name in NAMES}
    flags = Flags(**values)
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
        "precision": precision.value,
        "deterministic": flags.deterministic.value,
        **own,
    }


def ignored(flags: Flags) -> list[str]:
    """Return the flags that are set and that a loop of the user's own does not use."""
    default = parse([], {})
    return [name.replace("_", "-") for name in LOOP_FLAGS if getattr(flags, name) != getattr(default, name)]


def _parser(environ: Mapping[str, str], own: Sequence[typed.Key]) -> _Parser:
    parser = _Parser(
        prog="python -m task",
        allow_abbrev=False,
        formatter_class=_Help,
        description="Train, save and resume. Start again with the same flags to resume after any interruption.",
        epilog="Exit codes: 0 complete, 143 saved on SIGTERM (130 on Ctrl-C), 1 error, 2 flag, data or permission to"
        " change, 75 start again.",
    )
    groups = dict(GROUPS)
    for table in typed.TABLES:
        groups[f"your {table} settings (task/config.py)"] = tuple(
            (key.flag, key.read, None if key.default is None else typed.word(key.default), "VALUE", key.allowed)
            for key in own
            if key.table == table
        )
    for title, flags in groups.items():
        group = parser.add_argument_group(title)
        for name, read, default, metavar, text in flags:
            variable = VARIABLES.get(name)
            group.add_argument(
                f"--{name}",
                dest=name,
                type=explained(read),
                default=environ.get(variable, "") or default if variable else default,
                metavar=metavar,
                help=text.replace("%", "%%") + (f" [{variable}]" if variable else ""),
            )
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def explained(read: Callable[[str], object]) -> Callable[[str], object]:
    """Return `read` with messages that argparse shows."""

    def shown_read(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return shown_read
