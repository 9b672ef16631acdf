"""Test arguments, dry runs and messages of the scripts without any cloud."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.infra.scripts import IDS, Project
from tests.machinery.spot_toml import changed

pytestmark = pytest.mark.infra


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.at(tmp_path)


@pytest.mark.parametrize("script", ["bootstrap.sh", "teardown.sh --yes"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--repository-id", "22; rm -rf /", "--owner-id", "11"],
            "--repository-id is 22\\;\\ rm\\ -rf\\ /: expected a number",
        ),
        (["--repository-id", "22", "--owner-id", "1' || true || '"], "--owner-id is 1\\'\\ \\|\\|\\ true"),
        (["--repository-id", "22\n33", "--owner-id", "11"], "--repository-id is $'22\\n33': expected a number"),
        (["--repository-id", "0", "--owner-id", "11"], "--repository-id is 0: expected a number"),
        (["--repository-id", "", "--owner-id", "11"], "--repository-id is '': expected a number"),
        (["--repository-id", "٢٢", "--owner-id", "11"], "--repository-id is "),
        (["--repository-id", "22"], "--repository-id and --owner-id are needed together"),
        (["--repository-id"], "--repository-id needs a value: bash infra/"),
        (["--repository", "acme/../../user"], "--repository is acme/../../user: expected OWNER/NAME"),
        (["--repository", "acme/.."], "--repository is acme/..: expected OWNER/NAME"),
        (["--repository", "-X/DELETE"], "--repository is -X/DELETE: expected OWNER/NAME"),
        (["--repository", "$(touch x)/y"], "--repository is \\$\\(touch\\ x\\)/y: expected OWNER/NAME"),
        (["--yess"], "unknown argument --yess: bash infra/"),
    ],
)
def test_hostile_arguments_are_refused_in_one_line(
    project: Project, script: str, arguments: list[str], said: str
) -> None:
    called = [project.program("gcloud"), project.program("gh")]
    ended = project.run(*shlex.split(script), *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""
    assert not any(path.exists() for path in called)
    assert not (project.folder / "x").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cloud.project", "acme-ml --impersonate-service-account=x"),
        ("cloud.project", "$(touch x)"),
        ("cloud.bucket", "acme/../other"),
        ("cloud.bucket", "-rf"),
        ("cloud.prefix", "churn/**"),
        ("cloud.prefix", "../other"),
        ("cloud.service_account", "x@y; touch x"),
        ("cloud.service_account", "training@other-project.iam.gserviceaccount.com"),
    ],
)
@pytest.mark.parametrize("script", ["bootstrap.sh", "teardown.sh --yes --delete-data"])
def test_hostile_settings_are_refused_in_one_line(tmp_path: Path, script: str, key: str, value: str) -> None:
    project = Project.at(tmp_path, settings=changed(key, f'"{value}"'))
    called = project.program("gcloud")
    ended = project.run(*shlex.split(script), *IDS)
    assert ended.code == 2
    assert key in ended.err
    assert ended.err.count("\n") == 1
    assert not called.exists()
    assert not (project.folder / "x").exists()


def test_all_mistakes_in_the_settings_are_reported_at_once(tmp_path: Path) -> None:
    project = Project.at(tmp_path, settings=changed("cloud.project", '"X"', changed("cloud.bucket", '"Y"')))
    assert project.run("bootstrap.sh", *IDS).err.count("\n") == 2


@pytest.mark.parametrize("address", ["", "ml", "a@b c", "$(touch x)@acme.example", "a@b\n", "-x@"])
def test_an_address_that_is_none_is_refused_in_one_line(project: Project, address: str) -> None:
    called = project.program("gcloud")
    ended = project.run("bootstrap.sh", "--alert-email", address, *IDS)
    assert ended.code == 2
    assert ended.err.startswith("bootstrap.sh: --alert-email is ")
    assert ended.err.count("\n") == 1
    assert not called.exists()


@pytest.mark.parametrize("script", ["bootstrap.sh --alert-email ml@acme.example", "teardown.sh --delete-data"])
def test_a_dry_run_calls_nothing_and_shows_every_command(project: Project, script: str) -> None:
    called = project.program("gcloud")
    ended = project.run(*shlex.split(script), "--dry-run", *IDS)
    assert (ended.code, ended.err) == (0, "")
    assert not called.exists()
    done = [line for line in ended.lines if line.startswith("would ")]
    commands = [line for line in ended.lines if line.startswith("gcloud ")]
    assert len(done) == len(commands) == (35 if script.startswith("bootstrap.sh") else 22)


def test_a_dry_run_needs_no_gcloud(project: Project) -> None:
    ended = project.run("bootstrap.sh", "--dry-run", *IDS, path=project.tools("python3"))
    assert (ended.code, ended.err) == (0, "")


def test_teardown_does_nothing_without_yes(project: Project) -> None:
    called = project.program("gcloud")
    ended = project.run("teardown.sh", *IDS)
    assert ended.code == 2
    assert "--yes is missing" in ended.err
    assert not called.exists()


def test_a_missing_gcloud_is_one_line(project: Project) -> None:
    ended = project.run("bootstrap.sh", *IDS, path=project.tools("python3"))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "bootstrap.sh: gcloud is missing: install the Google Cloud CLI, then run gcloud auth login\n"


def test_a_missing_or_old_python_is_one_line(project: Project) -> None:
    said = "bootstrap.sh: no Python 3.11 or newer with pydantic: run .venv/bin/nox -s environment\n"
    assert project.run("bootstrap.sh", *IDS, path=project.tools()).err == said
    project.program("python3", "exit 1")
    assert project.run("bootstrap.sh", *IDS).err == said


def test_a_missing_gh_is_one_line(project: Project) -> None:
    ended = project.run("bootstrap.sh", "--dry-run", path=project.tools("python3"))
    assert ended.code == 2
    assert ended.err.startswith("bootstrap.sh: gh is missing: install it, or give --repository-id N")
    assert ended.err.count("\n") == 1


def test_the_numbers_are_those_that_gh_has_for_this_repository(project: Project) -> None:
    called = project.program("gh", "echo 22 11 acme/churn")
    ended = project.run("bootstrap.sh", "--dry-run")
    assert ended.code == 0
    assert called.read_text().startswith("api repos/{owner}/{repo} --jq ")
    assert "gh variable set GCP_SERVICE_ACCOUNT --repo acme/churn --body github-22@acme-ml.iam" in ended.out


def test_the_numbers_are_those_of_the_repository_that_was_named(project: Project) -> None:
    called = project.program("gh", "echo 22 11 acme/churn")
    assert project.run("bootstrap.sh", "--dry-run", "--repository", "acme/churn").code == 0
    assert called.read_text().startswith("api repos/acme/churn --jq ")


@pytest.mark.parametrize("answer", ["echo null null null", "echo", "echo '22 1x acme/churn'"])
def test_an_answer_of_gh_without_numbers_is_refused(project: Project, answer: str) -> None:
    project.program("gh", answer)
    ended = project.run("bootstrap.sh", "--dry-run")
    assert ended.code == 2
    assert "expected a number, .id or .owner.id in gh api repos/OWNER/NAME" in ended.err


def test_a_gh_that_fails_is_quoted(project: Project) -> None:
    project.program("gh", "echo 'gh: Not Found (HTTP 404)' >&2", "exit 1")
    ended = project.run("bootstrap.sh", "--dry-run", "--repository", "acme/churn")
    assert ended.code == 2
    assert "gh does not find the repository (gh: Not Found (HTTP 404)): give --repository OWNER/NAME" in ended.err
