"""Presigned URLs of S3 (Amazon S3 User Guide, "Sharing objects with presigned URLs")."""

from __future__ import annotations

from s3dlio.errors import ConfigError
from s3dlio.net.message import Service
from s3dlio.stores.cloud import presign
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.sigv4 import SigV4Signer


def link(
    account: S3Account, service: Service, path: str, method: str, expires: int, version_id: str | None
) -> str:
    """A URL of ``path`` that carries its own permission; see :meth:`S3Store.presign`."""
    pool, signer = service.pool, service.signer
    assert isinstance(signer, SigV4Signer)  # check_link has said so
    query = [("versionId", version_id)] if version_id else []
    if account.settings.s3.requester_pays:  # which may stand in the query, too
        query.append(("x-amz-request-payer", "requester"))
    return signer.presigned(
        method.upper(), (pool.scheme, pool.host_header, path), account.credentials(), expires, query
    )


def check_link(account: S3Account, uri: str, method: str, expires: int) -> None:
    """Refuse a link that S3 would not honour.

    Raises:
        ConfigError: another method or time than there is, or nobody to sign it.
    """
    presign.check_link(uri, method, expires)
    if account.settings.s3.anonymous:
        raise ConfigError("anonymous access has no key to sign with", uri=uri)
