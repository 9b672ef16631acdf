"""Prepare what the tests share: your task, loaded as the trainer loads it."""

import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch loads: sums then have one order on every machine

import pytest
from torch.utils.data import default_collate

from spot.config.load import load as load_settings
from spot.config.settings import Settings
from spot.trainer import Data, Sample
from spot.trainer.data.contract import Batch, Samples
from spot.trainer.runtime.flags import Flags, parse

ROOT = Path(__file__).parents[1]


def module_of(parameter: str) -> Any:
    """Import the module that task/__main__.py passes to `entry`, None if it passes none."""
    text = (ROOT / "task/__main__.py").read_text(encoding="utf-8")
    name = re.search(rf'\b{parameter}\s*=\s*"([\w.]+)"', text)
    return importlib.import_module(name[1]) if name else None


TASK_MODEL = module_of("model")
"""None with a loop of your own: it need not have the functions that test_model.py tests."""
TASK_DATA: Any = module_of("data") or (
    importlib.import_module("task.data") if (ROOT / "task/data.py").exists() else None
)
collect_ignore = [
    *(["test_model.py"] if TASK_MODEL is None else []),
    *(["test_data.py"] if TASK_MODEL is None and not hasattr(TASK_DATA, "load") else []),
]


def flags(*more: str) -> Flags:
    """Return the flags of spot.toml, and more of them."""
    config = module_of("config")
    arguments = load_settings(ROOT / "spot.toml").arguments()
    return parse([*arguments, *more], {}, config.Config if config else None)


def load_sample() -> Data:
    """Return the sample of your data in task/sample/."""
    assert callable(getattr(TASK_DATA, "load", None)), "task/data.py defines no function load(config, uri)"
    data = TASK_DATA.load(flags().config, "sample")
    assert isinstance(data, Data), f"load() of task/data.py returns a {type(data).__name__}: return Data(...)"
    return data


def batch_of(data: Data, samples: Samples, visits: Sequence[Sample]) -> Batch:
    """Return these samples as the training loop sees them."""
    return (data.collate or default_collate)([samples[visit] for visit in visits])


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def environ() -> dict[str, str]:
    """Return the environment of a trainer on this machine, without the variables that Vertex AI sets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIP_")}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Return the settings of spot.toml."""
    return load_settings(ROOT / "spot.toml")


@pytest.fixture(scope="session")
def data() -> Data:
    return load_sample()
