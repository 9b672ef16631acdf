"""Find the data of a run before it costs money, and compare them with those of the last run. No object is read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter

from spot.config.settings import DataSettings, Settings
from spot.core.errors import SpotError
from spot.core.format import clock, counted, hours
from spot.core.run import Run
from spot.storage.base import NotFound
from spot.storage.records import dataset
from spot.storage.records.dataset import Dataset
from spot.supervisor.training_status import GIVE_UP_S


class DataError(SpotError):
    """Report data that a run cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundData:
    """Hold the data that a run would read now, and those that the last run of the same `training.data` has read."""

    dataset: Dataset
    newest: datetime | None
    """When the newest object was written; None for the record of an earlier run."""
    last_run: str | None = None
    """The newest succeeded run with the same `training.data`."""
    last: Dataset | None = None

    @property
    def is_unchanged(self) -> bool:
        """Return whether the last run has read the same bytes by the same names."""
        return self.last is not None and self.last.content == self.dataset.content

    def __str__(self) -> str:
        newest = f", the newest of {clock(self.newest)}" if self.newest else ""
        return f"{counted(len(self.dataset.objects), 'object')}, {self.dataset.size / 1e6:.1f} MB{newest}"

    def findings(self, limits: DataSettings, now: datetime) -> list[str]:
        """Return why a run should not train on these data, one line each with the numbers."""
        found, size, count = self.dataset.uri, self.dataset.size, len(self.dataset.objects)
        lines = []
        if count < limits.min_objects:
            lines.append(f"{found} has {counted(count, 'object')}, and data.min_objects is {limits.min_objects}")
        if size < limits.min_bytes:
            lines.append(f"{found} has {counted(size, 'byte')}, and data.min_bytes is {limits.min_bytes}")
        if self.newest and limits.max_age_hours != "none" and now - self.newest > timedelta(hours=limits.max_age_hours):
            age = f"{hours(now - self.newest)} old, written {clock(self.newest)}"
            lines.append(f"the newest object of {found} is {age}, and data.max_age_hours is {limits.max_age_hours:g}")
        share = limits.min_share_of_last_run
        if self.last and size < share * self.last.size:
            lines.append(
                f"{found} has {counted(size, 'byte')}, {100 * size / self.last.size:.1f} % of the {self.last.size}"
                f" bytes of run {self.last_run}, and data.min_share_of_last_run is {share:g}"
            )
        return lines


def find(settings: Settings) -> FoundData | None:
    """Return the data that `training.data` names now; None for the sample in the image.

    Raises `DataError` if no data is named or none exists, `SpotError` if the bucket cannot be read.
    """
    if (uri := settings.training.get("data")) is None:
        raise DataError(
            "training.data is missing",
            fix='in spot.toml, set data = "gs://BUCKET/OBJECT", or data = "sample" to train on task/sample',
        )
    if not uri.startswith("gs://"):
        return None
    try:
        if dataset.is_record(uri):
            return FoundData(dataset=dataset.read(uri, give_up_s=GIVE_UP_S), newest=None)
        found, newest = dataset.find(uri, give_up_s=GIVE_UP_S)
    except (ValueError, NotFound) as error:
        raise DataError(f"--data {uri}: {error}") from error
    return FoundData(dataset=found, newest=newest)


def compared(found: FoundData, root: str, past: Iterable[Run]) -> FoundData:
    """Return the data with those of the newest of `past`, the succeeded runs, that read the same `training.data`."""
    for run in past:
        if run.spec.dataset and run.spec.flags.get("--data") == found.dataset.uri:
            last = dataset.read(f"{root}/{run.spec.dataset}", give_up_s=GIVE_UP_S)
            return replace(found, last_run=run.id, last=last)
    return found


_result = attrgetter("spec.sources", "spec.arguments", "spec.machine")


def repeats(run: Run, past: Sequence[Run], found: FoundData | None) -> str | None:
    """Return the last succeeded run if `run` would train the same model bit for bit.

    It would if data, sources of the image, configuration and machine are equal. Sources that are not known never are.
    """
    if not past or run.spec.sources is None or _result(run) != _result(past[0]) or (found and not found.is_unchanged):
        return None
    return past[0].id
