"""Test that a task's settings are read by their types, and that a class that cannot be read is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot.core.fields import shown
from spot.core.typed import ConfigError, Key, build, flags_of, keys, word


@dataclass(frozen=True, kw_only=True)
class Model:
    hidden_size: int = 32
    dropout: float = 0.3
    tied: bool = True
    name: str = "gpt"
    norm: Literal["layer", "rms", 2] = "layer"
    sizes: tuple[int, ...] = (1, 2)
    scales: tuple[float, ...] = ()
    words: tuple[str, ...] = ("a b",)
    window: int | None = None
    kernel: Optional[Literal["a", "b"]] = None  # noqa: UP045  # as users write it


@dataclass(frozen=True, kw_only=True)
class Training:
    learning_rate: float = 0.002


@dataclass(frozen=True, kw_only=True)
class Config:
    model: Model = field(default_factory=lambda: Model(hidden_size=48))
    training: Training = field(default_factory=Training)


KEYS = {key.flag: key for key in keys(Config)}


def test_fields_are_flags_and_keys_with_their_defaults() -> None:
    assert {key.flag: key.default for key in keys(Config)} == {
        "model.hidden-size": 48,
        "model.dropout": 0.3,
        "model.tied": True,
        "model.name": "gpt",
        "model.norm": "layer",
        "model.sizes": (1, 2),
        "model.scales": (),
        "model.words": ("a b",),
        "model.window": None,
        "model.kernel": None,
        "learning-rate": 0.002,
    }
    assert KEYS["model.hidden-size"].name == "hidden-size"


RIGHT = [
    ("model.hidden-size", "-3", -3),
    ("model.dropout", "1", 1.0),
    ("model.dropout", "1e-3", 0.001),
    ("model.tied", "false", False),
    ("model.name", "2", "2"),
    ("model.name", "", ""),
    ("model.norm", "rms", "rms"),
    ("model.norm", "2", 2),
    ("model.sizes", "[3, 4]", (3, 4)),
    ("model.sizes", "[]", ()),
    ("model.scales", "[1, 0.5]", (1.0, 0.5)),
    ("model.words", '["x", "y z"]', ("x", "y z")),
    ("model.window", "7", 7),
    ("model.kernel", "b", "b"),
]


@pytest.mark.parametrize(("flag", "text", "value"), RIGHT)
def test_the_text_of_a_flag_is_read_as_the_type_of_its_field(flag: str, text: str, value: object) -> None:
    found = KEYS[flag].read(text)
    assert (found, type(found)) == (value, type(value))
    assert KEYS[flag].read(word(list(value) if isinstance(value, tuple) else value)) == value


WRONG = [
    ("model.hidden-size", "3.0", "is not a whole number"),
    ("model.hidden-size", "true", "is not a whole number"),
    ("model.hidden-size", str(2**63), "is not a whole number"),
    ("model.hidden-size", "9" * 5000, "is not a whole number"),
    ("model.hidden-size", "[" * 100_000, "is not a whole number"),
    ("model.dropout", "NaN", "is not a number"),
    ("model.dropout", "1e999", "is not a number"),
    ("model.dropout", "false", "is not a number"),
    ("model.tied", "1", "is not true or false"),
    ("model.tied", "True", "is not true or false"),
    ("model.name", "a\nb", "is not a text of at most 1000 printable characters"),
    ("model.name", "a" * 1001, "is not a text"),
    ("model.name", '"' + r"\u0061" * 200 + '"', "is not a text"),
    ("model.norm", "batch", "is not one of layer, rms, 2"),
    ("model.norm", "true", "is not one of layer, rms, 2"),
    ("model.norm", "2.0", "is not one of layer, rms, 2"),
    ("model.sizes", "3", "is not a list, each item a whole number"),
    ("model.sizes", "[1, 2.5]", "is not a list, each item a whole number"),
    ("model.sizes", "[[1]]", "is not a list, each item a whole number"),
    ("model.words", "[1]", "is not a list, each item a text"),
    ("model.window", "none", "is not a whole number"),
    ("model.kernel", "c", "is not one of a, b"),
]


@pytest.mark.parametrize(("flag", "text", "said"), WRONG)
def test_a_text_of_another_type_is_shown_with_what_is_allowed(flag: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match="is not") as caught:
        KEYS[flag].read(text)
    assert str(caught.value).startswith(f"{shown(text)} {said}")
    assert len(str(caught.value)) < 200


@given(
    st.sampled_from(list(KEYS.values())),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(), st.lists, max_leaves=4
    ),
)
def test_any_value_is_read_or_refused_and_what_is_read_can_be_pinned(key: Key, value: object) -> None:
    try:
        found = key.read(value)
    except ValueError:
        return
    assert key.read(word(list(found) if isinstance(found, tuple) else found)) == found


@given(st.sampled_from(list(KEYS.values())), st.text(max_size=20))
def test_any_text_is_read_or_refused(key: Key, text: str) -> None:
    try:
        found = key.read(text)
    except ValueError:
        return
    json.dumps(found, allow_nan=False)


def test_values_go_on_top_of_the_defaults_of_the_configuration() -> None:
    config = build(Config, {"model.sizes": (5,), "learning-rate": 0.1})
    assert config == Config(model=Model(hidden_size=48, sizes=(5,)), training=Training(learning_rate=0.1))
    assert flags_of(config) | {"model.words": ["a b"], "model.sizes": [5]} == flags_of(config)
    assert json.loads(json.dumps(flags_of(config))) == flags_of(config)


def config(model: Any = None, **more: Any) -> type:
    """Return a class of a configuration whose model is of this class."""
    given: dict[str, Any] = {"model": model} if model else {}
    named = [(name, kind, field(default_factory=kind)) for name, kind in {**given, **more}.items()]
    return make_dataclass("Config", named)


def model(hint: Any, *default: Any) -> type:
    made = make_dataclass("Model", [("x", hint, *(field(default=one) for one in default))])
    return config(made)


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (model(int), "Model.x has no default: give it one"),
        (model(dict[str, int], None), "Config.model.x has the type dict[str, int]: allowed are int, float, bool, str"),
        (model(bytes, b""), "Config.model.x has the type <class 'bytes'>"),
        (model(int | str, 1), "Config.model.x has the type int | str"),
        (model(tuple[int, str], (1, "a")), "Config.model.x has the type tuple[int, str]"),
        (model(tuple[tuple[int, ...], ...], ()), "Config.model.x has the type tuple[tuple[int, ...], ...]"),
        (model(Literal[b"a"], b"a"), "Config.model.x has the type"),
        (model(int | str | None, None), "Config.model.x has the type int | str | None"),
        (model(int, 1.5), "Config.model.x has a wrong default: 1.5 is not a whole number"),
        (model(int, None), "Config.model.x has a wrong default: None is not a whole number"),
        (model(int | None, "a"), "Config.model.x has a wrong default: 'a' is not a whole number"),
        (config(dict), "<class 'dict'> is not a dataclass: decorate it with @dataclass(frozen=True, kw_only=True)"),
        (config(optimizer=Model), "Config.optimizer is not allowed: only Config.model and Config.training are"),
        (config(model=int), "<class 'int'> is not a dataclass"),
        (dict, "<class 'dict'> is not a dataclass"),
        (config(training=make_dataclass("T", [("epochs", int, field(default=1))])), "Config.training.epochs: --epochs"),
    ],
)
def test_a_class_that_cannot_be_read_is_refused_by_the_name_of_its_field(refused: type, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        keys(refused, {"epochs"})
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_configuration_may_lack_a_table() -> None:
    assert keys(config()) == ()
    assert [key.flag for key in keys(config(training=Training))] == ["learning-rate"]
