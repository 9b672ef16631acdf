"""Check that the map of the machinery names only packages and functions that exist."""

import importlib
import re
from typing import Any

import pytest

from tests.paths import SRC

TEXT = (SRC / "README.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(spot\.(?!toml)[\w.]+)`", TEXT)))


def resolve(name: str) -> Any:
    """Import the longest module of a dotted name and return the attribute that the rest names."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", NAMED)
def test_every_function_of_the_map_exists(name: str) -> None:
    assert resolve(name) is not None


def test_the_map_names_every_package() -> None:
    packages = {path.parent.name for path in SRC.glob("spot/*/__init__.py")}

    assert {package for package in packages if f"`{package}`" not in TEXT} == set()


def test_a_step_that_does_not_exist_is_found() -> None:
    with pytest.raises(AttributeError):
        resolve("spot.policy.decide.nothing")
