"""Test flags from the command line and from Vertex AI's variables; an invalid one is one line with what is allowed."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, make_dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.typed import ConfigError
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import NAMES, Device, Precision, Resume, parse, settled


def test_without_flags_everything_has_a_local_default() -> None:
    flags = parse([], {})
    assert (flags.output_dir, flags.checkpoint_dir) == ("output/models", "output/checkpoints")
    assert flags.tensorboard_dir is None
    assert (flags.device, flags.precision, flags.resume) == (Device.AUTO, Precision.AUTO, Resume.AUTO)
    assert flags.checkpoint_interval is None


VERTEX = {
    "AIP_MODEL_DIR": "gs://b/base/model/",
    "AIP_CHECKPOINT_DIR": "gs://b/base/checkpoints/",
    "AIP_TENSORBOARD_LOG_DIR": "gs://b/base/logs/",
}


def test_vertex_says_where_things_are() -> None:
    flags = parse([], VERTEX)
    assert flags.output_dir == "gs://b/base/model/"
    assert flags.checkpoint_dir == "gs://b/base/checkpoints/"
    assert flags.tensorboard_dir == "gs://b/base/logs/"


def test_a_flag_beats_a_variable() -> None:
    flags = parse(["--output-dir", "here", "--checkpoint-dir", "there", "--tensorboard-dir", "logs"], VERTEX)
    assert (flags.output_dir, flags.checkpoint_dir, flags.tensorboard_dir) == ("here", "there", "logs")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            ["--enable-checkpointing", "false"],
            "--standby resumes from a checkpoint: it needs",
        ),
        (
            ["--resume", "never"],
            "--standby resumes from a checkpoint: it needs --enable-checkpointing true and --resume auto",
        ),
    ],
)
def test_a_standby_needs_checkpoints(more: list[str], words: str) -> None:
    assert parse(["--standby", "a1"], {}).standby == "a1"
    assert parse(more, {}).standby is None
    with pytest.raises(UsageError, match=words):
        parse(["--standby", "a1", *more], {})


def test_no_attempt_replaces_itself() -> None:
    with pytest.raises(UsageError, match="--standby a2 names itself: name another one"):
        parse(["--attempt", "a2", "--standby", "a2"], {})


def test_no_run_starts_from_itself_or_without_checkpoints() -> None:
    assert parse(["--run", "r2", "--from-run", "r1"], {}).from_run == "r1"
    with pytest.raises(UsageError, match="--from-run r2 names itself: name another one"):
        parse(["--run", "r2", "--from-run", "r2"], {})
    with pytest.raises(UsageError, match="--from-run resumes from a checkpoint: it needs"):
        parse(["--run", "r2", "--from-run", "r1", "--resume", "never"], {})


def test_the_articles_flags_are_understood() -> None:
    line = "--output-dir a --checkpoint-dir b --epochs 5 --batch-size 8 --enable-checkpointing true"
    flags = parse([*line.split(), "--checkpoint-interval", "300"], {})
    assert (flags.epochs, flags.batch_size, flags.enable_checkpointing, flags.checkpoint_interval) == (5, 8, True, 300)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "0"], ["--epochs", "'0'", "at least 1"]),
        (["--epochs", "many"], ["--epochs", "'many'"]),
        (["--epochs", "1e3"], ["--epochs", "'1e3'"]),
        (["--epochs", "٣"], ["--epochs"]),
        (["--epochs", "9" * 5000], ["--epochs"]),
        (["--batch-size", "-4"], ["--batch-size", "'-4'"]),
        (["--log-interval", "nan"], ["--log-interval", "'nan'", "above 0"]),
        (["--log-interval", "inf"], ["--log-interval", "'inf'"]),
        (["--clip-norm", "-1"], ["--clip-norm", "'-1'", "at least 0"]),
        (["--ema", "1"], ["--ema", "'1'", "from 0 to below 1"]),
        (["--evaluate-every", "0"], ["--evaluate-every", "'0'", "at least 1, nor epoch"]),
        (["--workers", "many"], ["--workers", "'many'", "nor auto"]),
        (["--accumulate", "3", "--batch-size", "64"], ["--accumulate 3", "--batch-size 64"]),
        (["--device", "tpu"], ["--device", "'tpu'", "auto, cpu, cuda"]),
        (["--resume", "maybe"], ["--resume", "'maybe'", "auto, never"]),
        (["--precision", "8"], ["--precision", "'8'", "auto, full, bf16, fp16"]),
        (["--standby", "A 1"], ["--standby", "'A 1'", "a-z"]),
        (["--enable-checkpointing", "yes"], ["--enable-checkpointing", "'yes'", "true or false"]),
        (["--checkpoint-interval", "0"], ["--checkpoint-interval", "'0'"]),
        (["--checkpoint-interval", "often"], ["--checkpoint-interval", "'often'", "auto"]),
        (["--epochs", "x" * 9000], ["--epochs", "... (9000 characters) is not a whole number"]),
        (["--run", "Mine!"], ["--run", "'Mine!'", "a-z"]),
        (["--run", "../x"], ["--run", "'../x'"]),
        (["--attempt", ""], ["--attempt", "''"]),
        (["--data", ""], ["--data", "''"]),
        (["--output-dir", "a\nb"], ["--output-dir"]),
        (["--grace", "-1"], ["--grace", "'-1'"]),
        (["--no-such-flag"], ["--no-such-flag"]),
        (["--epoch", "3"], ["--epoch", "did you mean --epochs?"]),
        (["--epochs"], ["--epochs", "expected one argument"]),
    ],
)
def test_an_invalid_value_is_one_line_with_flag_value_and_allowed_values(
    arguments: list[str], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments, {})
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_text_is_flags_or_refused(arguments: list[str]) -> None:
    if not {"-h", "--help"} & set(arguments):
        with contextlib.suppress(UsageError):
            parse(arguments, {})


@dataclass(frozen=True, kw_only=True)
class Model:
    channels: int = 32
    sizes: tuple[int, ...] = (1, 2)
    bias: float = 0.0
    name: str = "100 %"
    part: Literal["50%"] = "50%"


@dataclass(frozen=True, kw_only=True)
class Training:
    learning_rate: float = 0.002

    def __post_init__(self) -> None:
        if not self.learning_rate:
            raise ValueError("learning_rate must not be 0")


@dataclass(frozen=True, kw_only=True)
class Config:
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)


def test_settings_of_the_task_are_flags() -> None:
    assert parse([], {}).config is None
    assert parse([], {}, Config).config == Config()
    line = ["--model.channels", "64", "--epochs", "3", "--learning-rate=0.1", "--model.sizes", "[3, 4]"]
    flags = parse(line, {}, Config)
    assert flags.epochs == 3
    assert flags.config == Config(model=Model(channels=64, sizes=(3, 4)), training=Training(learning_rate=0.1))


def test_a_value_of_the_task_may_begin_with_a_dash() -> None:
    line = ["--model.bias", "-1e-5", "--model.name", "--model.name"]
    assert parse(line, {}, Config).config.model == Model(bias=-1e-5, name="--model.name")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model.channels", "many"], ["--model.channels", "'many'", "a whole number"]),
        (["--model.chanels", "3"], ["'--model.chanels' is not a flag: did you mean --model.channels?"]),
        (["--learning_rate", "3"], ["did you mean --learning-rate?"]),
        (["--model.sizes", "[1"], ["--model.sizes", "'[1'", "a list"]),
        (["--model.channels"], ["--model.channels", "expected one argument"]),
        (["--learning-rate", "0"], ["the configuration is refused: learning_rate must not be 0"]),
    ],
)
def test_a_wrong_setting_of_the_task_is_one_line(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(arguments, {}, Config)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["help", "config", *(name.replace("-", "_") for name in NAMES)])
def test_no_setting_of_a_task_has_the_name_of_a_flag(name: str) -> None:
    training = make_dataclass("Training", [(name, int, field(default=1))])
    config = make_dataclass("Config", [("training", training, field(default_factory=training))])
    if name == "config":  # is no flag
        assert parse(["--config", "2"], {}, config).config == config(training=training(2))
    else:
        with pytest.raises(ConfigError, match=f"Config.training.{name}: --{name.replace('_', '-')} is a flag of the"):
            parse([], {}, config)


def test_help_lists_the_settings_of_the_task_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {}, Config)
    _, _, own = capsys.readouterr().out.partition("your model settings")
    shown = " ".join(own.split())
    assert "--model.channels VALUE a whole number (default: 32)" in shown
    assert "--model.sizes VALUE a list, each item a whole number (default: [1, 2])" in shown
    assert "(default: 100 %)" in shown
    assert "one of 50%" in shown
    assert "your training settings (task/config.py): --learning-rate VALUE a number (default: 0.002)" in shown


def test_what_the_result_depends_on_is_named_by_flag_and_is_json() -> None:
    found = settled(parse(["--batch-size", "8", "--model.sizes", "[3]"], {}, Config), Precision.BF16)
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "epochs": 30,
        "max-steps": None,
        "batch-size": 8,
        "accumulate": 1,
        "clip-norm": 0,
        "ema": 0,
        "evaluate-every": "epoch",
        "patience": 0,
        "seed": 0,
        "precision": "bf16",
        "deterministic": "auto",
        "model.channels": 32,
        "model.sizes": [3],
        "model.bias": 0,
        "model.name": "100 %",
        "model.part": "50%",
        "learning-rate": 0.002,
    }


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("epochs", 2), ("max-steps", 2), ("batch-size", 2), ("accumulate", 2), ("clip-norm", 2), ("ema", 0.5)),
        *(("evaluate-every", 2), ("patience", 2), ("seed", 2), ("deterministic", "off"), ("model.channels", 2)),
        ("learning-rate", 2),
    ],
)
def test_each_flag_that_changes_the_result_is_settled(flag: str, value: object) -> None:
    before, after = (settled(parse(line, {}, Config), Precision.FULL) for line in ([], [f"--{flag}", str(value)]))
    assert {name: after[name] for name in after if after[name] != before[name]} == {flag: value}


@given(st.lists(st.text(max_size=12) | st.sampled_from(["--model.channels", "--model.sizes", "3"]), max_size=6))
def test_any_text_is_flags_of_a_task_or_refused(arguments: list[str]) -> None:
    if not {"-h", "--help"} & set(arguments):
        with contextlib.suppress(UsageError):
            parse(arguments, {}, Config)
