"""URIs as s3torchconnector has them: a bucket and a key.

The bucket of ``s3://`` is its name. Elsewhere it is the URI of the container (``gs://bucket``,
``az://account/container``, ``file://``), so that the two together name an object of any scheme.
"""

from __future__ import annotations

from s3dlio.api import default_client
from s3dlio.errors import InvalidURIError
from s3dlio.uri import LOCAL_SCHEMES, parse


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of a URI.

    Raises:
        InvalidURIError: it is none; a ValueError too.
    """
    if not isinstance(uri, str) or not uri:
        raise InvalidURIError("a URI is needed: s3://bucket/key, or one of another scheme", uri=str(uri))
    place = parse(uri, azure_account=default_client().settings.azure.account if uri.startswith("az") else None)
    return place.root.removeprefix("s3://") if place.scheme == "s3" else place.root, place.key


def container_of(bucket: str) -> str:
    """The URI of a bucket, to which a key can be appended."""
    if not bucket:
        raise InvalidURIError("Bucket name must be non-empty")
    if "://" not in bucket:
        return f"s3://{bucket}/"
    if bucket.partition("://")[0] in LOCAL_SCHEMES and bucket.endswith("://"):
        return bucket
    return bucket.rstrip("/") + "/"


def uri_of(bucket: str, key: str) -> str:
    """The URI of an object."""
    return container_of(bucket) + key
