"""Test that the example in the documentation trains and resumes as shown."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import PROJECT, SRC


@pytest.mark.processes
def test_the_example_that_replaces_model_and_data_trains_and_resumes(tmp_path: Path) -> None:
    text = (PROJECT / "docs/bring-your-model.md").read_text(encoding="utf-8")
    model, data = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shutil.copytree(PROJECT / "task", tmp_path / "task", ignore=shutil.ignore_patterns("__pycache__", "sample"))
    (tmp_path / "task/model.py").write_text(model, encoding="utf-8")
    (tmp_path / "task/data.py").write_text(data, encoding="utf-8")
    chance = random.Random(0)
    rows = [[chance.gauss(0, 1) for _ in range(3)] for _ in range(200)]
    table = "\n".join(",".join(map(str, [*row, sum(row)])) for row in rows)
    (tmp_path / "table.csv").write_text(table)
    command = [sys.executable, "-m", "task", "--data", "table.csv", "--batch-size", "20"]
    command += ["--epochs", "150", "--checkpoint-interval", "0.1", "--log-interval", "0.01"]
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    first = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    assert first.stdout
    assert any("checkpoint durable" in line for line in first.stdout)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 143
    first.stdout.close()
    again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resumed" in again.stdout
    metrics = json.loads((tmp_path / "output/models/default/metrics.json").read_text())
    assert metrics["final"]["within_half"] > 0.9
