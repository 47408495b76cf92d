"""URLs that perform one kind of request on one blob, without credentials (Azure Storage REST API, "Create a service
SAS", versions 2020-12-06 and later)."""

from __future__ import annotations

import time

from s3dlio.errors import UnsupportedOperationError
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.azure.sharedkey import API_VERSION, sign
from s3dlio.stores.cloud.hmac_sha256 import HmacSha256
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.cloud.presign import check_link

_PERMISSIONS = {"GET": "r", "HEAD": "r", "PUT": "cw", "DELETE": "d"}


def presign(
    account: AzureAccount, container: str, key: str, path: str, method: str, expires: int, version_id: str | None
) -> str:
    """A URL for one kind of request on a blob. A PUT through it also needs the field ``x-ms-blob-type: BlockBlob``.

    Args:
        account: whose key signs.
        container: its name.
        key: the blob.
        path: that of the blob in the URL, percent-encoded.
        method: ``GET``, ``HEAD``, ``PUT`` or ``DELETE``.
        expires: seconds of validity, 1 to 604800.
        version_id: one version of the blob.

    Raises:
        ConfigError: another method or time.
        UnsupportedOperationError: there is no key of the account.
    """
    uri = f"az://{account.name}/{container}/{key}"
    check_link(uri, method, expires)
    if account.key is None:
        raise UnsupportedOperationError(
            "a URL can be signed with the key of the account only", uri=uri, hint="set AZURE_STORAGE_KEY"
        )
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + expires))
    protocol = "https" if account.url.startswith("https://") else "https,http"
    permissions = _PERMISSIONS[method.upper()]
    query = signed_query(account.name, account.key, f"/{container}/{key}", permissions, end, protocol, version_id)
    root = account.url.removesuffix(account.base)
    return f"{root}{path}?{query}"


def signed_query(
    account: str,
    key: bytes,
    blob: str,
    permissions: str,
    end: str,
    protocol: str,
    version_id: str | None = None,
    api_version: str = API_VERSION,
) -> str:
    """The query of a service SAS for one blob.

    Args:
        account: its name.
        key: its key.
        blob: ``/container/key``, not encoded.
        permissions: letters, in the order that the service wants.
        end: until when, as ``2026-11-20T23:52:48Z``.
        protocol: ``https`` or ``https,http``.
        version_id: one version of the blob.
        api_version: the version of the rules.
    """
    kind = "bv" if version_id else "b"
    # Permissions, start, end, resource, policy, addresses, protocol, version, kind, time, scope; five headers.
    values = [permissions, "", end, f"/blob/{account}{blob}", "", "", protocol, api_version, kind, version_id or ""]
    signature = sign(HmacSha256(key), "\n".join([*values, "", "", "", "", "", ""]))
    query = [("sv", api_version), ("sp", permissions), ("se", end), ("spr", protocol), ("sr", kind), ("sig", signature)]
    return encode_query([*query, *([("versionid", version_id)] if version_id else [])])
