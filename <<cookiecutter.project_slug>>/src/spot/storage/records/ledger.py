"""The ledger: one object per run in the bucket, the only state there is. Every write is a compare-and-swap.

An open run lies under `runs/open/`, which is all that a pass of reconcile lists; a closed one under
`runs/closed/<yyyy>/<mm>/`, by the month in its id, or else by that of its submit. A run is closed in its open object
first and moved then, so that a crash between the two is repaired by whoever comes next.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from spot.core.errors import SpotError
from spot.core.fields import ID
from spot.core.run import Run, RunState
from spot.storage.base import ABSENT, Conflict, Damaged, NewerFormat, NotFound, Store

FORMAT = 1
OPEN = "runs/open/"
CLOSED = "runs/closed/"


class UnknownRun(SpotError):
    """Report a run that does not exist."""


class InvalidRunId(SpotError):
    """Report an invalid run id."""


class RunExists(SpotError):
    """Report a run id that is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run as it was read, and the generation that a write of it rests on."""

    run: Run
    generation: int


class Ledger:
    """The runs below `store`."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def uri(self) -> str:
        return self.store.uri

    def create(self, run: Run) -> Record:
        """Raises `RunExists` if there is a run of this id, open or closed."""
        if self._closed_name(run.id) is not None:
            raise RunExists(f"run {run.id} exists and has ended: choose another --run, or none")
        try:
            written = self.store.write(_open_name(run.id), encode(run), if_generation=ABSENT)
        except Conflict as error:
            raise RunExists(f"run {run.id} exists already: spot status {run.id}") from error
        return Record(run=run, generation=written.generation)

    def write(self, record: Record, run: Run) -> Record:
        """`run` in the place of `record`. Raises `Conflict` if somebody else wrote since it was read."""
        if run == record.run:
            return record
        written = self.store.write(_open_name(run.id), encode(run), if_generation=record.generation)
        return Record(run=run, generation=written.generation)

    def open_ids(self) -> list[str]:
        """The runs that have not ended, or whose end has not been filed yet."""
        names = (entry.name for entry in self.store.list(OPEN))
        return [name.removeprefix(OPEN).removesuffix(".json") for name in names if name.endswith(".json")]

    def read(self, run_id: str) -> Record:
        """An open run. Raises `UnknownRun`, `Damaged` or `NewerFormat`."""
        return self._read(_open_name(run_id), run_id)

    def find(self, run_id: str) -> Record:
        """An open or a closed run. Raises the same."""
        try:
            return self.read(run_id)
        except UnknownRun:
            name = self._closed_name(run_id)
            if name is None:
                raise UnknownRun(
                    f"there is no run {run_id} in {self.uri}: spot status lists the open ones,"
                    f" the others lie in {self.uri}/runs/closed"
                ) from None
            return self._read(name, run_id)

    def closed_since(self, since: datetime, now: datetime) -> list[str]:
        """The names of the closed runs of every month from that of `since` to that of `now`, for `read_closed`."""
        names, month = list[str](), since.astimezone(UTC).replace(day=1)
        while (month.year, month.month) <= (now.astimezone(UTC).year, now.astimezone(UTC).month):
            names += [entry.name for entry in self.store.list(f"{CLOSED}{month:%Y/%m}/")]
            month = (month + timedelta(days=31)).replace(day=1)
        return [name for name in names if name.endswith(".json")]

    def read_closed(self, name: str) -> Run:
        """Raises `UnknownRun`, `Damaged` or `NewerFormat`."""
        return self._read(name, name.rpartition("/")[2].removesuffix(".json")).run

    def file(self, record: Record) -> None:
        """Move a run that has ended out of the open ones. Doing so again, or after a crash, changes nothing."""
        run = record.run
        if run.state is RunState.OPEN:
            raise ValueError(f"run {run.id} is open")
        name = f"{CLOSED}{month_of(run.id) or f'{run.submitted_at:%Y/%m}'}/{run.id}.json"
        try:
            self.store.write(name, encode(run), if_generation=ABSENT)
        except Conflict:  # filed before, unless somebody chose the id of a run that has ended
            if self._read(name, run.id).run != run:
                raise RunExists(
                    f"{self.uri}/{name} is another run of the same id: move one of them away by hand"
                ) from None
        self.store.delete(_open_name(run.id))

    def _closed_name(self, run_id: str) -> str | None:
        ending = f"/{_checked(run_id)}.json"
        month = month_of(run_id)
        where = f"{CLOSED}{month}{ending}" if month else CLOSED
        return next((entry.name for entry in self.store.list(where) if entry.name.endswith(ending)), None)

    def _read(self, name: str, run_id: str) -> Record:
        try:
            found = self.store.read(name)
        except NotFound as error:
            raise UnknownRun(f"there is no open run {run_id} in {self.uri}") from error
        run = decode(found.data, f"{self.uri}/{name}")
        if run.id != run_id:
            raise Damaged(f"{self.uri}/{name} holds run {run.id}: move it away by hand")
        return Record(run=run, generation=found.generation)


def encode(run: Run) -> bytes:
    """The record of a run as it is stored."""
    values: dict[str, Any] = _adapter().dump_python(run, mode="json")
    return json.dumps({"format": FORMAT, **values}, indent=1).encode()


def decode(data: bytes, name: str) -> Run:
    """Raises `Damaged` or `NewerFormat`, naming the object."""
    from pydantic import ValidationError

    try:
        values = json.loads(data)
        found = values.pop("format")
        if type(found) is not int or found < 1:
            raise TypeError(f"format is {found!r}")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Damaged(f"{name} is no record of a run ({_line(error)}): restore it, or move it away by hand") from error
    if found > FORMAT:
        raise NewerFormat(f"{name} has format {found}, this program reads up to {FORMAT}: use a newer version of spot")
    try:
        run: Run = _adapter().validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}"
        raise Damaged(f"{name} is no record of a run ({reason}): restore it, or move it away by hand") from error
    if _has_naive_time(_adapter().dump_python(run)):
        raise Damaged(
            f"{name} is no record of a run (a time has no offset from UTC): restore it, or move it away by hand"
        )
    return run


def _has_naive_time(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_naive_time, value.values()))
    if isinstance(value, tuple):
        return any(map(_has_naive_time, value))
    return isinstance(value, datetime) and value.tzinfo is None


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter  # a tenth of a second that `spot --help` need not pay

    return TypeAdapter(Run)


def month_of(run_id: str) -> str | None:
    """`<yyyy>/<mm>` of an id that begins with its day, as ours do."""
    match = re.match(r"(\d{4})(\d{2})\d{2}-", run_id)
    return f"{match[1]}/{match[2]}" if match else None


def _open_name(run_id: str) -> str:
    return f"{OPEN}{_checked(run_id)}.json"


def _checked(run_id: str) -> str:
    if not ID.fullmatch(run_id):
        raise InvalidRunId(f"{run_id!r} is no id of a run: 1 to 63 of a-z, 0-9, _ and -, a letter or digit first")
    return run_id


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
