"""Test that the model registry shows the champion after the next reconcile, whatever happened to the one before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest

from spot.config.load import parse
from spot.config.settings import Settings
from spot.google import model_registry
from spot.promotion import settle
from spot.promotion.mirror import mirror
from spot.storage.records import champion
from tests.machinery.desk import WEEKLY, Desk
from tests.machinery.google.model_server import ModelServer, model_server
from tests.machinery.promotion.trained import better, finish
from tests.machinery.samples import T0
from tests.machinery.spot_toml import changed
from tests.machinery.storage.memory import MemoryStore

IN_USE = {"champion", "default"}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with model_server() as server:
        monkeypatch.setenv("VERTEX_ENDPOINT", server.url)
        monkeypatch.setattr(model_registry, "GIVE_UP_S", 0.0)
        monkeypatch.setattr(model_registry, "WAIT_S", 0.01)
        yield server


class Team:
    """The champion of a project, and its registry."""

    def __init__(self, **settings: str) -> None:
        self.store, self.models = MemoryStore(), MemoryStore("gs://acme-ml-training/churn/models")
        text = changed("registry.model_id", '"churn"')
        for key, value in settings.items():
            text = changed(f"registry.{key}", value, text)
        self.settings: Settings = parse(text, "spot.toml")

    def promote(self, run: str) -> None:
        finish(self.models, better(run, None), run)
        settle.promote(self.store, self.models, run, T0, by="ann", reason="good")

    def mirror(self) -> str | None:
        return mirror(self.store, self.settings)


def test_the_aliases_follow_the_champion_also_back(registry: ModelServer) -> None:
    team = Team()
    assert (team.mirror(), registry.calls) == (None, [])
    for run in ("first", "second"):
        team.promote(run)
        assert team.mirror() is None
    assert registry.versions() == [("first", set()), ("second", IN_USE)]
    settle.rollback(team.store, team.models, T0, by="ann", reason="bad")
    assert team.mirror() is None
    assert registry.versions() == [("first", IN_USE), ("second", set())]
    [[version, _]] = registry.models.values()
    assert version.artifact == "gs://acme-ml-training/churn/models/first/model"
    registry.calls.clear()
    assert (team.mirror(), registry.calls) == (None, ["list /v1"])


@pytest.mark.parametrize("lost", ["list", "upload", "merge"])
@pytest.mark.parametrize("before", [0, 1])
def test_after_a_lost_reply_the_next_reconcile_makes_it_right(registry: ModelServer, lost: str, before: int) -> None:
    team = Team()
    for run in ["zero"][:before]:
        team.promote(run)
        team.mirror()
    team.promote("first")
    registry.lost = {lost}
    problem = team.mirror()
    assert problem
    assert problem.startswith("the model registry does not show the champion: cannot ")
    assert team.mirror() is None
    assert registry.versions() == [*[("zero", set())][:before], ("first", IN_USE)]


@pytest.mark.parametrize("route", ["list", "upload", "merge"])
def test_a_missing_permission_is_named_with_its_fix_and_changes_no_champion(registry: ModelServer, route: str) -> None:
    team = Team()
    team.promote("first")
    registry.denied = {route}
    problem = team.mirror()
    assert problem
    assert f"Permission 'aiplatform.models.{route}' denied (fix: bash infra/bootstrap.sh)" in problem
    assert champion.read(team.store)[0].run == "first"
    registry.denied = set()
    assert team.mirror() is None
    assert registry.versions() == [("first", IN_USE)]


@pytest.mark.parametrize("needed", [False, True])
@pytest.mark.parametrize("image", [None, "europe-docker.pkg.dev/acme-ml/images/server:1"])
def test_a_container_is_given_if_it_is_set_whether_it_is_needed_or_not(
    registry: ModelServer, needed: bool, image: str | None
) -> None:
    team = Team(**({"serving_image": f'"{image}"'} if image else {}))
    team.promote("first")
    registry.needs_container = needed
    problem = team.mirror()
    if needed and not image:
        assert problem
        assert "model.container_spec.image_uri: Required field is not set" in problem
    else:
        assert problem is None
        assert [one.image for found in registry.models.values() for one in found] == [image]


def test_an_operation_is_polled_where_the_client_looks_for_it(registry: ModelServer) -> None:
    team = Team()
    team.promote("first")
    registry.polls = 1
    assert team.mirror() is None
    assert "operation /ui" in registry.calls
    assert registry.versions() == [("first", IN_USE)]
    [model] = registry.models
    with urlopen(f"{registry.url}/v1/{model}/operations/1") as reply:  # where the reference states it
        assert json.load(reply)["response"]["modelVersionId"] == "1"


@pytest.mark.parametrize("before", [0, 1])
def test_a_slow_upload_is_right_after_it_has_ended_even_if_it_was_repeated(registry: ModelServer, before: int) -> None:
    team = Team()
    for run in ["zero"][:before]:
        team.promote(run)
        team.mirror()
    team.promote("first")
    registry.polls = 10**6
    for _ in range(2):  # the version is not listed while its operation runs
        problem = team.mirror()
        assert problem
        assert ("takes over 0.01 s" in problem) or ("already exists" in problem)
    registry.finish()
    assert team.mirror() is None
    repeated = [("first", set[str]())][:before]
    assert registry.versions() == [*[("zero", set())][:before], ("first", IN_USE), *repeated]


def test_an_upload_that_fails_is_repeated(registry: ModelServer) -> None:
    team = Team()
    team.promote("first")
    registry.fails = True
    problem = team.mirror()
    assert problem
    assert "no artifact" in problem
    registry.fails = False
    assert team.mirror() is None
    assert registry.versions() == [("first", IN_USE)]


def test_supervisors_at_once_leave_one_version_in_use(registry: ModelServer) -> None:
    team = Team()
    for run in ("first", "second"):
        team.promote(run)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: team.mirror(), range(4)))
        assert team.mirror() is None
        assert [found for found, aliases in registry.versions() if aliases == IN_USE] == [run]
        assert sum(bool(aliases) for _, aliases in registry.versions()) == 1


@pytest.mark.parametrize("filters", [True, False])
def test_a_version_of_another_repository_is_not_ours(registry: ModelServer, filters: bool) -> None:
    registry.filters = filters
    ours, other = Team(), Team()
    other.settings = parse(changed("cloud.prefix", '"other"', changed("registry.model_id", '"churn"')), "spot.toml")
    for team in (other, ours):
        team.promote("first")
        assert team.mirror() is None
    assert registry.versions() == [("first", set()), ("first", IN_USE)]


def test_without_the_setting_nothing_is_asked(registry: ModelServer) -> None:
    team = Team(model_id='"none"')
    team.promote("first")
    assert (team.mirror(), registry.calls) == (None, [])


def test_the_button_shows_the_champion_and_a_reconcile_repairs_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.settings({"registry.model_id": '"churn"'})
    desk.submit(WEEKLY)
    desk.complete(WEEKLY)
    assert desk.spot("reconcile", WEEKLY).code == 0  # the emulator of jobs has no models
    with model_server() as registry:
        monkeypatch.setenv("VERTEX_ENDPOINT", registry.url)
        assert desk.spot("promote", WEEKLY, "--reason", "good").code == 0
        assert registry.versions() == [(WEEKLY, IN_USE)]
        registry.models.clear()
        assert desk.spot("reconcile").code == 0
        assert registry.versions() == [(WEEKLY, IN_USE)]
