"""Create a project with cruft, change it, and update it from a changed template without conflict."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.template.baking import PROJECT, copy_tracked

pytestmark = pytest.mark.cruft

ANSWERS = {"project_slug": "churn", "google_cloud_project": "acme-ml", "regions": "europe-west4,us-central1"}


@pytest.fixture(autouse=True)
def someone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give git a name for commits and an empty home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "someone@example.com")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """Copy the template to a repository that a test can change."""
    return commit(copy_tracked(REPOSITORY, tmp_path / "upstream"))


@pytest.fixture
def project(upstream: Path, tmp_path: Path) -> Path:
    """Create a project with cruft and commit it."""
    created = cruft(tmp_path, "create", str(upstream), "--no-input", "--extra-context", json.dumps(ANSWERS))
    assert created.returncode == 0, created.stdout
    return commit(tmp_path / "churn")


def commit(repository: Path) -> Path:
    for command in (["init", "-q", "-b", "main"], ["add", "--all"], ["commit", "-q", "-m", "change"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return repository


def cruft(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cruft", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def test_a_new_project_is_up_to_date_and_differs_in_nothing(project: Path) -> None:
    assert cruft(project, "check").returncode == 0
    assert cruft(project, "diff", "--exit-code").returncode == 0


def test_a_change_of_the_template_arrives_and_the_projects_own_changes_stay(project: Path, upstream: Path) -> None:
    append(project / "README.md", "\nOur own words.\n")
    append(project / "task" / "model.py", "\nOURS = True\n")
    (project / "task" / "layers.py").write_text("OURS = True\n", encoding="utf-8")
    replace(project / "spot.toml", "deadline_hours = 12", "deadline_hours = 8")
    commit(project)
    append(upstream / PROJECT / ".gitignore", "/from-upstream/\n")
    append(upstream / PROJECT / "src" / "spot" / "__init__.py", "\nFROM_UPSTREAM = True\n")
    (upstream / PROJECT / "src" / "spot" / "added.py").write_text("FROM_UPSTREAM = True\n", encoding="utf-8")
    replace(upstream / PROJECT / "spot.toml", "epochs = 20", "epochs = 30")
    commit(upstream)

    outdated = cruft(project, "check")
    updated = cruft(project, "update", "--skip-apply-ask")

    assert outdated.returncode == 1, outdated.stdout
    assert updated.returncode == 0, updated.stdout
    assert cruft(project, "check").returncode == 0
    assert "/from-upstream/" in (project / ".gitignore").read_text(encoding="utf-8")
    assert (project / "README.md").read_text(encoding="utf-8").endswith("\nOur own words.\n")
    assert (project / "task" / "model.py").read_text(encoding="utf-8").endswith("\nOURS = True\n")
    assert (project / "task" / "layers.py").is_file()
    assert (project / "src" / "spot" / "__init__.py").read_text(encoding="utf-8").endswith("\nFROM_UPSTREAM = True\n")
    assert (project / "src" / "spot" / "added.py").is_file()
    after = (project / "spot.toml").read_text(encoding="utf-8")
    assert "epochs = 30" in after
    assert "deadline_hours = 8" in after
    assert 'project = "acme-ml"' in after
    assert 'regions = ["europe-west4", "us-central1"]' in after
    assert list(project.rglob("*.rej")) == []


def test_an_update_prints_no_next_steps(project: Path, upstream: Path) -> None:
    append(upstream / PROJECT / ".gitignore", "/from-upstream/\n")
    commit(upstream)

    assert "is ready" not in cruft(project, "update", "--skip-apply-ask").stdout


def test_without_its_decoy_the_template_is_refused_by_cruft(upstream: Path, tmp_path: Path) -> None:
    [decoy] = upstream.glob("{{cookiecutter.*")
    decoy.rename(upstream / "elsewhere")
    commit(upstream)

    assert cruft(tmp_path, "create", str(upstream), "--no-input").returncode != 0
