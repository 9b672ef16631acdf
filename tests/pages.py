"""Read the examples of the project's pages, and put one into a copy of the project."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.paths import PROJECT

PARTS = re.compile(r"^#+ (?P<heading>[^\n]*)$|^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLE = "sample"
"""The name of the command that writes the sample."""


def examples(page: str) -> list[dict[str, str]]:
    """Return the files of each example of docs/`page`, the tables of spot.toml, and the command for the sample."""
    found: list[dict[str, str]] = [{}]
    named = None
    for part in PARTS.finditer((PROJECT / "docs" / page).read_text(encoding="utf-8")):
        heading, kind, text = part.group("heading", "kind", "text")
        if heading:
            match = re.search(r"`(task/\w+\.py)`", heading)
            named = match[1] if match else None
            continue
        name = {"python": named, "toml": "spot.toml" * ("[model]" in text), "bash": SAMPLE * ("task/sample" in text)}
        if chosen := name.get(kind):
            if chosen in found[-1]:
                found.append({})
            found[-1][chosen] = text
    return found


def put(example: Mapping[str, str], folder: Path) -> None:
    """Put an example into a project, as the page says."""
    for old in ("task/model.py", "task/sample/digits.safetensors"):
        (folder / old).unlink(missing_ok=True)
    for name, text in example.items():
        path = folder / name
        if name == SAMPLE:
            script = text.replace("python -", f"{sys.executable} -")
            subprocess.run(["bash", "-euc", script], cwd=folder, check=True)
        elif name == "spot.toml":
            kept, _, _ = path.read_text(encoding="utf-8").partition("[model]")
            path.write_text(kept + text, encoding="utf-8")
        else:
            path.write_text(text, encoding="utf-8")
