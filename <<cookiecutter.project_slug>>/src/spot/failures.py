"""What went wrong, as lines for a person and an exit code."""

from __future__ import annotations

from bucket.store import Damaged, StoreError
from bucket.store import Denied as StoreDenied
from spot.catalog import CatalogError
from spot.cli import Exit
from spot.google_api import GoogleApiError
from spot.image import ImageError, ImageNotChecked
from spot.ledger import LedgerError
from spot.price_table import PriceError
from spot.report import ReportError
from spot.settings import SettingsError
from spot.submit import SubmitError
from spot.traces import TraceError
from spot.vertex import Denied, VertexError

AGAIN = "nothing is lost, try again"


def explain(error: Exception) -> tuple[list[str], Exit] | None:
    """None for an error that nobody foresaw: its traceback is worth more than a line."""
    if isinstance(error, SettingsError):
        return list(error.lines), Exit.USAGE
    line = " ".join(str(error).split())
    if isinstance(error, ImageNotChecked) and _no_answer(error.__cause__):
        return [f"{line}; {AGAIN}"], Exit.OPEN
    if isinstance(error, CatalogError):
        return [line], Exit.OPEN if error.passing else Exit.USAGE
    if isinstance(
        error,
        ReportError | PriceError | LedgerError | SubmitError | TraceError | ImageError | Denied | StoreDenied | Damaged,
    ):
        return [line], Exit.USAGE
    if isinstance(error, VertexError | StoreError):
        return [f"{line}; {AGAIN}"], Exit.OPEN
    return None


def _no_answer(cause: BaseException | None) -> bool:
    return isinstance(cause, GoogleApiError) and cause.status is None and not cause.fix
