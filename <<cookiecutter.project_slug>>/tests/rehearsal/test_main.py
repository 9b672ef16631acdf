"""What cannot be rehearsed is refused at once, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.__main__ import main


@pytest.mark.parametrize(
    "arguments", [["--epochs", "0"], ["--epochs", "x"], ["--seed", "-1"], ["--engine", "rkt"], ["--nonsense"], ["x"]]
)
def test_bad_arguments_are_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert arguments[-1].lstrip("-") in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", "scheduled_at_utc,us-east4-a\nyesterday,3\n"])
def test_a_trace_that_cannot_be_used_is_refused_before_anything_is_trained(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_text(content)
    assert main(["--trace", str(path)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"rehearsal: {path}")
    assert said.err.count("\n") == 1
    assert said.out == ""
