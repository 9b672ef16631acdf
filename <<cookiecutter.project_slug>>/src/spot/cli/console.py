"""Write to standard output: tables as wide as the terminal, wide lines in a log, JSON for programs."""

import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment

from spot.core.errors import SpotError
from spot.core.fields import terminal
from spot.core.format import plain

SCHEMA_VERSION = 1
"""Of the keys in docs/json.md: a later version may remove or change keys. Added keys do not change it."""
WIDE = 160
"""Columns outside a terminal."""


class _Console(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Replace control characters: texts of Vertex AI and of the bucket must not steer a terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(terminal(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise, because rich would exit with the code of a failed run."""
        raise BrokenPipeError


def show(document: Mapping[str, Any], parts: Sequence[RenderableType], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(f"{json.dumps(versioned(document), indent=1)}\n")
    else:
        write(*parts)


def versioned(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document for JSON with the version of its keys."""
    return {"schema_version": SCHEMA_VERSION, **plain(document)}


def write(*parts: RenderableType) -> None:
    """Write parts below each other. Strings are not wrapped, so that commands can be copied whole."""
    console = _console()
    with console.capture() as caught:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in caught.get().splitlines())


def svg(parts: Sequence[RenderableType], width: int) -> str:
    """Return parts as an SVG file that asks no network for anything."""
    console = _console(file=io.StringIO(), record=True, width=width)
    console.print(*parts, sep="\n")
    return re.sub(r"@font-face {.*?}", "", console.export_svg(title="spot"), flags=re.DOTALL)


def save(path: Path, flag: str, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpotError(f"{flag} {str(path)!r} cannot be written: {error.strerror}") from error


def on_terminal() -> bool:
    return sys.stdout.isatty() and not _console().is_dumb_terminal


def columns() -> int:
    return _console().width


@contextlib.contextmanager
def in_place() -> Iterator[Callable[[RenderableType], None]]:
    """Show each part in the place of the previous one, and log only errors meanwhile."""
    with Live(console=_console(), auto_refresh=False) as live:
        logging.disable(logging.WARNING)
        try:
            yield lambda part: live.update(part, refresh=True)
        finally:
            logging.disable(logging.NOTSET)


def _console(**options: Any) -> Console:
    options = {"width": None if sys.stdout.isatty() else WIDE, **options}
    return _Console(highlight=False, markup=False, emoji=False, **options)  # messages of Vertex AI are shown verbatim
