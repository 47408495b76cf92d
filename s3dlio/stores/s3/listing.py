"""Listings of a bucket, page by page (Amazon S3 API Reference, ListObjectsV2 and ListObjects)."""

from __future__ import annotations

from s3dlio.errors import ProtocolError
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.paging import check_listing
from s3dlio.stores.s3 import xml
from s3dlio.stores.s3.service import S3Service
from s3dlio.types import ListPage

#: What tokens of the next page begin with that are markers, for the first version of ListObjects: no XML carries it.
MARKER = "\0"


def list_page(
    service: S3Service, prefix: str, recursive: bool, token: str | None, start_after: str | None
) -> Steps[tuple[ListPage, str | None]]:
    """One page of a listing, and the token of the next.

    Args:
        service: of the bucket.
        prefix: what keys begin with.
        recursive: with what is deeper than the first ``/`` after the prefix.
        token: what the page before named; None for the first.
        start_after: the keys after this one, on the first page.

    Raises:
        ProtocolError: the answer is no listing, or not of what was asked for.
    """
    first = service.settings.s3.list_version == "1" and not service.is_directory
    by_marker = token.startswith(MARKER) if token is not None else first
    parameters = [("encoding-type", "url"), ("prefix", prefix)]
    if not recursive:
        parameters.append(("delimiter", "/"))
    begin = start_after if token is None else token.removeprefix(MARKER)
    if by_marker:
        parameters += [("marker", begin)] if begin else []
    else:
        parameters.append(("list-type", "2"))
        if begin is not None:
            parameters.append(("start-after" if token is None else "continuation-token", begin))
    response = yield from service.send(service.request("GET", "", encode_query(sorted(parameters))), "")
    page, following, first_version = service.parsed(response, xml.parse_list)
    check_listing(page, prefix)
    if first_version and not by_marker and begin is not None:  # which it has not heeded
        return (yield from list_page(service, prefix, recursive, MARKER + begin, None))
    if following is not None and first_version:
        following = MARKER + following
    if following is not None and following == token:
        raise ProtocolError("the listing does not get on: the token of the next page is that of this one")
    return page, following
