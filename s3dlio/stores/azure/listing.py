"""Listings of a container, page by page (Azure Storage REST API, "List Blobs")."""

from __future__ import annotations

from s3dlio.stores.azure import xml
from s3dlio.stores.azure.service import AzureService
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.paging import check_listing
from s3dlio.types import ListPage, VersionPage

#: In a flat account directories may be empty blobs with a mark in their metadata: a page with an empty blob is asked
#: for again with metadata, which other pages need not carry. Listings of a hierarchical namespace have the kind of
#: every blob.
_EMPTY, _KIND = b"<Content-Length>0</Content-Length>", b"<ResourceType>"


def page(
    service: AzureService,
    prefix: str,
    recursive: bool,
    token: str | None,
    start_after: str | None,
    page_size: int | None,
) -> Steps[tuple[ListPage, str | None]]:
    """One page and the marker of the next.

    The service has no ``start_after``: what comes before is asked for and left out, so such pages may be empty.
    """
    parameters = [("comp", "list"), ("restype", "container")]
    if prefix:
        parameters.append(("prefix", prefix))
    if not recursive:
        parameters.append(("delimiter", "/"))
    if token is not None:
        parameters.append(("marker", token))
    if page_size:
        parameters.append(("maxresults", str(page_size)))
    response = yield from service.send(service.request("GET", "", encode_query(parameters)), "")
    if _EMPTY in response.body and _KIND not in response.body:
        parameters.append(("include", "metadata"))
        response = yield from service.send(service.request("GET", "", encode_query(parameters)), "")
    found, marker = service.parsed(response, xml.parse_list)
    check_listing(found, prefix)
    if start_after:
        found = yield from _after(service, found, start_after, page_size)
    return found, marker


def versions_page(
    service: AzureService, prefix: str, recursive: bool, token: str | None
) -> Steps[tuple[VersionPage, str | None]]:
    """One page of all versions, and the marker of the next."""
    parameters = [("comp", "list"), ("include", "versions"), ("restype", "container"), ("prefix", prefix)]
    if not recursive:
        parameters.append(("delimiter", "/"))
    if token is not None:
        parameters.append(("marker", token))
    response = yield from service.send(service.request("GET", "", encode_query(sorted(parameters))), "")
    found, marker = service.parsed(response, xml.parse_versions)
    check_listing(ListPage([version.key for version in found.versions], found.prefixes), prefix)
    return found, marker


def _after(
    service: AzureService, found: ListPage, start_after: str, page_size: int | None
) -> Steps[ListPage]:
    """What of a page comes after a key."""
    keys = [key for key in found.keys if key > start_after]
    prefixes = []
    for folder in found.prefixes:
        inside = start_after.startswith(folder)
        if folder > start_after or (inside and (yield from _has_later(service, folder, start_after, page_size))):
            prefixes.append(folder)
    skipped = len(found.keys) - len(keys)
    if not skipped and len(prefixes) == len(found.prefixes):
        return found
    return ListPage(keys, prefixes, lambda: [entry for entry in found.entries if entry.key > start_after])


def _has_later(
    service: AzureService, folder: str, start_after: str, page_size: int | None
) -> Steps[bool]:
    """Whether anything in a folder comes after a key of that folder."""
    token: str | None = None
    while True:
        inner, token = yield from page(service, folder, True, token, start_after, page_size)
        if inner.keys:
            return True
        if token is None:
            return False
