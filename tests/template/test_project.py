"""Check that a baked project is complete and contains nothing of the template."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.template.baking import PROJECT, RENDERED, BakedProject, bake, contents, copy_tracked, tracked
from tests.template.conftest import Bake


def test_the_project_is_the_tracked_files_and_nothing_else(project: BakedProject, template: Path) -> None:
    assert set(project.files()) == set(contents(template / PROJECT))


def test_a_project_holds_its_owners_files_and_the_machinery_but_neither_its_tests_nor_benchmarks(
    project: BakedProject,
) -> None:
    folders = {path.partition("/")[0] for path in project.files() if "/" in path}

    assert folders == {".github", "docs", "infra", "locks", "src", "task", "tests"}
    for path in ("task/model.py", "task/data.py", "task/sample", "spot.toml", "src/README.md", "src/spot/__init__.py"):
        assert project.has(path), path
    assert {path for path in project.files() if path.startswith("src/") and not path.startswith("src/spot/")} == {
        "src/README.md"
    }
    assert not [path for path in project.files() if path.startswith("tests/") and path.count("/") > 1]


def test_files_git_does_not_track_are_not_baked(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / ".nox").mkdir(parents=True)
    for path in ("kept.txt", ".env", ".nox/log"):
        (repository / path).write_text(path, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=repository, check=True)
    subprocess.run(["git", "add", "kept.txt"], cwd=repository, check=True)

    copy = copy_tracked(repository, tmp_path / "copy")

    assert set(contents(copy)) == {"kept.txt"}


def test_a_repository_without_tracked_files_is_no_empty_template(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)

    with pytest.raises(FileNotFoundError, match="git add"):
        tracked(tmp_path)


def test_only_the_files_named_here_are_rendered(tmp_path: Path, template: Path) -> None:
    tag = b"\n<< cookiecutter.project_slug >>\n"
    tagged = tmp_path / "template"
    for path, content in contents(template).items():
        (tagged / path).parent.mkdir(parents=True, exist_ok=True)
        ours = path.startswith(f"{PROJECT}/") and path.removeprefix(f"{PROJECT}/") not in RENDERED
        (tagged / path).write_bytes(content + tag if ours else content)

    files = bake(tagged, tmp_path / "output").files()

    source = contents(tagged / PROJECT)
    assert {path for path in files if files[path] == source[path]} == set(files) - set(RENDERED)


def test_nothing_of_the_template_is_left_in_a_project(project: BakedProject) -> None:
    for path, content in project.files().items():
        for left in (b"cookiecutter.", b"<<%", b"<<#", b"<< cookiecutter"):
            assert left not in content, f"{left!r} in {path}"
        if path in RENDERED:
            assert b"<<" not in content, path
            assert b">>" not in content, path


def test_the_settings_hold_the_answers(bake: Bake) -> None:
    project = bake(
        project_name="Churn",
        google_cloud_project="acme-ml",
        regions="europe-west4, us-central1",
        gpu="NVIDIA_TESLA_A100",
        schedule="41 5 * * MON-FRI",
        supervisor="github",
    )

    assert tomllib.loads(project.read("spot.toml")) == {
        "name": "Churn",
        "cloud": {
            "project": "acme-ml",
            "regions": ["europe-west4", "us-central1"],
            "bucket": "acme-ml-training",
            "prefix": "churn",
            "supervisor": "github",
        },
        "machine": {"type": "a2-highgpu-1g", "accelerator": "NVIDIA_TESLA_A100"},
        "policy": {
            "strategy": "hybrid",
            "deadline_hours": 12,
            "work_hours": 1,
            "provisioning_timeout_minutes": 30,
            "max_checkpoint_interval_minutes": 10,
            "budget_usd": "none",
        },
        "data": {"max_age_hours": "none"},
        "gate": {"margin": 0.01, "threshold": "none"},
        "registry": {"model_id": "none"},
        "model": {"channels": 32},
        "training": {
            "data": "sample",
            "learning-rate": 0.002,
            "epochs": 20,
            "batch-size": 64,
            "checkpoint-interval": "auto",
        },
    }
    assert '- cron: "41 5 * * MON-FRI"\n' in project.read(".github/workflows/retrain.yml")
    assert '- cron: "7-57/10 * * * *"\n' in project.read(".github/workflows/supervise.yml")
    assert '- cron: "23 * * * *"\n' in bake().read(".github/workflows/supervise.yml")


def test_a_project_is_formatted_and_lint_free_as_generated(project: BakedProject) -> None:
    for check in (["format", "--check"], ["check"]):
        result = project.run(sys.executable, "-m", "ruff", *check, "--no-cache", ".")

        assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_of_a_project_is_ignored_by_its_own_gitignore(bake: Bake) -> None:
    project = bake()
    project.run("git", "init", "-q")
    project.run("git", "add", "--all")

    assert set(tracked(project.folder)) == {path for path in project.files() if not path.startswith(".git/")}


def test_the_next_steps_are_printed_by_cookiecutter(bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    bake(project_slug="my-model")

    assert "cd my-model" in capfd.readouterr().out
