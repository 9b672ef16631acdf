"""What went wrong, as lines for a person and an exit code."""

from __future__ import annotations

from spot.cli.main import Exit
from spot.cli.report import ReportError
from spot.config.settings import SettingsError
from spot.google.registry import ImageError, ImageNotChecked
from spot.google.rest import GoogleApiError
from spot.google.vertex import Denied, VertexError
from spot.pricing.refresh import CatalogError
from spot.pricing.table import PriceError
from spot.simulation.traces import TraceError
from spot.storage.base import Damaged, StoreError
from spot.storage.base import Denied as StoreDenied
from spot.storage.records.ledger import LedgerError
from spot.supervisor.submit import SubmitError

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
