"""Keep the ledger: one object per run in the bucket, changed by compare-and-swap only.

An open run is `runs/open/<run>.json`; a reconcile lists these objects only. A closed run is
`runs/closed/<yyyy>/<mm>/<run>.json`, by the date in its id. A run is closed in its open object and then moved, so that
the next reconcile repairs a crash between the two.
"""

import contextlib
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spot.core.errors import SpotError
from spot.core.fields import ID, ID_ALLOWED, shown
from spot.core.run import Run, RunState
from spot.storage.base import ABSENT, Conflict, Damaged, NewerFormat, NotFound, Store
from spot.storage.records import codec
from spot.storage.records.codec import encode

OPEN = "runs/open/"
CLOSED = "runs/closed/"
READERS = 8
OLDEST_ID = timedelta(days=31)
"""The oldest date in the id of a new run. GitHub allows a workflow run to be run again for 30 days."""

_log = logging.getLogger(__name__)


class UnknownRun(SpotError):
    """Report a run that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Hold a run as it was read. A write requires that `generation` is still the newest."""

    run: Run
    generation: int


class Ledger:
    """Read and write the runs below `store`. Reads raise `UnknownRun`, `Damaged` or `NewerFormat`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def uri(self) -> str:
        return self.store.uri

    def create(self, run: Run) -> Record:
        """Record a new run. Raises `SpotError` if its id is taken by an open or a closed run."""
        closed = _closed_name(run.id)
        if any(entry.name == closed for entry in self.store.list(closed)):
            raise SpotError(f"run {run.id} exists and has ended: choose another --run, or none")
        try:
            written = self.store.write(_open_name(run.id), encode(run), if_generation=ABSENT)
        except Conflict as error:
            raise SpotError(f"run {run.id} exists already: spot status {run.id}") from error
        return Record(run=run, generation=written.generation)

    def write(self, record: Record, run: Run) -> Record:
        """Replace `record` by `run`. Raises `Conflict` if another process wrote since the read."""
        if run == record.run:
            return record
        written = self.store.write(_open_name(run.id), encode(run), if_generation=record.generation)
        return Record(run=run, generation=written.generation)

    def open_ids(self) -> list[str]:
        """Return the ids of all runs that are open or not moved yet."""
        names = [entry.name.removeprefix(OPEN) for entry in self.store.list(OPEN)]
        ids = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        for other in (name for name in ids if not ID.fullmatch(name)):
            _log.warning("%s/%s%s.json is not the record of a run: move it away", self.uri, OPEN, shown(other))
        return [name for name in ids if ID.fullmatch(name)]

    def read(self, run_id: str) -> Record:
        return self._read(_open_name(run_id), run_id)

    def find(self, run_id: str) -> Record:
        with contextlib.suppress(UnknownRun):
            return self.read(run_id)
        try:
            return self._read(_closed_name(run_id), run_id)
        except UnknownRun as error:
            where = f"spot status lists the open runs, {self.uri}/{CLOSED} has the closed ones"
            raise UnknownRun(f"there is no run {run_id} in {self.uri}: {where}") from error

    def find_or_none(self, run_id: str) -> Run | None:
        try:
            return self.find(run_id).run
        except UnknownRun:
            return None

    def closed_since(self, since: datetime, now: datetime) -> list[str]:
        """Return the object names of all closed runs from the month of `since` to the month of `now`."""
        names, month = list[str](), since.astimezone(UTC).replace(day=1)
        while (month.year, month.month) <= (now.astimezone(UTC).year, now.astimezone(UTC).month):
            names += [entry.name for entry in self.store.list(f"{CLOSED}{month:%Y/%m}/")]
            month = (month + timedelta(days=31)).replace(day=1)
        return [name for name in names if name.endswith(".json")]

    def read_closed(self, name: str) -> Run:
        run_id = name.rpartition("/")[2].removesuffix(".json")
        if name != _closed_name(run_id):
            raise Damaged(f"{self.uri}/{shown(name)} is not the name of a closed run: move it away")
        return self._read(name, run_id).run

    def submitted_since(self, since: datetime, now: datetime) -> tuple[list[Run], list[str]]:
        """Return the closed runs submitted since then, oldest first, and why others cannot be read.

        Raises `SpotError` if they cannot be listed.
        """
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(self._closed_or_reason, self.closed_since(since - OLDEST_ID, now)))
        runs = [run for run in read if isinstance(run, Run) and run.submitted_at >= since]
        reasons = [reason for reason in read if isinstance(reason, str)]
        return sorted(runs, key=lambda run: (run.submitted_at, run.id)), reasons

    def _closed_or_reason(self, name: str) -> Run | str:
        try:
            return self.read_closed(name)
        except (Damaged, NewerFormat, UnknownRun) as error:
            return str(error)

    def file(self, record: Record) -> None:
        """Move an ended run to the closed runs. Idempotent, also after a crash."""
        run = record.run
        if run.state is RunState.OPEN:
            raise ValueError(f"run {run.id} is open: close it first")
        name = _closed_name(run.id)
        try:
            self.store.write(name, encode(run), if_generation=ABSENT)
        except Conflict:
            if self._read(name, run.id).run != run:
                raise SpotError(f"{self.uri}/{name} is another run of the same id: move one of them away") from None
        self.store.delete(_open_name(run.id))

    def _read(self, name: str, run_id: str) -> Record:
        try:
            found = self.store.read(name)
        except NotFound as error:
            raise UnknownRun(f"there is no open run {run_id} in {self.uri}") from error
        run = decode(found.data, f"{self.uri}/{name}")
        if run.id != run_id:
            raise Damaged(f"{self.uri}/{name} holds run {run.id}: move it away")
        return Record(run=run, generation=found.generation)


def decode(data: bytes, name: str) -> Run:
    """Return the run of a record. Raises `Damaged` or `NewerFormat` with the name of the object."""
    return codec.decode(Run, data, name, "the record of a run", "restore it, or move it away")


def _open_name(run_id: str) -> str:
    return f"{OPEN}{_checked(run_id)}.json"


def _closed_name(run_id: str) -> str:
    """Return the name by the date in the id, which `spot submit` requires; a rehearsal has none."""
    match = re.match(r"(\d{4})(\d{2})\d{2}-", run_id)
    return f"{CLOSED}{f'{match[1]}/{match[2]}' if match else 'undated'}/{_checked(run_id)}.json"


def _checked(run_id: str) -> str:
    if not ID.fullmatch(run_id):
        raise Damaged(f"{run_id!r} is not the id of a run: expected {ID_ALLOWED}")
    return run_id
