"""Test what the trainer imports: no torch before training, and no package that the image lacks."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import spot.trainer
from tests.paths import PROJECT

LISTED = "import sys, json; print(*sorted(name for name in sys.modules if name.split('.')[0] in {'spot', 'torch'}))"


def loaded(*modules: str) -> set[str]:
    """Return the modules of spot and torch in a fresh interpreter that has imported these."""
    code = f"import {', '.join(modules)}; {LISTED}"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["spot.trainer", "spot.trainer.main", "spot.trainer.uploader.worker"])
def test_no_torch_is_loaded_before_training(module: str) -> None:
    assert "torch" not in loaded(module)


def test_every_public_name_of_the_trainer_can_be_imported() -> None:
    names = "Data, ObjectCache, Sample, Session, UsageError, entry, part_of, read_pinned"
    assert spot.trainer.__all__ == names.split(", ")
    assert all(getattr(spot.trainer, name) for name in spot.trainer.__all__)


def test_the_image_holds_exactly_the_packages_that_training_imports() -> None:
    modules = loaded("spot.trainer.loop", "spot.trainer.uploader.worker", "spot.storage.gcs", "spot.storage.local")
    imported = {name.split(".")[1] for name in modules if name.startswith("spot.")}
    kept = re.findall(r"! -name (\w+) ", (PROJECT / "Dockerfile").read_text())
    assert set(kept) == imported


def test_the_signals_are_taken_over_before_anything_slow_is_imported() -> None:
    code = "import sys; from spot.trainer import entry; print(*sorted(n for n in sys.modules if n.startswith('spot.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "spot.trainer.runtime.signals" in loaded
    assert not any(name.startswith(("spot.storage", "spot.trainer.main")) for name in loaded), loaded
