"""Check that workflows pin their actions, and that those with rights trust neither a cache of GitHub nor an index."""

from __future__ import annotations

import re

from tests.paths import PROJECT

WORKFLOWS = PROJECT / ".github" / "workflows"
WITHOUT_RIGHTS = {"ci.yml"}
CACHES = re.compile(r"^ *cache(?!-from: type=registry|-to: type=registry)[\w-]*:|actions/cache|type=gha", re.MULTILINE)
INSTALL = re.compile(r"^ *run: \"?(pip install [^\"\n]*)", re.MULTILINE)


def test_an_action_is_pinned_to_one_commit_everywhere_with_its_version() -> None:
    uses = [
        line.partition("uses: ")[2]
        for path in sorted(WORKFLOWS.iterdir())
        for line in path.read_text().splitlines()
        if "uses: " in line and "uses: ./" not in line
    ]
    assert len(uses) > 10
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses), uses
    assert len(set(uses)) == len({use.partition("@")[0] for use in uses})


def with_rights() -> dict[str, str]:
    texts = {path.name: path.read_text(encoding="utf-8") for path in WORKFLOWS.iterdir()}
    return {name: text for name, text in texts.items() if re.search(r"^ +[\w-]+: write\b", text, re.MULTILINE)}


def test_a_workflow_with_rights_reads_no_cache_that_another_can_fill() -> None:
    assert {path.name for path in WORKFLOWS.iterdir()} - with_rights().keys() == WITHOUT_RIGHTS
    assert {name: found for name, text in with_rights().items() if (found := CACHES.findall(text))} == {}
    assert CACHES.search((WORKFLOWS / "ci.yml").read_text(encoding="utf-8"))


def test_a_workflow_with_rights_installs_by_hash_and_builds_nothing() -> None:
    installs = {name: tuple(INSTALL.findall(text)) for name, text in with_rights().items()}
    command = "pip install --require-hashes --no-deps --only-binary :all: -r locks/spot.txt"
    assert installs == dict.fromkeys(with_rights(), (command,))
    assert {name for name, text in with_rights().items() if 'python-version: "3.13"' not in text} == set()
