"""The tags of objects (Amazon S3 API Reference, GetObjectTagging, PutObjectTagging)."""

from __future__ import annotations

from collections.abc import Mapping

from s3dlio.memory.sources import MemorySource
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.s3 import xml
from s3dlio.stores.s3.service import S3Service


def get_tags(service: S3Service, key: str, version_id: str | None = None) -> Steps[dict[str, str]]:
    """The tags of an object, or of one version of it."""
    version = [("versionId", version_id)] if version_id else []
    request = service.request("GET", key, encode_query([("tagging", ""), *version]))
    response = yield from service.send(request, key)
    return service.parsed(response, xml.parse_tags)


def put_tags(service: S3Service, key: str, tags: Mapping[str, str]) -> Steps[None]:
    """Replace the tags of an object."""
    body = xml.render_tags(tags.items())
    fields = (service.body_check(body),)
    request = service.request("PUT", key, "tagging=", fields, MemorySource(memoryview(body)))
    yield from service.send(request, key, (200, 204))
