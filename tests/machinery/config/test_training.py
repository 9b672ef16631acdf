"""Check that submit accepts what the trainer accepts, and refuses the rest with what is allowed."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spot.config.training import FLAGS, RESERVED, mistakes
from spot.core import typed
from spot.core.run import Strategy
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import NAMES, parse

NUMBERS = "0 1 -1 007 2147483647 2147483648 99999999999 1.0 1e3 1e-5 0.0 1_000 \u0663 nan inf -inf"
OTHERS = "10m auto Auto full mixed cpu cuda tpu true True false -x --epochs gs://bucket/data.csv"
WORDS = st.sampled_from([*NUMBERS.split(), *OTHERS.split(), "x y"]) | st.text("abc019.-e ", min_size=1, max_size=12)


def test_every_reserved_flag_is_one_of_the_trainer() -> None:
    assert set(RESERVED) < set(NAMES)
    assert set(FLAGS) == set(NAMES) - set(RESERVED)


@given(st.sampled_from(sorted({*FLAGS} - {"data"})), WORDS | st.floats(width=16).map(str) | st.integers().map(str))
@example("checkpoint-interval", "10m")
@example("epochs", "20.0")
def test_a_flag_is_refused_exactly_if_the_trainer_refuses_it(name: str, word: str) -> None:
    try:
        parse([f"--{name}", word, *(["--batch-size", word] if name == "accumulate" else [])], {})
        accepted = True
    except UsageError:
        accepted = False

    assert (mistakes("training", {name: word}) == []) is accepted


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", 0, "0: not a whole number of at least 1"),
        ("epochs", "x", "'x': not a whole number of at least 1"),
        ("epochs", True, "true: not a whole number of at least 1"),
        ("seed", -1, "-1: "),
        ("grace", 0, "0: not a number above 0"),
        ("log-interval", float("nan"), "nan: a number that is finite"),
        ("enable-checkpointing", "False", "'False': not true or false"),
        ("precision", "half", "'half': not one of auto, full, bf16, fp16"),
        ("checkpoint-interval", "10m", "'10m': not a number above 0, nor auto"),
        ("data", "table.csv", "'table.csv': gs://BUCKET/OBJECT, gs://BUCKET/PREFIX/, or \"sample\" for the data"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_allowed(name: str, value: object, allowed: str) -> None:
    [line] = mistakes("training", {name: value})

    assert line.startswith(f"training.{name} is {allowed}")
    assert "argument --" not in line.removeprefix(f"training.{name}") or name == "seed"


@pytest.mark.parametrize(("name", "value"), [("epochs", 20), ("epochs", "20"), ("log-interval", 1e-5), ("keep", 1)])
def test_numbers_may_be_written_either_way(name: str, value: object) -> None:
    assert mistakes("training", {name: value}) == []


def test_all_mistakes_come_at_once() -> None:
    lines = mistakes(
        "training", {"epochs": 0, "epoch": 1, "run": "x", "enable-checkpointing": False}, None, Strategy.HYBRID, 10
    )

    assert [line.split()[0] for line in lines] == [
        *("training.epochs", "training.epoch", "training.run", "training.enable-checkpointing")
    ]


def test_a_value_is_a_word_of_the_command_line() -> None:
    assert [typed.word(value) for value in (True, 20, 0.5, "auto")] == ["true", "20", "0.5", "auto"]
