"""List the SKUs of Compute Engine in the Cloud Billing Catalog. Only this module imports its client."""

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud.billing_v1 import CloudCatalogClient, ListSkusRequest, ListSkusResponse
from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]

from spot.core.errors import SpotError
from spot.google import rest
from spot.google.rest import GoogleApiError

API = "cloudbilling"
COMPUTE_ENGINE = "services/6F81-5844-456A"
"""Prices are at most 12 hours old (https://cloud.google.com/billing/docs/reference/rest)."""
PAGE_SIZE = 5000
PAGE_S = 60.0
MAX_PAGES = 100
"""Ten times as many as the catalogue has."""

_log = logging.getLogger(__name__)


def skus(*, sleep: Callable[[float], None]) -> Iterator[Any]:
    """Return all SKUs, as protocol buffers. Raises `GoogleApiError`, or `SpotError` if the list does not end."""
    endpoint = os.environ.get(rest.ENDPOINT)
    url = (endpoint or rest.GOOGLE).replace("{api}", API)
    credentials = AnonymousCredentials() if endpoint else rest.default_credentials()  # type: ignore[no-untyped-call]
    options = ClientOptions(api_endpoint=url)
    client = CloudCatalogClient(transport="rest", credentials=credentials, client_options=options)
    request = ListSkusRequest(parent=COMPUTE_ENGINE, currency_code="USD", page_size=PAGE_SIZE)
    for _ in range(MAX_PAGES):
        page = _page(url, client, request, sleep)
        _log.info("read %d SKUs of the price catalogue", len(page.skus))
        yield from page.skus
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
    raise SpotError(f"the list of SKUs does not end after {MAX_PAGES} pages")


def _page(url: str, client: CloudCatalogClient, request: ListSkusRequest, sleep: Callable[[float], None]) -> Any:
    """Return a page without the wrappers of proto-plus, which are slow for tens of thousands of SKUs."""

    def ask() -> ListSkusResponse | GoogleAPICallError:
        try:
            return next(iter(client.list_skus(request, retry=None, timeout=PAGE_S).pages))
        except GoogleAPICallError as error:
            return error

    try:
        answer = rest.persist(
            url, ask, busy=lambda said: getattr(said, "code", None) in rest.TRANSIENT_STATUS, sleep=sleep
        )
    except (ParseError, UnicodeDecodeError, AttributeError, TypeError) as error:  # also for the error of a proxy
        raise GoogleApiError(f"{url} answered without a list of SKUs") from error
    if isinstance(answer, GoogleAPICallError):
        raise rest.refusal(API, answer.response) from answer
    return ListSkusResponse.pb(answer)
