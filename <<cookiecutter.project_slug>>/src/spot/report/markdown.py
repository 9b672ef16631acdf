"""Markdown of which no part can be more than text, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence


def plain(text: object) -> str:
    """`text` on one line, in which Markdown and HTML mean nothing."""
    line = " ".join(str(text).split())
    return re.sub(r"[\\`*_{}\[\]<>#|!~@&$]", lambda match: f"&#{ord(match[0])};", line)


def code(text: str) -> str:
    """`text` on one line as inline code, whatever it holds."""
    return f"<code>{plain(text)}</code>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The cells are Markdown already. A head that begins with `>` is that of numbers."""
    lines = [
        [name.lstrip(">") for name in head],
        ["---:" if name.startswith(">") else "---" for name in head],
        *rows,
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
