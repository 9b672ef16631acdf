"""What went wrong, as lines for a person and an exit code."""

from __future__ import annotations

from bucket.store import Denied as StoreDenied
from bucket.store import StoreError
from spot.cli import Exit
from spot.image import ImageError
from spot.ledger import LedgerError
from spot.settings import SettingsError
from spot.submit import SubmitError
from spot.vertex import Denied, VertexError


def explain(error: Exception) -> tuple[list[str], Exit] | None:
    """None for an error that nobody foresaw: its traceback is worth more than a line."""
    if isinstance(error, SettingsError):
        return list(error.lines), Exit.USAGE
    line = " ".join(str(error).split())
    if isinstance(error, LedgerError | SubmitError | ImageError | Denied | StoreDenied):
        return [line], Exit.USAGE
    if isinstance(error, VertexError | StoreError):
        return [f"{line}; nothing is lost, try again"], Exit.OPEN
    return None
