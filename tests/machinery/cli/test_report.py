"""Test `spot report` at the command line, against a bucket."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spot.accounting.phases import Phase
from spot.cli.report import gather
from spot.core.errors import Exit, TemporarilyUnavailable
from spot.core.run import Run, RunState
from spot.storage.base import ABSENT, Object
from spot.storage.records.ledger import Ledger
from spot.supervisor.training_status import BucketStatus
from tests.machinery import sample_runs
from tests.machinery.desk import WEEKLY, Desk
from tests.machinery.storage.memory import MemoryStore
from tests.paths import PROJECT

NIGHTLY = f"{WEEKLY[:9]}nightly"
DOCS = PROJECT / "docs" / "json.md"


def kept(
    desk: Desk, sample: sample_runs.SampleRun, *, ago: timedelta = timedelta(days=2), run_id: str = NIGHTLY
) -> Run:
    """Write the record of this sample to the bucket, moved so that it started so long ago, and return the run."""
    run: Run = sample_runs.moved(sample.run, by=datetime.now(UTC) - ago - sample.run.submitted_at)
    run = replace(run, id=run_id, spec=replace(run.spec, root=desk.root))
    ledger = Ledger(desk.store())
    record = ledger.create(run)
    if run.state is not RunState.OPEN:
        ledger.file(record)
    return run


def test_a_run_is_reported_as_text_markdown_json_and_a_page(desk: Desk, tmp_path: Path) -> None:
    run = kept(desk, sample_runs.handed_over())
    text, markdown = desk.spot("report", run.id), desk.spot("report", run.id, "--markdown")
    assert (text.code, markdown.code, text.err) == (Exit.DONE, Exit.DONE, "")
    assert text.out.startswith("$8.33, 21 % less than on-demand\n")
    assert markdown.out.startswith(f"### {NIGHTLY}\n")
    page = tmp_path / "page.html"
    said = desk.spot("report", run.id, "--html", str(page))
    assert (said.code, said.out) == (Exit.DONE, f"written: {page}\n")
    assert "<h1>$8.33, 21 % less than on-demand</h1>" in page.read_text()
    values = desk.spot("report", run.id, "--json").json
    assert values["usd"] == pytest.approx(8.33)
    assert sum(values["phases_hours"].values()) == pytest.approx(values["billed_hours"], abs=0.001)
    assert [one["outcome"] for one in values["attempts"]][-1] == "succeeded"


def test_an_open_run_is_reported_as_it_stands(desk: Desk) -> None:
    run = kept(desk, sample_runs.open_run(), ago=timedelta(hours=5))
    values = desk.spot("report", run.id, "--json").json
    assert (values["state"], values["deadline_verdict"], values["model"]) == ("open", "due", None)
    assert "so far" in desk.spot("report", run.id).out


def test_every_key_of_the_json_is_documented_and_every_documented_key_is_there(desk: Desk) -> None:
    run = kept(desk, sample_runs.handed_over())
    one = desk.spot("report", run.id, "--json").json
    many = desk.spot("report", "--since", "30d", "--json").json
    said = {
        *one,
        *one["attempts"][0],
        *one["on_demand"],
        *one["decisions"][0],
        *("condition", "text"),
        *many,
        *many["totals"],
        *many["runs"][0],
    }
    _, _, section = DOCS.read_text().partition("## JSON of a report")
    documented = set(re.findall(r"^\| `([a-z_]+)`", section, re.MULTILINE))
    assert documented == said - {"schema_version"}
    assert set(one["phases_hours"]) == {phase.name.lower() for phase in Phase}


def test_the_runs_of_some_time_are_added_up_and_a_broken_record_is_named(desk: Desk) -> None:
    for number, sample in enumerate((sample_runs.calm(), sample_runs.loss(), sample_runs.failed())):
        kept(desk, sample, ago=timedelta(days=2 * number + 1), run_id=f"{WEEKLY}-{number}")
    month, broken = f"{datetime.now(UTC):%Y/%m}", f"{datetime.now(UTC):%Y%m%d}-broken"
    desk.store().write(f"runs/closed/{month}/{broken}.json", b"nonsense", if_generation=ABSENT)
    values = desk.spot("report", "--since", "4d", "--json").json
    assert [one["run"] for one in values["runs"]] == [f"{WEEKLY}-1", f"{WEEKLY}-0"]
    assert values["totals"]["usd"] == pytest.approx(16.45 + 5.2)
    assert values["totals"]["is_loss"] is True
    [skipped] = values["skipped"]
    assert f"runs/closed/{month}/{broken}.json is not the record of a run" in skipped
    assert "3 runs submitted since" in desk.spot("report", "--since", "90d").out


def test_a_period_without_runs_is_reported(desk: Desk) -> None:
    said = desk.spot("report", "--since", "1d")
    assert said.code == Exit.DONE
    assert re.fullmatch(r"No run submitted since 20[\d-]+ [\d:]+ UTC has ended\.\n", said.out)
    assert desk.spot("report", "--since", "1d", "--json").json["totals"]["runs"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "expected either RUN or --since (fix: spot report --since 90d)"),
        ((NIGHTLY, "--since", "9d"), "expected either RUN or --since"),
        ((NIGHTLY, "--json", "--markdown"), "--json and --markdown both write to standard output: choose one"),
        (("--since", "9d", "--markdown"), "--html and --markdown show one run, and --since many"),
        *(
            (("--since", text), f"argument --since: {text!a} is not a number of days from 1d to 9999d")
            for text in ("soon", "", "90", "d", "1.5d", "٣d", "0d", "99999d", "12h", "2026-09-01", "9d ")
        ),
        ((NIGHTLY,), f"there is no run {NIGHTLY} in"),
    ],
)
def test_what_cannot_be_reported_is_one_line(desk: Desk, arguments: tuple[str, ...], says: str) -> None:
    said = desk.spot("report", *arguments)
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert says in said.err
    assert said.err.count("\n") == 1


def test_a_page_that_cannot_be_written_is_one_line(desk: Desk) -> None:
    kept(desk, sample_runs.calm())
    said = desk.spot("report", NIGHTLY, "--html", "/no/such/folder/page.html")
    assert (said.code, said.err) == (
        Exit.USAGE,
        "spot: --html '/no/such/folder/page.html' cannot be written: No such file or directory\n",
    )


def test_an_unreadable_checkpoint_is_reported_and_the_record_is_used(desk: Desk) -> None:
    kept(desk, sample_runs.calm())
    desk.put(f"models/{NIGHTLY}/completion.json", b"nonsense")
    said = desk.spot("report", NIGHTLY)
    assert said.code == Exit.AGAIN
    assert said.out.startswith("$5.20, 50 % less than on-demand\n")
    assert f"{NIGHTLY} is reported from its record alone: " in said.err


def test_of_many_runs_the_one_with_an_unreadable_model_is_reported(desk: Desk) -> None:
    for name in (NIGHTLY, WEEKLY):
        kept(desk, sample_runs.calm(), run_id=name)
    desk.put(f"models/{NIGHTLY}/completion.json", b"nonsense")
    said = desk.spot("report", "--since", "9d", "--json")
    assert (said.code, said.json["totals"]["runs"]) == (Exit.DONE, 2)
    assert said.err.startswith(f"spot: {NIGHTLY} is reported from its record alone: ")
    assert said.err.count("\n") == 1


class Silent(MemoryStore):
    """A bucket that lists its objects and answers no read."""

    def read(self, name: str) -> Object:
        raise TemporarilyUnavailable(f"cannot read {name}: 503")


def test_a_bucket_that_does_not_answer_is_no_report_without_its_runs() -> None:
    store = Silent()
    run = sample_runs.handed_over().run
    ledger = Ledger(store)
    ledger.file(ledger.create(replace(run, id="20261123-nightly")))
    with pytest.raises(TemporarilyUnavailable):
        gather(
            ledger, BucketStatus(ledger.uri), run.submitted_at - timedelta(days=1), run.submitted_at + timedelta(days=3)
        )
