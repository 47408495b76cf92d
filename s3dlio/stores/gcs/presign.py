"""Links with which anybody can do one thing to one object, for a while (Cloud Storage documentation, "Signed URLs")."""

from __future__ import annotations

import datetime
from typing import Any

from s3dlio.errors import ConfigError
from s3dlio.stores.cloud.presign import check_link
from s3dlio.stores.gcs.account import GcsAccount


def presign(
    account: GcsAccount, bucket: str, key: str, method: str, expires: int, version_id: str | None, uri: str
) -> str:
    """A link, signed by google-cloud-storage: with a service account's key, or by Google where one is impersonated.

    Args:
        account: who signs.
        bucket: where the object is.
        key: the object.
        method: what the link is for: GET, PUT, HEAD or DELETE.
        expires: seconds of validity, 1 to 604800.
        version_id: one generation of the object.
        uri: for the error.

    Raises:
        ConfigError: another method or time, or credentials that cannot sign.
    """
    check_link(uri, method, expires)
    if account.anonymous:
        raise ConfigError(
            "anonymous access has no key to sign with", uri=uri, hint="use the credentials of a service account"
        )
    from google.auth.credentials import Signing

    credentials = account.credentials()
    if not isinstance(credentials, Signing):
        raise ConfigError(
            "these Google credentials cannot sign",
            uri=uri,
            hint="use the key of a service account, or impersonate one (S3DLIO_GCS_IMPERSONATE)",
        )
    from google.cloud.storage import Client

    try:
        client: Any = Client(project=account.settings.gcs.project or "none", credentials=credentials)
        blob = client.bucket(bucket).blob(key)
        link: str = blob.generate_signed_url(
            version="v4",
            expiration=datetime.timedelta(seconds=expires),
            method=method.upper(),
            credentials=credentials,
            api_access_endpoint=account.url,
            generation=version_id,
        )
    except Exception as error:  # of google-auth, which may have to ask Google
        raise ConfigError(f"the URL cannot be signed: {error}", uri=uri, hint="check the credentials") from error
    return link
