"""Provide the process that trainers are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machinery.zygote import Zygote


@pytest.fixture(scope="session")
def zygote(emulator_url: str) -> Iterator[Zygote]:
    with Zygote({"STORAGE_EMULATOR_HOST": emulator_url}) as zygote:
        yield zygote
