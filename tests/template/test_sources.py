"""Check the files of the template before any baking."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.template.baking import PROJECT, RENDERED, tracked

TAG = re.compile(r"<< cookiecutter\b(?:(?!<<|>>).)*>>|<<%(?:(?!<<|>>).)*%>>|<<#(?:(?!<<|>>).)*#>>")
PINNED_USE = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v[0-9.]+")

REGISTRY_HOSTS = [
    ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("conda", "io"), ("npmjs", "org"))
]
SOMEONES_FOLDER = re.compile(r"(?<![\w.}])/(?:home|root|Users|tmp)/")

ELSEWHERE = {("policy.md", f"{PROJECT}/docs/how-it-works.md")}
"""Name the pages of the template that a page of the project mentions."""

LAYERS = pytest.mark.parametrize("layer", [REPOSITORY, REPOSITORY / PROJECT], ids=["template", "project"])


def text_files() -> dict[str, str]:
    texts = {}
    for path in tracked(REPOSITORY):
        content = (REPOSITORY / path).read_bytes()
        if b"\0" not in content:
            texts[path] = content.decode()
    return texts


def sessions(layer: Path) -> set[str]:
    command = [sys.executable, "-m", "nox", "--list-sessions"]
    listed = subprocess.run(command, cwd=layer, capture_output=True, text=True, check=True)
    return set(re.findall(r"^[*-] (\w+) ->", listed.stdout, re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def pins(layer: Path) -> dict[str, str]:
    lines = (layer / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("path", RENDERED)
def test_every_double_angle_in_a_rendered_file_is_a_tag(path: str) -> None:
    source = (REPOSITORY / PROJECT / path).read_text(encoding="utf-8")

    assert re.findall("<<.*|.*>>", TAG.sub("", source)) == []


@pytest.mark.parametrize("trap", ["cat <<EOF", "cat <<'EOF' >> f", "<<: *anchor", "1 << 2", "<<< word", "a << b >> c"])
def test_the_check_for_stray_angles_sees_the_known_traps(trap: str) -> None:
    assert re.findall("<<.*|.*>>", TAG.sub("", f"{trap}\n<< cookiecutter.bucket >>\n"))


@pytest.mark.parametrize("path", ["spot.toml", "pyproject.toml"])
def test_the_projects_toml_parses_without_baking(path: str) -> None:
    assert tomllib.loads((REPOSITORY / PROJECT / path).read_text(encoding="utf-8"))


def test_the_folder_cruft_looks_for_is_there() -> None:
    found = [path for path in REPOSITORY.glob("*cookiecutter.*") if "{{" in path.name and "}}" in path.name]

    assert [(path / "README.md").is_file() for path in found] == [True]


def test_no_tracked_file_is_ignored() -> None:
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert listed.stdout == ""


def test_no_file_names_a_package_registry_or_someones_folder() -> None:
    for path, text in text_files().items():
        for host in REGISTRY_HOSTS:
            assert host not in text, f"{host} in {path}"
        assert SOMEONES_FOLDER.search(text) is None, f"{SOMEONES_FOLDER.search(text)} in {path}"


@LAYERS
def test_every_session_the_documents_name_exists(layer: Path) -> None:
    documents = [*layer.glob("*.md"), *layer.glob("docs/*.md")]
    named = {name for path in documents for name in re.findall(r"\bnox -s (\w+)", path.read_text(encoding="utf-8"))}

    assert {"demo", "rehearse"} & named
    assert named <= sessions(layer)


@LAYERS
def test_every_link_between_the_documents_leads_somewhere(layer: Path) -> None:
    documents = [*layer.glob("*.md"), *layer.glob("docs/*.md"), *layer.glob("src/*.md")]
    broken = []
    for path in documents:
        for target, heading in re.findall(
            r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", path.read_text(encoding="utf-8")
        ):
            found = path.parent / target if target else path
            if not found.exists() or (heading and heading not in anchors(found)):
                broken.append(f"{path.name}: {target}#{heading}")

    assert broken == []


@LAYERS
def test_every_page_that_a_file_names_exists(layer: Path) -> None:
    """Find each page in its own layer; the template's tests and benchmarks also name the project's pages."""
    prefix = f"{PROJECT}/"
    pages = {path.name for path in layer.glob("docs/*.md")}
    if layer == REPOSITORY:
        pages |= {path.name for path in (REPOSITORY / PROJECT).glob("docs/*.md")}
    texts = {path: text for path, text in text_files().items() if path.startswith(prefix) == (layer != REPOSITORY)}
    named = {(name, path) for path, text in texts.items() for name in re.findall(r"\bdocs/([\w-]+\.md)", text)}

    assert named
    assert {(name, path) for name, path in named if name not in pages} - ELSEWHERE == set()


@LAYERS
def test_the_readme_installs_the_nox_that_is_pinned(layer: Path) -> None:
    named = re.findall(r"\bnox==([0-9.]+)", (layer / "README.md").read_text(encoding="utf-8"))

    assert set(named) == {pins(layer)["nox"]}


@LAYERS
def test_constraints_pin_by_version_alone(layer: Path) -> None:
    lines = (layer / "constraints.txt").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []


def test_both_layers_pin_the_same_version_of_what_they_share() -> None:
    template, project = pins(REPOSITORY), pins(REPOSITORY / PROJECT)

    assert {name: template[name] for name in template.keys() & project.keys()} == {
        name: project[name] for name in template.keys() & project.keys()
    }


def test_every_action_is_pinned_by_commit_with_its_version_beside_it() -> None:
    used = [
        line.strip().removeprefix("- ")
        for path, text in text_files().items()
        if re.search(r"\.github/workflows/.*\.yml$", path)
        for line in text.splitlines()
        if re.match(r"\s*(- )?uses: (?!\./)", line)
    ]

    assert used
    assert [line for line in used if not PINNED_USE.fullmatch(line)] == []


def test_ci_runs_every_session_of_the_template() -> None:
    workflow = (REPOSITORY / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    [matrix] = re.findall(r"session:\s*\[([^]]*)\]", workflow)
    by_name = re.findall(r"nox -s (\w+)", workflow)

    assert {*re.findall(r"\w+", matrix), *by_name} == sessions(REPOSITORY) - {"environment"}
