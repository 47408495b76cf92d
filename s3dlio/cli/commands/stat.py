"""``stat``: what the store tells about objects."""

from __future__ import annotations

import contextlib

from s3dlio.cli.context import Context
from s3dlio.errors import S3dlioError
from s3dlio.types import ObjectMetadata

#: The label of each field, in the order of printing.
_LABELS = {
    "size": "Size",
    "last_modified": "LastModified",
    "etag": "ETag",
    "content_type": "Content-Type",
    "content_language": "Content-Language",
    "content_encoding": "Content-Encoding",
    "cache_control": "Cache-Control",
    "content_disposition": "Content-Disposition",
    "expires": "Expires",
    "storage_class": "StorageClass",
    "version_id": "VersionId",
    "replication_status": "ReplicationStat",
    "server_side_encryption": "SSE",
    "ssekms_key_id": "SSE-KMS Key ID",
    "sse_customer_algorithm": "SSE-C Algorithm",
    "tag_count": "Tags",
}


def run(context: Context) -> None:
    """One labelled line for each field that the store filled in."""
    context.each(context.args.uris, lambda uri: _print(context, uri))


def _print(context: Context, uri: str) -> None:
    out = context.out
    with context.one_object(uri, "ls and du tell what is in it"):
        about = context.client.head(uri, version_id=context.args.version_id)
    told = {**about.as_dict(), "tag_count": _tag_count(context, uri, about)}
    if out.as_json:
        out.result({"uri": uri, **told})
        return
    rows = [f"{'URI':<16}: {uri}"]
    rows += [f"{label:<16}: {told[field]}" for field, label in _LABELS.items() if told[field] is not None]
    if told["metadata"]:
        rows.append("User Metadata:")
        rows += [f"  {name} = {value}" for name, value in sorted(told["metadata"].items())]
    out.results((), map(out.name, rows))


def _tag_count(context: Context, uri: str, about: ObjectMetadata) -> int | None:
    """How many tags the object has; None where the store keeps none, or they may not be read. Programs get the number
    also where it takes a request of its own."""
    if about.tag_count is not None or not context.out.as_json:
        return about.tag_count
    with contextlib.suppress(S3dlioError):
        return len(context.client.get_tags(uri))
    return None
