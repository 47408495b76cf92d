"""The index tags of blobs (Azure Storage REST API, "Get Blob Tags", "Set Blob Tags")."""

from __future__ import annotations

from collections.abc import Mapping

from s3dlio.memory.sources import MemorySource
from s3dlio.stores.azure import xml
from s3dlio.stores.azure.service import AzureService
from s3dlio.stores.call import Steps


def get_tags(service: AzureService, key: str) -> Steps[dict[str, str]]:
    """The tags of a blob."""
    response = yield from service.send(service.request("GET", key, "comp=tags"), key)
    return service.parsed(response, xml.parse_tags)


def put_tags(service: AzureService, key: str, tags: Mapping[str, str]) -> Steps[None]:
    """Replace the tags of a blob."""
    body = MemorySource(memoryview(xml.render_tags(tags.items())))
    fields = (("content-type", "application/xml"),)
    yield from service.send(service.request("PUT", key, "comp=tags", fields, body), key, (204,))
