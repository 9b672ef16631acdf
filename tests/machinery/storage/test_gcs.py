"""Test the bucket over a bad connection: transient errors are retried, permanent ones are reported."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from google.auth import exceptions as auth_errors
from google.auth.credentials import Credentials

from spot.core.errors import PermissionDenied, TemporarilyUnavailable
from spot.storage import gcs
from spot.storage.base import ABSENT, Cancelled, Conflict, Damaged, Object, Store
from spot.storage.checksum import CHUNK, crc32c
from spot.storage.factory import open_store
from spot.storage.gcs import GcsStore
from tests.conftest import BUCKET
from tests.machinery.each import each
from tests.machinery.proxy import (
    Answer,
    Fault,
    FlipReply,
    FlipRequest,
    LostReply,
    Proxy,
    Request,
    Reset,
    Slow,
    Truncate,
)

RefreshError: Callable[..., Exception] = auth_errors.RefreshError
TransportError: Callable[..., Exception] = auth_errors.TransportError
TAIL = 60
"""More bytes than the closing of a multipart upload's body, fewer than that and the data."""
TRANSIENT = [
    *(pytest.param(Answer(status), id=str(status)) for status in (408, 429, 500, 502, 503, 504)),
    pytest.param(Answer(502, body="<html>"), id="502 by a proxy, for people"),
    pytest.param(Answer(502, body='{"error": "bad gateway"}'), id="502 by a proxy, in JSON of its own"),
    pytest.param(Reset(), id="reset"),
    pytest.param(LostReply(), id="lost-reply"),
    pytest.param(Truncate(3), id="truncated-reply"),
]


@pytest.fixture
def direct(gs_uri: str) -> Store:
    """Return the store without the proxy."""
    return open_store(gs_uri)


@pytest.fixture
def store(gs_uri: str, direct: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> GcsStore:  # noqa: ARG001
    """Return the store behind the proxy, with short delays."""
    monkeypatch.setenv(gcs.EMULATOR, proxy.url)
    return through(gs_uri)


def through(uri: str, *, credentials: Credentials | None = None, give_up_s: float = 30.0) -> GcsStore:
    return GcsStore(uri, credentials=credentials, give_up_s=give_up_s, first_delay_s=0.001)


def is_upload(request: Request) -> bool:
    return request.is_upload


def is_download(request: Request) -> bool:
    return request.path.startswith("/download/")


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_create_is_executed_once_despite_any_transient_error(
    store: GcsStore, direct: Store, proxy: Proxy, fault: Fault
) -> None:
    proxy.rule = each(fault, count=3)
    written = store.write("a", b"content", if_generation=ABSENT)
    assert direct.read("a") == Object(data=b"content", generation=written.generation)
    assert (written.size, written.crc32c) == (7, crc32c(b"content"))
    assert len(proxy.requests) > 3


def test_a_large_upload_that_fails_late_is_tried_again(
    gs_uri: str, direct: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the time for a small object is over, a large one has hardly been sent."""
    monkeypatch.setenv(gcs.EMULATOR, proxy.url)
    store = through(gs_uri, give_up_s=0.0)
    proxy.rule = each(Reset(), count=1, where=is_upload)
    with pytest.raises(TemporarilyUnavailable):
        store.write("small", b"x", if_generation=ABSENT)
    proxy.rule = each(Reset(), count=1, where=is_upload)
    store.write("large", bytes(64 << 20), if_generation=ABSENT)
    assert [entry.name for entry in direct.list("")] == ["large"]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_replacement_is_executed_once_despite_any_transient_error(
    store: GcsStore, direct: Store, proxy: Proxy, fault: Fault
) -> None:
    first = direct.write("a", b"1", if_generation=ABSENT)
    proxy.rule = each(fault, count=3)
    written = store.write("a", b"2", if_generation=first.generation)
    assert direct.read("a") == Object(data=b"2", generation=written.generation)
    assert written.generation > first.generation


@pytest.mark.parametrize("fault", [*TRANSIENT, pytest.param(FlipReply(2), id="flipped-reply")])
def test_reading_is_tried_again(store: GcsStore, direct: Store, proxy: Proxy, fault: Fault) -> None:
    written = direct.write("a", b"content", if_generation=ABSENT)
    proxy.rule = each(fault, count=3)
    assert store.read("a") == Object(data=b"content", generation=written.generation)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_reading_into_memory_is_tried_again(store: GcsStore, direct: Store, proxy: Proxy, fault: Fault) -> None:
    written = direct.write("a", b"content", if_generation=ABSENT)
    proxy.rule = each(fault, count=3)
    view = memoryview(bytearray(7))
    store.read_into("a", view, generation=written.generation)
    assert bytes(view) == b"content"


@pytest.mark.parametrize("fault", TRANSIENT)
def test_listing_and_deleting_are_tried_again(store: GcsStore, direct: Store, proxy: Proxy, fault: Fault) -> None:
    direct.write("a", b"content", if_generation=ABSENT)
    proxy.rule = each(fault, count=3)
    assert [entry.name for entry in store.list("")] == ["a"]
    proxy.rule = each(fault, count=3)
    store.delete("a")
    assert direct.list("") == []


@pytest.mark.parametrize("after", [1, CHUNK, 2 * CHUNK + 1, 3 * CHUNK])
def test_an_upload_reset_in_the_middle_begins_again(store: GcsStore, direct: Store, proxy: Proxy, after: int) -> None:
    data = bytes(range(256)) * (3 * CHUNK // 256)
    proxy.rule = each(Reset(after), where=is_upload, count=2)
    store.write("a", data, if_generation=ABSENT)
    assert direct.read("a").data == data
    assert len(proxy.requests) == 3


@pytest.mark.parametrize("after", [0, 1, CHUNK, 3 * CHUNK - 1])
def test_a_download_cut_off_in_the_middle_begins_again(
    store: GcsStore, direct: Store, proxy: Proxy, after: int
) -> None:
    data = bytes(range(256)) * (3 * CHUNK // 256)
    written = direct.write("a", data, if_generation=ABSENT)
    proxy.rule = each(Truncate(after), where=is_download, count=2)
    view = memoryview(bytearray(len(data)))
    store.read_into("a", view, generation=written.generation)
    assert bytes(view) == data
    assert len(proxy.requests) == 3


def test_a_slow_server_is_waited_for(store: GcsStore, direct: Store, proxy: Proxy) -> None:
    proxy.rule = each(Slow(2e6))
    written = store.write("a", bytes(200_000), if_generation=ABSENT)
    view = memoryview(bytearray(200_000))
    store.read_into("a", view, generation=written.generation)
    assert len(proxy.requests) == 2
    assert direct.read("a").data == bytes(view)


@pytest.mark.parametrize("foreign", [b"foreign", b"Content"])
def test_another_ones_object_found_after_a_lost_try_is_a_conflict(
    store: GcsStore, direct: Store, proxy: Proxy, foreign: bytes
) -> None:
    def rule(request: Request) -> Fault | None:
        if request.number > 1:
            return None
        direct.write("a", foreign, if_generation=ABSENT)
        return Reset()

    proxy.rule = rule
    with pytest.raises(Conflict):
        store.write("a", b"content", if_generation=ABSENT)
    assert direct.read("a").data == foreign


def test_a_foreign_object_of_the_same_content_is_a_conflict_at_the_first_try(store: GcsStore, direct: Store) -> None:
    """Only a write that may have been ours can be taken for ours."""
    direct.write("a", b"content", if_generation=ABSENT)
    with pytest.raises(Conflict):
        store.write("a", b"content", if_generation=ABSENT)


def test_a_lost_reply_to_a_replacement_that_another_one_replaced_is_a_conflict(
    store: GcsStore, direct: Store, proxy: Proxy
) -> None:
    first = direct.write("a", b"1", if_generation=ABSENT)

    def replace() -> None:
        direct.write("a", b"3", if_generation=direct.read("a").generation)

    proxy.rule = each(LostReply(replace), count=1)
    with pytest.raises(Conflict):
        store.write("a", b"2", if_generation=first.generation)
    assert direct.read("a").data == b"3"


def test_a_body_damaged_on_its_way_is_noticed(store: GcsStore, proxy: Proxy) -> None:
    """The emulator takes what it gets; Cloud Storage itself answers 400 to a wrong checksum, as the next test does."""
    proxy.rule = each(FlipRequest(TAIL), count=1)
    with pytest.raises(Damaged, match="sent 1000 bytes, 1000 with another checksum arrived"):
        store.write("a", bytes(1000), if_generation=ABSENT)


def test_a_body_refused_for_its_checksum_is_sent_again(store: GcsStore, direct: Store, proxy: Proxy) -> None:
    refusal = 'Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C "rthMGg==".'
    proxy.rule = each(Answer(400, refusal), count=2)
    store.write("a", b"content", if_generation=ABSENT)
    assert direct.read("a").data == b"content"


def test_damage_in_a_downloaded_part_is_the_callers_to_notice(store: GcsStore, direct: Store, proxy: Proxy) -> None:
    """`read_into` checks sizes; who reads a part has its checksum in the manifest."""
    written = direct.write("a", b"content", if_generation=ABSENT)
    proxy.rule = each(FlipReply(2), where=is_download, count=1)
    view = memoryview(bytearray(7))
    store.read_into("a", view, generation=written.generation)
    assert crc32c(view) != written.crc32c


@pytest.mark.parametrize("status", [400, 403, 405, 409])  # but 412 and 404, which mean something else
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.write("a", b"", if_generation=ABSENT),
        lambda store: store.read("a"),
        lambda store: store.read_into("a", memoryview(bytearray(1)), generation=1),
        lambda store: store.list(""),
        lambda store: store.delete("a"),
    ],
    ids=["write", "read", "read_into", "list", "delete"],
)
def test_a_refusal_is_reported_at_once_with_its_reason(
    store: GcsStore, proxy: Proxy, status: int, use: Callable[[Store], object]
) -> None:
    proxy.rule = each(Answer(status, "robot@example.com may\nnot do this"))
    with pytest.raises(
        PermissionDenied, match=f"^cannot [a-z]+ {store.uri}/a?: {status} robot@example.com may not do this$"
    ):
        use(store)
    assert len(proxy.requests) == 1


def test_a_refusal_of_renewed_credentials_is_reported(store: GcsStore, gs_uri: str, proxy: Proxy) -> None:
    del store
    proxy.rule = each(Answer(401, "Invalid Credentials"))
    with pytest.raises(PermissionDenied, match=f"^cannot read {gs_uri}/a: 401 Invalid Credentials$"):
        through(gs_uri, credentials=Broken()).read("a")


def test_a_bucket_that_does_not_exist_is_reported(emulator_url: str) -> None:
    store = through(f"gs://no-such-{BUCKET}/prefix")
    assert emulator_url
    for use in (lambda: store.write("a", b"", if_generation=ABSENT), lambda: store.list("")):
        with pytest.raises(PermissionDenied, match=f"bucket gs://no-such-{BUCKET} does not exist"):
            use()


@pytest.mark.parametrize("fault", [Answer(503, "back end is away"), Reset()])
def test_a_server_that_stays_away_is_given_up(store: GcsStore, gs_uri: str, proxy: Proxy, fault: Fault) -> None:
    del store
    proxy.rule = each(fault)
    with pytest.raises(TemporarilyUnavailable, match=r"cannot write gs://.*/a for 0 s: "):
        through(gs_uri, give_up_s=0.4).write("a", b"1", if_generation=ABSENT)
    assert len(proxy.requests) > 1


def test_a_withdrawn_write_is_not_tried_again(store: GcsStore, proxy: Proxy) -> None:
    proxy.rule = each(Answer(503))
    with pytest.raises(Cancelled):
        store.write("a", b"1", if_generation=ABSENT, cancelled=lambda: bool(proxy.requests))
    assert len(proxy.requests) == 1


def test_every_try_is_logged_with_its_reason(store: GcsStore, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "spot.storage.gcs")  # the command line quiets it in tests before this one
    proxy.rule = each(Answer(503, "back end is away"), count=2)
    store.write("a", b"1", if_generation=ABSENT)
    assert len(caplog.messages) == 2
    assert all("cannot write gs://" in line and "back end is away; retrying" in line for line in caplog.messages)


class Broken(Credentials):
    """Credentials whose renewal fails."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.errors = list(errors)

    def refresh(self, _: object) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.token = "token"


def test_refused_credentials_are_reported(store: GcsStore, gs_uri: str) -> None:
    del store
    refused = through(gs_uri, credentials=Broken(RefreshError("Account has been deleted")))
    with pytest.raises(PermissionDenied, match=r"cannot read gs://.*/a: Account has been deleted"):
        refused.read("a")


def test_a_metadata_server_that_does_not_answer_is_asked_again(store: GcsStore, gs_uri: str, direct: Store) -> None:
    del store
    wrapped = RefreshError("no answer")
    wrapped.__cause__ = TransportError("timed out")
    marked = RefreshError("try later", retryable=True)
    passing = through(gs_uri, credentials=Broken(wrapped, marked, TransportError("reset")))
    passing.write("a", b"1", if_generation=ABSENT)
    assert direct.read("a").data == b"1"


def test_missing_credentials_are_reported_with_the_command_that_creates_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.delenv(gcs.EMULATOR, raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(PermissionDenied, match="gcloud auth application-default login"):
        open_store("gs://bucket/prefix")
