"""Test flags from the command line and from Vertex AI's variables; an invalid one is one line with what is allowed."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import Device, Precision, Resume, parse


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
        (["--enable-checkpointing", "yes"], ["--enable-checkpointing", "'yes'", "true nor false"]),
        (["--checkpoint-interval", "0"], ["--checkpoint-interval", "'0'"]),
        (["--checkpoint-interval", "often"], ["--checkpoint-interval", "'often'", "auto"]),
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
