"""Invalid arguments are refused at once, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot.config.load import parse
from spot.core.errors import SpotError
from spot.demo.__main__ import STEPS, main, training_flags
from tests.machinery.spot_toml import GOOD, changed


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "spot.toml"
    path.write_text(GOOD)
    return path


def flags(text: str, steps: int = STEPS, data: Path | None = None) -> dict[str, str]:
    """Return the value of each flag that the trainer gets."""
    given = training_flags(parse(text, "spot.toml"), steps, data)
    return dict(zip(given[::2], given[1::2], strict=True))


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--steps", "0"], ["--steps", "x"], ["--seed", "-1"], ["--container", "x"], ["--nonsense"], ["x"]),
        *(["--data", "gs://bucket/table.csv"], ["--data", "no-such-file.csv"]),
    ],
)
def test_bad_arguments_are_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refused(arguments, capsys)
    assert code == 2
    assert arguments[-1].lstrip("-") in line
    assert line.endswith("(fix: spot rehearse --help)\n")


def test_a_story_of_a_seed_has_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, line = refused(["--seed", "1", "--trace", str(tmp_path / "trace.csv")], capsys)
    assert "--trace: not allowed with argument --seed" in line


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code and the one line; nothing may have been shown before."""
    code = main(arguments)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("spot: ")
    assert said.err.count("\n") == 1
    return code, said.err


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", "scheduled_at_utc,us-east4-a\nyesterday,3\n"])
def test_a_trace_that_cannot_be_used_is_refused_before_anything_is_trained(
    content: str | None, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_text(content)
    code, line = refused(["--settings", str(settings), "--trace", str(path)], capsys)
    assert code == 2
    assert str(path) in line


def test_settings_with_a_mistake_are_refused(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings.write_text(changed("policy.deadline_hours", "-1"))
    code, line = refused(["--settings", str(settings)], capsys)
    assert code == 2
    assert "policy.deadline_hours is -1" in line


def test_without_settings_the_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refused(["--settings", str(tmp_path / "spot.toml")], capsys)
    assert code == 2
    assert f"{tmp_path / 'spot.toml'}: no such file" in line


def test_data_in_a_bucket_are_refused_unless_a_file_replaces_them(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.write_text(changed("training.data", '"gs://bucket/table.csv"'))
    code, line = refused(["--settings", str(settings)], capsys)
    assert code == 2
    assert "gs://bucket/table.csv" in line
    assert "--data FILE" in line


def test_a_bucket_is_kept_in_an_empty_directory_only(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(["--settings", str(settings), "--keep", str(tmp_path)], capsys)
    assert code == 2
    assert f"--keep {tmp_path}: it is not empty" in line


def test_a_bucket_is_not_kept_in_a_file(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refused(["--settings", str(settings), "--keep", str(settings)], capsys)
    assert code == 2
    assert f"--keep {settings}: File exists" in line


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_trained(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "none" / "report.html"
    code, line = refused(["--settings", str(settings), "--html", str(page)], capsys)
    assert code == 1
    assert f"No such file or directory: '{page}'" in line


def test_the_settings_train_with_as_many_steps_as_the_rehearsal_at_most() -> None:
    given = flags(changed("training.max-steps", "90"))
    assert (given["--max-steps"], given["--patience"]) == ("90", "5")
    assert flags(changed("training.max-steps", "90"), steps=50)["--max-steps"] == "50"
    assert flags(GOOD)["--max-steps"] == str(STEPS)


def test_a_file_replaces_the_data_of_the_settings(tmp_path: Path) -> None:
    text = changed("training.data", '"gs://bucket/table.csv"')
    assert flags(text, data=tmp_path / "few.csv")["--data"] == str(tmp_path / "few.csv")
    with pytest.raises(SpotError):
        flags(text)
