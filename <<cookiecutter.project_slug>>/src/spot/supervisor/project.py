"""The project that a command is given in: its settings, and where its runs are recorded."""

from __future__ import annotations

import os
from argparse import Namespace

from spot.config.settings import Settings, load
from spot.storage.factory import open_store
from spot.storage.gcs import EMULATOR
from spot.storage.records.ledger import Ledger

GIVE_UP_S = 30.0
"""A person waits for an answer for so long; the trainer is more patient."""


def settings_of(options: Namespace) -> Settings:
    """Those of `--settings`, by which the storage client goes as well."""
    settings = load(options.settings)
    if settings.cloud.storage_endpoint:
        os.environ.setdefault(EMULATOR, settings.cloud.storage_endpoint)
    return settings


def ledger_of(settings: Settings) -> Ledger:
    return Ledger(open_store(settings.root, give_up_s=GIVE_UP_S))
