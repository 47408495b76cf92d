"""Between google-cloud-storage's objects and the library's own: clients, arguments, answers, errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from s3dlio.errors import (
    IntegrityError,
    NetworkError,
    PermissionDeniedError,
    PreconditionFailedError,
    S3dlioError,
    TransferTimeoutError,
)
from s3dlio.memory import crc32c
from s3dlio.stores.cloud.answer_check import GCS_API
from s3dlio.stores.cloud.failures import create_only_error
from s3dlio.stores.cloud.write_outcome import MARK
from s3dlio.stores.gcs import failures, headers
from s3dlio.stores.gcs.account import GcsAccount
from s3dlio.stores.gcs.credentials import GOOGLE, trust_bundle
from s3dlio.stores.sdk.answers import check_answer, check_redirect, response_of
from s3dlio.types import NO_OPTIONS, Conditions, ListEntry, ObjectMetadata, PutOptions


def make_client(account: GcsAccount) -> Any:
    """A Client with the endpoint, credentials, project and CA bundle of the account."""
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud.storage import Client

    make: Any = AnonymousCredentials
    credentials = make() if account.anonymous else account.credentials()
    start_session: Any = AuthorizedSession
    session = start_session(credentials)
    trust_bundle(session, account.settings.http.ca_bundle)

    def look(told: Any, **_: Any) -> None:
        """Refuse what is not of the service, another range, a redirect to where the request may not go."""
        asked = told.request
        response = response_of(told.status_code, told.headers)
        check_redirect(account.settings, asked.url, asked.headers, response)
        check_answer(GCS_API, account.url, asked.method, response, asked.headers.get("range"))

    session.hooks["response"].append(look)
    # No project is needed but for buckets, and then the account names it.
    return Client(
        project=account.settings.gcs.project or "none",
        credentials=credentials,
        _http=session,
        client_options={
            "api_endpoint": account.url,
            "universe_domain": getattr(credentials, "universe_domain", None) or account.universe or GOOGLE,
        },
    )


def retry_of(account: GcsAccount) -> Any:
    """The SDK's retries for one call, with the delays and the number of the settings (its default: two minutes)."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    settings = account.settings.retry
    left = settings.max_attempts - 1
    transient = DEFAULT_RETRY._predicate  # the SDK has no public name for it

    def again(error: Exception) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and transient(error)

    paced = DEFAULT_RETRY.with_delay(initial=settings.base_delay, maximum=settings.max_delay, multiplier=2.0)
    return paced.with_predicate(again)


def read_arguments(conditions: Conditions) -> dict[str, Any]:
    """The keyword arguments for a read's conditions."""
    headers.condition_fields(conditions)  # raises for what cannot be in a header
    return {
        "if_etag_match": conditions.if_match,
        "if_etag_not_match": conditions.if_none_match,
        "if_generation_match": conditions.generation,
    }


def describe(blob: Any, options: PutOptions, mark: str | None = None) -> None:
    """Set the properties of a write on a blob."""
    for name, value in headers.marked(headers.properties(options), mark).items():
        blob._patch_property(name, value)  # what its own setters do, one property each


def metadata_of(blob: Any, size: int) -> ObjectMetadata:
    """The metadata of a Blob."""
    return ObjectMetadata(
        size=size,
        etag=blob.etag,
        version_id=str(blob.generation) if blob.generation else None,
        last_modified=blob.updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if blob.updated else None,
        content_type=blob.content_type,
        content_language=blob.content_language,
        content_encoding=blob.content_encoding,
        cache_control=blob.cache_control,
        content_disposition=blob.content_disposition,
        storage_class=blob.storage_class,
        ssekms_key_id=blob.kms_key_name,
        metadata={name: value for name, value in (blob.metadata or {}).items() if name != MARK},
        crc32c=crc32c.from_base64(blob.crc32c) if blob.crc32c else None,
        md5=blob.md5_hash,
    )


def entry_of(blob: Any) -> ListEntry:
    """The entry of a Blob of a listing."""
    modified = blob.updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if blob.updated else None
    return ListEntry(blob.name, blob.size, blob.etag, modified, blob.storage_class)


@contextlib.contextmanager
def translated(account: GcsAccount, uri: str, options: PutOptions = NO_OPTIONS) -> Iterator[None]:
    """The SDK's errors as typed errors of ``uri``. They are not the cause of those: they hold the token."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests.exceptions import RequestException

    try:
        yield
    except (
        GoogleAPICallError, RetryError, InvalidResponse, DataCorruption, GoogleAuthError, RequestException,
        ConnectionError,
    ) as error:  # fmt: skip
        cause = error.cause if isinstance(error, RetryError) and error.cause else error
        typed = _typed(cause, account)
        typed.locate(uri, None)
        if isinstance(typed, PreconditionFailedError):
            typed = create_only_error(typed, options)
        raise typed from None


def _typed(error: BaseException, account: GcsAccount) -> S3dlioError:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests.exceptions import Timeout

    kind = type(error).__name__
    if isinstance(error, GoogleAPICallError):
        return _answered(error.code, error.response, anonymous=account.anonymous)
    if isinstance(error, InvalidResponse):
        return _answered(error.response.status_code, error.response, anonymous=account.anonymous)
    if isinstance(error, DataCorruption):
        return IntegrityError("the bytes are not those of the checksum", hint="try again")
    if isinstance(error, GoogleAuthError):
        return PermissionDeniedError(f"Google gave no token: {kind}")
    if isinstance(error, Timeout):
        return TransferTimeoutError(f"no answer in time: {kind}")
    return NetworkError(f"{account.url} did not answer: {kind}")


def _answered(status: Any, response: Any, *, anonymous: bool) -> S3dlioError:
    return failures.error_of_parts(
        int(status or 0),
        response.content if response is not None else b"",
        request_id=response.headers.get("x-guploader-uploadid") if response is not None else None,
        anonymous=anonymous,
    )
