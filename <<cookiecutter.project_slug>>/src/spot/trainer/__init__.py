"""Train with durable checkpoints and exact resume.

The public names load on first use: importing this package loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spot.trainer.data.cache import ObjectCache
    from spot.trainer.data.contract import Data
    from spot.trainer.data.order import Sample, part_of
    from spot.trainer.data.pinned import read_pinned
    from spot.trainer.runtime.errors import UsageError
    from spot.trainer.session import Session
    from spot.trainer.start import entry

__all__ = ["Data", "ObjectCache", "Sample", "Session", "UsageError", "entry", "part_of", "read_pinned"]

_MODULES = {
    "Data": "data.contract",
    "ObjectCache": "data.cache",
    "Sample": "data.order",
    "Session": "session",
    "UsageError": "runtime.errors",
    "entry": "start",
    "part_of": "data.order",
    "read_pinned": "data.pinned",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
