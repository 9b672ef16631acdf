"""Test that the documented loop of one's own trains, averages and exports on several ranks as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.machinery.trainer.test_real_tasks import extract_loop

pytestmark = pytest.mark.ranks


def test_the_documented_loop_exports_the_same_whole_weights_sharded_and_replicated(tmp_path: Path) -> None:
    extract_loop(tmp_path)
    flags = ("--ranks", "2", "--steps", "6", "--batch-size", "8")
    exported = []
    for parallel in ("fsdp", "ddp"):
        done = subprocess.run(
            (sys.executable, "-m", "task", *flags, "--parallel", parallel, "--run", parallel),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        exported.append(load_file(tmp_path / f"output/models/{parallel}/model/model.safetensors"))
    sharded, replicated = exported
    assert sharded.keys() == replicated.keys()
    for name, tensor in sharded.items():
        torch.testing.assert_close(tensor, replicated[name], atol=1e-3, rtol=0)
