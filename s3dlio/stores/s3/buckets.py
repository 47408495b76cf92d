"""Buckets: made, deleted, listed (Amazon S3 API Reference, CreateBucket, DeleteBucket, ListBuckets,
ListDirectoryBuckets).
"""

from __future__ import annotations

import functools

from s3dlio.errors import S3dlioError
from s3dlio.memory.sources import MemorySource, Source
from s3dlio.net.message import Request
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.paging import Paging
from s3dlio.stores.s3 import xml
from s3dlio.stores.s3.hosts import DEFAULT_REGION, kind_of_zone, zone_of
from s3dlio.stores.s3.service import S3Service
from s3dlio.types import Container
from s3dlio.uri import bucket_beside

_BEGIN = '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_END = "</CreateBucketConfiguration>"
#: Codes of a bucket that was to be made in a region that the service does not have.
REFUSED_REGION = frozenset(
    {"InvalidLocationConstraint", "IllegalLocationConstraintException", "InvalidRegion", "InvalidRegionName"}
)


def region_hint(region: str) -> str:
    """What to do where a bucket was refused because of its region."""
    return f"the service makes no buckets in {region!r}: name a region that it has (us-east-1 asks for none)"


def create(service: S3Service) -> Steps[None]:
    """Make the bucket; one of our own that is there already is no error."""
    region = service.route.region
    text = ""
    if zone := zone_of(service.bucket):
        text = _in_zone(zone)
    elif region != DEFAULT_REGION:
        text = f"<LocationConstraint>{region}</LocationConstraint>"
    body = MemorySource(memoryview(f"{_BEGIN}{text}{_END}".encode())) if text else None
    try:
        response = yield from service.send(bucket_request(service, "PUT", body), "", (200, 204))
    except S3dlioError as error:
        if error.code == "BucketAlreadyOwnedByYou":
            return
        if error.code in REFUSED_REGION:
            error.hint = region_hint(region)
        raise
    if (foreign := service.foreign_answer(response)) is not None:
        raise foreign


def _in_zone(zone: str) -> str:
    location, redundancy = kind_of_zone(zone)
    return (
        f"<Location><Type>{location}</Type><Name>{zone}</Name></Location>"
        f"<Bucket><DataRedundancy>{redundancy}</DataRedundancy><Type>Directory</Type></Bucket>"
    )


def delete(service: S3Service) -> Steps[None]:
    """Delete the bucket, which must be empty."""
    yield from service.send(bucket_request(service, "DELETE", None), "", (200, 204))


def bucket_request(service: S3Service, method: str, body: Source | None) -> Request:
    """A request for the bucket itself."""
    route = service.route
    return Request(route.control, method, route.control_path or "/", "", service.common, body)


def list_all(service: S3Service) -> Steps[list[Container]]:
    """Every bucket that our keys can see; from a directory bucket, every directory bucket."""
    account, route = service.account, service.route
    place = account.endpoint.control_place("", route.region, directories=service.is_directory)
    connections = account.service_at(place)
    element = "ListAllMyDirectoryBucketsResult" if service.is_directory else "ListAllMyBucketsResult"
    parse = functools.partial(xml.parse_buckets, root=element)
    found: list[Container] = []
    token: str | None = None
    paging = Paging()
    while True:
        query = encode_query([("continuation-token", token)]) if token else ""
        response = yield from service.send(Request(connections, "GET", place.path or "/", query), "")
        page, token = service.parsed(response, parse)
        paging.check(page, token)
        for name, created in page:
            uri = bucket_beside(service.root, service.bucket, name)
            found.append(Container(name, uri, _without_fraction(created)))
        if token is None:
            return found


def _without_fraction(date: str | None) -> str | None:
    """``2026-11-20T23:52:47.000Z`` as ``2026-11-20T23:52:47Z``."""
    return date.partition(".")[0] + "Z" if date and "." in date else date
