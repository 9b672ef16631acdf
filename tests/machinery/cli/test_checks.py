"""Test the findings of the doctor as text: wide in a log, folded on a terminal, fixes complete."""

from __future__ import annotations

import pytest

from spot.cli import checks, console
from spot.doctor.finding import Finding, Status


def shown(finding: Finding, capsys: pytest.CaptureFixture[str]) -> list[str]:
    console.write(*checks._lines(finding, width=6))
    return capsys.readouterr().out.splitlines()


def test_in_a_log_lines_are_not_cut_at_80(capsys: pytest.CaptureFixture[str]) -> None:
    detail = "x" * 110
    first, fix = shown(Finding(check="bucket", status=Status.FAILED, detail=detail, fix="y" * 300), capsys)
    assert first == f"failed   bucket  {detail}"
    assert fix == f"  fix:   {'y' * 300}", "a command must be there to be copied whole"


def test_where_it_is_narrow_a_link_is_folded_and_not_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spot.cli.console.WIDE", 80)
    link = f"https://console.cloud.google.com/{'x' * 110}"
    lines = shown(Finding(check="bucket", status=Status.FAILED, detail=link, fix=""), capsys)
    assert "".join("".join(lines).split()) == f"failedbucket{link}"
    assert max(map(len, lines)) <= 80
