"""What composite uploads left behind: parts under ``.s3dlio/parts/``, which a process that was killed could not remove.

The sessions of resumable uploads cannot be listed (Cloud Storage JSON API); they end by themselves after a week.
"""

from __future__ import annotations

from s3dlio.errors import S3dlioError, UnsupportedOperationError
from s3dlio.stores.call import Steps
from s3dlio.stores.gcs import listing
from s3dlio.stores.gcs.batch_delete import MAX_REQUESTS, JsonBatches
from s3dlio.stores.gcs.multipart import PARTS
from s3dlio.stores.gcs.service import GcsService
from s3dlio.types import UploadEntry


def page(
    service: GcsService, prefix: str, token: str | None, size: int
) -> Steps[tuple[list[UploadEntry], str | None]]:
    """The uploads whose parts are on one page, each by the directory of its parts, and the token of the next page.

    Raises:
        UnsupportedOperationError: for a prefix: parts do not tell which object they were to become.
    """
    if prefix and not prefix.startswith(PARTS):
        raise UnsupportedOperationError(
            "the parts that uploads left do not tell which object they were to become", uri=service.uri(prefix),
            operation="LIST_UPLOADS", hint=f"name the bucket alone: they are under {PARTS}",
        )  # fmt: skip
    found, following = yield from listing.page(service, PARTS, True, token, None, size)
    begun: dict[str, str | None] = {}
    for entry in found.entries:
        begun.setdefault(entry.key[len(PARTS) :].partition("/")[0], entry.last_modified)
    return [UploadEntry(f"{PARTS}{name}/", name, when) for name, when in begun.items()], following


def remove(service: GcsService, batches: JsonBatches, upload_id: str) -> Steps[None]:
    """Delete the parts of an upload.

    Raises:
        S3dlioError: of the first that cannot be deleted.
    """
    names = [item["name"] for item in (yield from listing.parts(service, f"{PARTS}{upload_id}/"))]
    for start in range(0, len(names), MAX_REQUESTS):
        for name, error in (yield from batches.run(names[start : start + MAX_REQUESTS])):
            assert isinstance(error, S3dlioError)
            error.locate(service.uri(name), "ABORT_UPLOAD")
            raise error
