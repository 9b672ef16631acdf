"""Test the HTML page of a report: self-contained, and safe with text from outside."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from spot.core.history import CancelRequest, Decision
from spot.core.job import JobError
from spot.core.run import RunState
from spot.report.page import report
from tests.machinery import sample_runs
from tests.machinery.samples import after

NASTY = "<script>alert(1)</script> \"' onload=x & </title></style>"
VOID = {"meta", "br", "line", "path", "rect", "polygon", "polyline"}


class Page(HTMLParser):
    """What a browser would make of it. Fails on a tag that is closed in the wrong place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def of(name: str) -> Page:
    return Page(report(sample_runs.SAMPLE_RUNS[name]().account))


@pytest.mark.parametrize("name", sample_runs.SAMPLE_RUNS)
def test_a_page_is_whole_and_needs_nothing_but_itself(name: str) -> None:
    page = of(name)
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "object", "font", "use", "image"}
    assert not page.values("src")
    assert all(url.startswith("https://console.cloud.google.com/") for url in page.values("href"))
    assert not re.search(r"url\((?!#)|@import", "".join(page.text))
    assert page.values("id") == sorted(set(page.values("id")), key=page.values("id").index)


def test_the_page_loads_nothing_and_fits_phones_and_dark_mode() -> None:
    page = of("calm")
    contents = page.values("content")
    assert "default-src 'none'; style-src 'unsafe-inline'" in contents
    assert "width=device-width, initial-scale=1" in contents
    style = "".join(page.text)
    for condition in ("prefers-color-scheme: dark", "max-width: 44rem", "@media print"):
        assert condition in style


def test_what_others_wrote_stays_text_wherever_it_stands() -> None:
    failed = sample_runs.failed()
    attempt = replace(failed.run.attempts[0], error=JobError(code=3, message=NASTY), region=NASTY, id=NASTY, job=None)
    run = replace(
        failed.run,
        state=RunState.CANCELLED,
        attempts=(attempt,),
        decisions=(Decision(at=after(), action=NASTY, reason=NASTY),),
        cancel_request=CancelRequest(at=after(), by=NASTY),
        id=NASTY,
    )
    page = Page(report(replace(failed, run=run).account))
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert sum(NASTY in text for text in page.text) >= 5


def test_no_text_passes_for_a_link_by_looking_like_one() -> None:
    failed = sample_runs.failed()
    decision = Decision(at=after(), action="close as cancelled", reason='<a href="https://example.com">x</a> cancelled')
    page = Page(report(replace(failed, run=replace(failed.run, decisions=(decision,))).account))
    assert "https://example.com" not in page.values("href")
    assert decision.reason in page.text


def test_a_loss_and_a_missed_deadline_are_marked_and_described() -> None:
    loss, late, calm = (report(sample_runs.SAMPLE_RUNS[name]().account) for name in ("loss", "late", "calm"))
    assert '<h1 class="bad">LOSS: $16.45, 60 % more than on-demand</h1>' in loss
    assert '<p class="lead bad">Succeeded, 2026-11-25 01:54 UTC. Deadline LATE by 1.9 h.</p>' in late
    assert '<dt>deadline</dt><dd class="bad">' in late
    assert 'class="bad"' not in calm


def test_each_picture_has_a_description() -> None:
    page = of("handed-over")
    pictures = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-labelledby")]
    assert pictures == ["timeline-title timeline-description", "progress-title progress-description"]
    assert all(name in page.values("id") for picture in pictures for name in picture.split())


def test_every_attempt_and_every_decision_is_in_it() -> None:
    late = sample_runs.late()
    text = report(late.account)
    assert all(f"<b>{attempt.id}</b>" in text for attempt in late.run.attempts)
    assert f"<h2>{len(late.run.decisions)} decisions</h2>" in text


def test_on_a_phone_each_cell_says_what_it_is() -> None:
    text = report(sample_runs.calm().account)
    assert '<td class="n" data-head="billed">10.4 h</td>' in text
