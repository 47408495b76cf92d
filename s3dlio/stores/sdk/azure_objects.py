"""Between azure-storage-blob's objects and the library's own: clients, arguments, answers, errors."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from s3dlio.errors import NetworkError, S3dlioError, TransferTimeoutError
from s3dlio.stores.azure import failures, headers, xml
from s3dlio.stores.azure.account import AzureAccount
from s3dlio.stores.cloud.answer_check import AZURE_API
from s3dlio.stores.cloud.failures import create_only_error
from s3dlio.stores.cloud.tokens import Tokens
from s3dlio.stores.sdk.answers import check_answer, check_redirect, response_of
from s3dlio.types import NO_OPTIONS, Conditions, ListEntry, ObjectMetadata, PutOptions, PutResult


def make_client(account: AzureAccount) -> Any:
    """A BlobServiceClient with the account's endpoint, credentials, time-outs, part sizes and retries."""
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
    from azure.storage.blob import BlobServiceClient, ExponentialRetry

    settings = account.settings
    credential: Any = None
    if account.sas is not None:
        credential = AzureSasCredential(account.sas)
    elif account.written_key is not None:
        credential = AzureNamedKeyCredential(account.name, account.written_key)
    elif account.tokens is not None:
        credential = TokenCredential(account.tokens)
    def look(answer: Any) -> None:
        """Refuse what is not of the service, another range, a redirect to where the request may not go."""
        asked, told = answer.http_request, answer.http_response
        response = response_of(told.status_code, told.headers)
        check_redirect(settings, asked.url, asked.headers, response)
        wanted = asked.headers.get("x-ms-range") or asked.headers.get("range")
        check_answer(AZURE_API, account.url, asked.method, response, wanted)

    retry = ExponentialRetry(
        initial_backoff=0,
        increment_base=2,
        retry_total=settings.retry.max_attempts - 1,
        random_jitter_range=1,
    )
    return BlobServiceClient(
        account.url,
        credential=credential,
        retry_policy=retry,
        raw_response_hook=look,
        connection_timeout=settings.http.connect_timeout,
        read_timeout=settings.http.read_timeout,
        max_single_put_size=settings.multipart.threshold,
        max_block_size=settings.multipart.part_size,
        max_single_get_size=settings.range.chunk,
        max_chunk_get_size=settings.range.chunk,
        connection_verify=settings.http.ca_bundle or True,
    )


class TokenCredential:
    """Tokens in the shape of azure-core's credential, for the SDK.

    The SDK keeps a token until five minutes before its end; these end a minute from now, so that it asks each time.
    """

    def __init__(self, tokens: Tokens[str]) -> None:
        self._tokens = tokens

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """An azure.core.credentials.AccessToken. The SDK names a tenant when the service has refused the last one."""
        if options.get("tenant_id"):
            self._tokens.forget()
        from azure.core.credentials import AccessToken

        return AccessToken(self._tokens(), int(time.time()) + 60)


def condition_arguments(conditions: Conditions) -> dict[str, Any]:
    """The keyword arguments for conditions."""
    from azure.core import MatchConditions

    headers.condition_fields(conditions)  # refuses what Azure has nothing for
    arguments: dict[str, Any] = {}
    if conditions.version_id is not None:
        arguments["version_id"] = conditions.version_id
    if conditions.if_match is not None:
        arguments |= {"etag": conditions.if_match, "match_condition": MatchConditions.IfNotModified}
    elif conditions.if_none_match == "*":
        arguments["match_condition"] = MatchConditions.IfMissing
    elif conditions.if_none_match is not None:
        arguments |= {"etag": conditions.if_none_match, "match_condition": MatchConditions.IfModified}
    return arguments


def put_arguments(options: PutOptions) -> dict[str, Any]:
    """The keyword arguments of a write: properties, metadata, tags, tier and conditions."""
    if options is NO_OPTIONS:
        return {}
    from azure.storage.blob import ContentSettings, StandardBlobTier

    headers.put_fields(options)  # refuses what Azure cannot take
    arguments = condition_arguments(options.conditions)
    given = {name: getattr(options, name) for name, _ in headers.PROPERTIES if getattr(options, name) is not None}
    if given:
        arguments["content_settings"] = ContentSettings(**given)
    if options.metadata is not None:
        arguments["metadata"] = {name.lower(): value for name, value in options.metadata.items()}
    if options.tags:
        arguments["tags"] = dict(options.tags)
    if options.storage_class is not None:
        arguments["standard_blob_tier"] = StandardBlobTier(options.storage_class)
    return arguments


def keep_others(settings: Any, found: Any) -> None:
    """Add to content settings what a blob has, and they do not say."""
    for name, value in vars(found).items():
        if getattr(settings, name, None) is None:
            setattr(settings, name, value)


def metadata_of(found: Any, size: int) -> ObjectMetadata:
    """The metadata in BlobProperties."""
    content = found.content_settings
    return ObjectMetadata(
        size=size,
        etag=found.etag,
        version_id=found.version_id,
        last_modified=found.last_modified.strftime("%Y-%m-%dT%H:%M:%SZ") if found.last_modified else None,
        content_type=content.content_type,
        content_language=content.content_language,
        content_encoding=content.content_encoding,
        cache_control=content.cache_control,
        content_disposition=content.content_disposition,
        storage_class=found.blob_tier,
        server_side_encryption="AES256" if found.server_encrypted else None,
        metadata={name: value for name, value in (found.metadata or {}).items() if name != headers.MARK_NAME},
        md5=base64.b64encode(content.content_md5).decode() if content.content_md5 else None,
        tag_count=found.tag_count,
    )


def total_of(found: Any, length: int) -> int:
    """The size of the whole blob, of which ``length`` bytes were read."""
    total = (found.content_range or "").rpartition("/")[2]
    return int(total) if total.isdigit() else length


def is_directory(blob: Any) -> bool:
    """Whether a blob of a listing represents a directory."""
    metadata = blob.metadata or {}
    return any(name.lower() == "hdi_isfolder" and value.lower() == "true" for name, value in metadata.items())


def entry_of(found: Any) -> ListEntry:
    """The entry in BlobProperties of a listing."""
    modified = found.last_modified.strftime("%Y-%m-%dT%H:%M:%SZ") if found.last_modified else None
    etag = xml.quoted(found.etag) if found.etag else None
    return ListEntry(found.name, found.size, etag, modified, found.blob_tier)


def result_of(answer: dict[str, Any], size: int) -> PutResult:
    """The result of a write from its answer."""
    return PutResult(answer.get("etag"), answer.get("version_id"), size)


@contextlib.contextmanager
def translated(account: AzureAccount, uri: str, options: PutOptions) -> Iterator[None]:
    """The SDK's errors as typed ones. They are not kept as the cause: they hold the request, signature and all."""
    from azure.core.exceptions import (
        AzureError,
        HttpResponseError,
        ServiceRequestTimeoutError,
        ServiceResponseTimeoutError,
    )

    try:
        yield
    except HttpResponseError as error:
        raise create_only_error(_typed(account, uri, error), options) from None
    except (ServiceRequestTimeoutError, ServiceResponseTimeoutError) as error:
        raise TransferTimeoutError(f"no answer: {type(error).__name__}", uri=uri) from None
    except AzureError as error:
        raise NetworkError(f"{account.url} did not answer: {type(error).__name__}", uri=uri) from None


def error_of(account: AzureAccount, uri: str, answer: Any) -> S3dlioError | None:
    """The error in one answer of a batch delete, or None."""
    if answer.status_code == 202:
        return None
    code, request_id = answer.headers.get("x-ms-error-code"), answer.headers.get("x-ms-request-id")
    error = failures.error_of_parts(answer.status_code, code, None, account, request_id=request_id, attempts=1)
    error.locate(uri, "DELETE")
    return error


def _typed(account: AzureAccount, uri: str, error: Any) -> S3dlioError:
    code = getattr(error, "error_code", None)
    response = error.response
    message = (error.message or "").partition("\n")[0].strip()
    typed = failures.error_of_parts(
        error.status_code or 0,
        str(getattr(code, "value", code)) if code else None,
        xml.Failure("", message, ""),
        account,
        request_id=response.headers.get("x-ms-request-id") if response is not None else None,
        attempts=1,
    )
    typed.locate(uri, None)
    return typed
