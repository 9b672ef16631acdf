"""Keep which model is in use: `champion.json`, one object with its history, changed by compare-and-swap only.

A serving process reads the newest promotion, then each file of its model in exactly that generation.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from spot.core import fields
from spot.core.evaluation import Number
from spot.storage.base import ABSENT, NotFound, Store, Written
from spot.storage.records import codec

NAME, FIX = "champion.json", "restore an earlier generation of it"
MOST = 100
"""Promotions that are kept."""


class PromotedBy(StrEnum):
    """Name what changed the champion."""

    GATE = "gate"
    PERSON = "person"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Record one change of the champion, with the model pinned."""

    number: fields.Count
    run: fields.Id
    at: datetime
    how: PromotedBy
    by: str
    reason: str
    score: Number | None
    """Of the metric that decides; None if the run measured none."""
    uri: fields.Root
    """Of the folder of the run."""
    model: Mapping[str, Written]
    """The files by name in that folder."""

    @property
    def pin(self) -> str:
        """Return the run with what identifies each file of its model, for `--champion` below the folder of models."""
        return f"{self.run}#{digest(self.model)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """Hold the promotions, newest first; none before the first one."""

    promotions: tuple[Promotion, ...] = ()

    @property
    def now(self) -> Promotion | None:
        """Return the promotion of the model in use."""
        return self.promotions[0] if self.promotions else None

    @property
    def run(self) -> str | None:
        """Return the run that trained the model in use."""
        return self.now.run if self.now else None

    def promotion_of(self, run: str) -> Promotion | None:
        return next((one for one in self.promotions if one.run == run), None)

    def previous(self) -> Promotion | None:
        """Return the promotion to go back to: the newest of another run whose use did not end by a rollback."""
        known = {self.run}
        for newer, older in pairwise(self.promotions):
            if older.run not in known and newer.how is not PromotedBy.ROLLBACK:
                return older
            known.add(older.run)
        return None


def digest(model: Mapping[str, Written]) -> str:
    """Return a checksum of the names, generations, sizes and checksums of the files of a model."""
    lines = (f"{name} {one.generation} {one.size} {one.crc32c}\n" for name, one in sorted(model.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read(store: Store) -> tuple[Champion, int]:
    """Return the champion and the generation of its record. Raises `Damaged` or `NewerFormat`."""
    try:
        return codec.read(Champion, store, NAME, "a record of promotions", FIX)
    except NotFound:
        return Champion(), ABSENT


def write(store: Store, before: Champion, generation: int, new: Promotion) -> Champion:
    """Make `new` the newest promotion. Raises `Conflict` if the record changed since `before` was read."""
    number = before.now.number + 1 if before.now else 1
    after = Champion(promotions=(replace(new, number=number), *before.promotions)[:MOST])
    store.write(NAME, codec.encode(after), if_generation=generation)
    return after
