"""Listings of a bucket, page by page (Cloud Storage JSON API, "Objects: list")."""

from __future__ import annotations

from typing import Any

from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.gcs import headers
from s3dlio.stores.gcs.service import GcsService
from s3dlio.stores.paging import Paging, check_listing
from s3dlio.types import ListEntry, ListPage, VersionPage


def page(
    service: GcsService, prefix: str, recursive: bool, token: str | None, start_after: str | None, size: int
) -> Steps[tuple[ListPage, str | None]]:
    """One page of at most ``size`` names, and the token of the next."""
    query = [("maxResults", str(size)), ("fields", headers.LIST_FIELDS)]
    if prefix:
        query.append(("prefix", prefix))
    if not recursive:
        query.append(("delimiter", "/"))
    if start_after:
        query.append(("startOffset", start_after))  # this one included: it is taken out below
    if token is not None:
        query.append(("pageToken", token))
    found = yield from service.ask(service.request("GET", service.path(""), encode_query(query)), "")
    items = [item for item in found.get("items", ()) if item["name"] != start_after]

    def entries() -> list[ListEntry]:
        return [headers.entry_of(item) for item in items]

    listed = ListPage([item["name"] for item in items], found.get("prefixes", []), entries)
    check_listing(listed, prefix)
    return listed, found.get("nextPageToken")


def versions_page(
    service: GcsService, prefix: str, recursive: bool, token: str | None, size: int
) -> Steps[tuple[VersionPage, str | None]]:
    """One page of all generations, and the token of the next."""
    query = [("maxResults", str(size)), ("fields", headers.VERSION_FIELDS), ("versions", "true"), ("prefix", prefix)]
    if not recursive:
        query.append(("delimiter", "/"))
    if token is not None:
        query.append(("pageToken", token))
    found = yield from service.ask(service.request("GET", service.path(""), encode_query(query)), "")
    page = VersionPage([headers.version_of(item) for item in found.get("items", ())], found.get("prefixes", []))
    check_listing(ListPage([version.key for version in page.versions], page.prefixes), prefix)
    return page, found.get("nextPageToken")


def parts(service: GcsService, prefix: str) -> Steps[list[dict[str, Any]]]:
    """The parts of an upload whose names begin with ``prefix``: name, size, generation, CRC32C."""
    return (yield from every(service, service.path(""), [("prefix", prefix), ("fields", headers.PART_FIELDS)]))


def every(service: GcsService, path: str, query: headers.Fields) -> Steps[list[dict[str, Any]]]:
    """The items of all pages of a listing."""
    items: list[dict[str, Any]] = []
    token: str | None = None
    paging = Paging()
    while True:
        more = [("pageToken", token)] if token else []
        found = yield from service.ask(service.request("GET", path, encode_query(query + more)), "")
        some, token = found.get("items", []), found.get("nextPageToken")
        paging.check(some, token)
        items += some
        if token is None:
            return items
