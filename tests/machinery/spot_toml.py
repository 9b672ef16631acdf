"""Hold a valid spot.toml and change single keys of it."""

from __future__ import annotations

import re

GOOD = """\
name = "Churn"
[cloud]
project = "acme-ml"
regions = ["us-central1", "us-east4"]
bucket = "acme-ml-training"
prefix = "churn"
[machine]
type = "g2-standard-8"
accelerator = "NVIDIA_L4"
accelerator_count = 1
[policy]
deadline_hours = 12
work_hours = 1
[training]
epochs = 20
data = "sample"
patience = 5
enable-checkpointing = true
checkpoint-interval = "auto"
"""


def changed(key: str, value: str | None, text: str = GOOD) -> str:
    """Set a dotted key to `value`, written as TOML; None removes the key."""
    table, _, name = key.rpartition(".") if not key.endswith('"') else key.partition(".")
    head, body, tail = _around(table, text)
    body = re.sub(rf"(?m)^{re.escape(name)} = .*\n", "", body)
    if not table:
        tail = re.sub(rf"(?m)^\[{re.escape(name)}\]\n(?:[^\[].*\n)*", "", tail)
    return f"{head}{body}{'' if value is None else f'{name} = {value}' + chr(10)}{tail}"


def _around(table: str, text: str) -> tuple[str, str, str]:
    """Split `text` into head, lines of the table, and tail; add the table if it is missing."""
    start = re.search(rf"(?m)^\[{re.escape(table)}\]\n", text)
    begin = start.end() if start else len(text) if table else 0
    head = text[:begin] if start or not table else f"{text}[{table}]\n"
    rest = text[begin:]
    end = re.search(r"(?m)^\[", rest)
    at = end.start() if end else len(rest)
    return head, rest[:at], rest[at:]
