"""Creating, deleting and listing buckets (Cloud Storage JSON API, "Buckets")."""

from __future__ import annotations

from s3dlio.errors import AlreadyExistsError
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.gcs import failures, listing
from s3dlio.stores.gcs.service import GcsService
from s3dlio.types import Container

#: The hint for a name that another project has.
TAKEN = "bucket names are shared by all of Google Cloud; choose another"


def create(service: GcsService) -> Steps[None]:
    """Create the bucket; one that exists and that the credentials may see is left as it is.

    Raises:
        AlreadyExistsError: another project has it.
        ConfigError: no project is named.
    """
    query = encode_query([("project", service.account.project())])
    request = service.request("POST", service.bucket_path(""), query, body={"name": service.bucket})
    try:
        yield from service.ask(request, "")
    except AlreadyExistsError as error:
        # all projects share the names of buckets
        found: Response = yield service.request("GET", service.bucket_path(service.bucket), "fields=name")
        if found.status != 200:
            error.hint = TAKEN
            raise


def delete(service: GcsService) -> Steps[None]:
    """Delete the bucket.

    Raises:
        ServiceError: it is not empty.
    """
    try:
        yield from service.send(service.request("DELETE", service.bucket_path(service.bucket)), "", (200, 204))
    except AlreadyExistsError as error:
        raise failures.not_empty(service.root) from error


def list_all(service: GcsService) -> Steps[list[Container]]:
    """All buckets of the project.

    Raises:
        ConfigError: no project is named.
    """
    query = [("project", service.account.project()), ("fields", "items(name,timeCreated),nextPageToken")]
    found = yield from listing.every(service, service.bucket_path(""), query)
    return [Container(item["name"], f"gs://{item['name']}", item.get("timeCreated")) for item in found]
