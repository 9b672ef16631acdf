"""Identify the run, attempt, start, settings and data that a checkpoint belongs to."""

from dataclasses import asdict, dataclass
from datetime import datetime

from spot.storage.paths import Commit
from spot.storage.records.manifest import FORMAT, DataObject, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Hold the manifest fields that all checkpoints of one start share."""

    run: str
    attempt: str
    start: int
    config: dict[str, Json]
    data: tuple[DataObject, ...]

    def draft(self, token: int, restored: Commit | None, saving_s: float, now: datetime) -> dict[str, Json]:
        """Return the manifest of a checkpoint taken at `now`, without its parts and progress fields."""
        return {
            "format": FORMAT,
            "run": self.run,
            "attempt": self.attempt,
            "start": self.start,
            "token": token,
            "from_step": restored.step if restored else 0,
            "from_token": restored.token if restored else 0,
            "saving_seconds": round(saving_s, 3),
            "config": self.config,
            "data": [asdict(item) for item in self.data],
            "shards": [],
            "time": now.isoformat(),
        }
