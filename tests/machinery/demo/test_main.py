"""Invalid arguments are refused at once, in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spot.demo.__main__ import _parser, main
from spot.demo.environment import Options


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--epochs", "0"], ["--epochs", "x"], ["--seed", "-1"], ["--container", "x"], ["--nonsense"], ["x"]),
        *(["--data", "gs://bucket/table.csv"], ["--data", "no-such-file.csv"]),
    ],
)
def test_bad_arguments_are_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert arguments[-1].lstrip("-") in capsys.readouterr().err


def test_the_trainer_is_given_the_data_by_their_full_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    options = _parser().parse_args(["--data", Path(__file__).name])
    rehearsal = Options(epochs=1, seed=0, data=options.data, trace=None)
    assert rehearsal.training[rehearsal.training.index("--data") + 1] == __file__
    assert "--data" not in replace(rehearsal, data=None).training


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", "scheduled_at_utc,us-east4-a\nyesterday,3\n"])
def test_a_trace_that_cannot_be_used_is_refused_before_anything_is_trained(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_text(content)
    assert main(["--trace", str(path)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("rehearsal: ")
    assert str(path) in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
