"""Standard output: a terminal is as wide as it is, a log is wide; and programs get JSON."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.live import Live

WIDE = 160
"""Columns where nobody sees an edge: in a log of CI, in a file."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Left to itself, rich would end the process with the exit code of a run that failed."""
        raise BrokenPipeError


def write(*parts: RenderableType) -> None:
    """Each part below the one before it. Text is not broken into lines, so that what is copied is whole."""
    console = _console()
    with console.capture() as caught:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in caught.get().splitlines())


def write_json(document: object) -> None:
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


def on_terminal() -> bool:
    """Whether somebody looks at it who can be shown things in place."""
    return sys.stdout.isatty() and not _console().is_dumb_terminal


def columns() -> int:
    """How wide standard output is."""
    return _console().width


@contextlib.contextmanager
def in_place() -> Iterator[Callable[[RenderableType], None]]:
    """Show one thing in the place of the one before it."""
    active = Live(console=_console(), auto_refresh=False, redirect_stderr=sys.stderr.isatty())
    with active, _only_warnings():
        yield lambda part: active.update(part, refresh=True)


@contextlib.contextmanager
def _only_warnings() -> Iterator[None]:
    """Decisions are in the view already; what else is logged to the same terminal must go above it, not through it."""
    root = logging.getLogger()
    level, handlers = root.level, [item for item in root.handlers if isinstance(item, logging.StreamHandler)]
    before = [(handler, handler.stream) for handler in handlers]
    root.setLevel(logging.WARNING)
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler, stream in before:
            handler.setStream(stream)


def _console() -> Console:
    console = _Console(highlight=False, markup=False, emoji=False)  # what Vertex AI said is shown as it was said
    if not sys.stdout.isatty():
        console.width = WIDE
    return console
