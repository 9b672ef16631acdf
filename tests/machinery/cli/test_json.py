"""Test that docs/json.md lists the keys of every verb's `--json`, and that each document has the version."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from spot.cli.console import SCHEMA_VERSION
from spot.cli.main import main
from tests.machinery.cli.test_models import A, B, train
from tests.machinery.desk import WEEKLY, Desk
from tests.machinery.promotion.trained import better
from tests.paths import PROJECT

PAGE = (PROJECT / "docs" / "json.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<command>spot [^`]+)`(?:, `(?P<part>[^`]+)`)? \| (?P<keys>.*) \|$", re.MULTILINE)
NOT_HERE = {"rehearse": "tests/machinery/demo", "export": "tests/machinery/cli/test_runs.py"}
"""Verbs whose documents other tests make."""


def documented() -> dict[str, dict[str, set[str]]]:
    """Return the keys by command and part; the part of a whole document is empty."""
    found: dict[str, dict[str, set[str]]] = {}
    for row in ROW.finditer(PAGE):
        found.setdefault(row["command"], {})[row["part"] or ""] = set(re.findall(r"`(\w+)`", row["keys"]))
    return found


def parts(document: Any, path: str) -> Iterator[Any]:
    """Yield each value at a path as `runs[].actions[]`."""
    head, _, rest = path.partition(".")
    values = document[head.removesuffix("[]")]
    for value in values if head.endswith("[]") else [values]:
        if rest:
            yield from parts(value, rest)
        else:
            yield value


def untouched(desk: Desk) -> None: ...


def open_run(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.checkpoint(WEEKLY, 10, 100)


def failed_run(desk: Desk) -> None:
    desk.submit(WEEKLY)
    desk.checkpoint(WEEKLY, 10, 100)
    desk.fail(WEEKLY)
    assert desk.spot("reconcile", WEEKLY).code == 1


def data_in_the_bucket(desk: Desk) -> None:
    desk.put("data/0", b"x")
    desk.settings({"training.data": f'"{desk.root}/data/"'})


def two_models(desk: Desk) -> None:
    train(desk, A, better(A, None))
    train(desk, B, better(B, A))


WAYS: dict[str, tuple[Callable[[Desk], None], str]] = {
    "spot submit": (untouched, f"submit --run {WEEKLY}"),
    "spot submit --dry-run": (untouched, f"submit --run {WEEKLY} --dry-run"),
    "spot resume": (failed_run, f"resume {WEEKLY}"),
    "spot reconcile": (open_run, "reconcile"),
    "spot watch": (failed_run, f"watch {WEEKLY}"),
    "spot status": (open_run, "status"),
    "spot status RUN": (open_run, f"status {WEEKLY}"),
    "spot cancel": (open_run, f"cancel {WEEKLY}"),
    "spot logs": (open_run, f"logs {WEEKLY}"),
    "spot models": (two_models, "models"),
    "spot champion": (two_models, "champion"),
    "spot promote": (two_models, f"promote {A} --reason demonstration"),
    "spot rollback": (two_models, "rollback --reason demonstration"),
    "spot report RUN": (failed_run, f"report {WEEKLY}"),
    "spot report --since": (failed_run, "report --since 1d"),
    "spot prices": (untouched, "prices"),
    "spot estimate": (untouched, "estimate"),
    "spot forecast": (untouched, "forecast --replays 3"),
    "spot data": (data_in_the_bucket, "data"),
    "spot doctor": (untouched, "doctor"),
    "spot verify-live": (untouched, "verify-live"),
}


@pytest.mark.parametrize("command", WAYS)
def test_the_page_lists_exactly_the_keys_of_the_document(desk: Desk, command: str) -> None:
    prepare, words = WAYS[command]
    prepare(desk)
    said = desk.spot(*words.split(), "--json")
    document = json.loads(said.out)
    assert document.pop("schema_version") == SCHEMA_VERSION
    for part, keys in documented()[command].items():
        found = list(parts(document, part)) if part else [document]
        assert found
        assert all(set(one) <= keys for one in found)
        assert set().union(*found) == keys, part


def test_the_page_has_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    verbs = set(re.findall(r"^    ([a-z][a-z-]+)(?:  |$)", capsys.readouterr().out, re.MULTILINE))
    assert {command.split()[1] for command in documented()} == verbs
    assert {command.split()[1] for command in WAYS} | NOT_HERE.keys() == verbs


def test_the_page_states_the_version() -> None:
    assert f"`schema_version` is {SCHEMA_VERSION}" in PAGE
