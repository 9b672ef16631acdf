"""The trainer's flags: submit takes what the trainer takes, and nothing else."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spot.config import flags
from spot.config.flags import FLAGS, RESERVED
from spot.trainer.runtime.errors import UsageError
from spot.trainer.runtime.flags import Flags, parse

NUMBERS = "0 1 -1 007 2147483647 2147483648 99999999999 1.0 1e3 1e-5 0.0 1_000 \u0663 nan inf -inf"
OTHERS = "10m auto Auto full mixed cpu cuda tpu true True false -x --epochs gs://bucket/data.csv"
WORDS = st.sampled_from([*NUMBERS.split(), *OTHERS.split(), "", " 1", "x y"])
NAMES = sorted({*FLAGS} - {"data"})


def test_the_flags_are_the_trainers() -> None:
    of_trainer = {field.name.replace("_", "-") for field in fields(Flags)}

    assert {*FLAGS, *RESERVED} == of_trainer, "a new flag of src/trainer/flags.py goes into FLAGS in src/spot/flags.py"


@given(st.sampled_from(NAMES), WORDS | st.text(max_size=12) | st.floats().map(str) | st.integers().map(str))
@example("checkpoint-interval", "10m")
@example("epochs", "20.0")
def test_what_the_trainer_would_refuse_on_a_paid_machine_is_refused_before(name: str, word: str) -> None:
    try:
        parse([f"--{name}", word], {})
        taken = True
    except UsageError:
        taken = False

    assert (flags.wrong(name, word) is None) is taken


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", 0, "a whole number of at least 1"),
        ("epochs", "x", "a whole number of at least 1"),
        ("epochs", True, "a whole number of at least 1"),
        ("seed", -1, "a whole number of at least 0"),
        ("grace", 0, "a number above 0"),
        ("learning-rate", float("nan"), "a number that is finite"),
        ("enable-checkpointing", "False", "one of true, false"),
        ("precision", "half", "one of auto, full, mixed"),
        ("checkpoint-interval", "10m", "a number of seconds above 0, or auto"),
        ("data", "table.csv", 'gs://BUCKET/OBJECT, or "sample" for the data that come with the project'),
    ],
)
def test_a_wrong_value_is_told_what_is_allowed(name: str, value: object, allowed: str) -> None:
    assert flags.wrong(name, value) == allowed


@pytest.mark.parametrize(("name", "value"), [("epochs", 20), ("epochs", "20"), ("learning-rate", 1e-5), ("keep", 1)])
def test_numbers_may_be_written_either_way(name: str, value: object) -> None:
    assert flags.wrong(name, value) is None
