"""Creating, deleting and listing containers (Azure Storage REST API, "Create Container", "Delete Container", "List
Containers")."""

from __future__ import annotations

from s3dlio.errors import S3dlioError
from s3dlio.stores.azure import failures, listing, xml
from s3dlio.stores.azure.service import AzureService
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.paging import Paging
from s3dlio.types import Container


def create(service: AzureService) -> Steps[None]:
    """Create the container; one that exists is left as it is."""
    try:
        yield from service.send(service.request("PUT", "", "restype=container"), "", (201,))
    except S3dlioError as error:
        if error.code != "ContainerAlreadyExists":
            raise


def delete(service: AzureService) -> Steps[None]:
    """Delete the container. Azure would delete it with all its blobs, so it is listed first.

    Raises:
        ServiceError: it is not empty.
    """
    marker: str | None = None
    paging = Paging()
    while True:
        page, marker = yield from listing.page(service, "", True, marker, None, 1)
        if page.keys:
            raise failures.not_empty(service.root)
        paging.check(page.keys, marker)
        if marker is None:
            break
    yield from service.send(service.request("DELETE", "", "restype=container"), "", (202,))


def list_all(service: AzureService) -> Steps[list[Container]]:
    """All containers of the account."""
    found: list[Container] = []
    marker: str | None = None
    paging = Paging()
    while True:
        query = encode_query([("comp", "list"), *([("marker", marker)] if marker else [])])
        response = yield from service.send(service.account_request(query), "")
        names, marker = service.parsed(response, xml.parse_containers)
        paging.check(names, marker)
        found += [Container(name, f"az://{service.account.name}/{name}") for name in names]
        if marker is None:
            return found
