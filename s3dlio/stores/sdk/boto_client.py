"""A boto3 client with the access that an account of ours has: its keys, endpoint, timeouts, retries and checksums."""

from __future__ import annotations

from typing import Any

from s3dlio.stores.cloud.answer_check import S3_API
from s3dlio.stores.s3 import profile
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.credentials import EXPIRED_CODES
from s3dlio.stores.sdk.answers import response_of

#: Where an answer has its body as it came, unless that is an object.
DOCUMENT = "s3dlio.document"
_CHECKSUMS = ("request_checksum_calculation", "response_checksum_validation")


def boto_client(account: S3Account) -> Any:
    """A new client.

    Raises:
        ConfigError: the profile or the endpoint cannot be used.
        ImportError: boto3 is not installed.
    """
    import boto3
    from botocore.config import Config

    session = boto3.Session(botocore_session=profile.open_session(account.settings))
    session._session.register_component("credential_provider", profile.resolver_of(account.credentials))
    client = session.client(
        "s3",
        endpoint_url=account.endpoint_url,
        verify=account.settings.http.ca_bundle,
        config=Config(**_options(account)),
    )

    def new_keys(response: Any, request_dict: dict[str, Any], **_: Any) -> int | None:
        """Seconds until boto3 sends a request again (none), once, when its keys were refused and there are others."""
        code = response[1].get("Error", {}).get("Code") if response else None
        if code not in EXPIRED_CODES or request_dict["context"].setdefault("s3dlio_renewed", False):
            return None
        request_dict["context"]["s3dlio_renewed"] = True
        return 0 if account.credentials.refresh() else None

    def look(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        """Refuse a web page, which boto3 takes for an answer that tells nothing; keep documents as they came."""
        streams = model.has_streaming_output and http_response.status_code < 300
        body = b"" if streams else http_response.content
        answer = response_of(http_response.status_code, http_response.headers, body)
        foreign = S3_API.foreign_answer(answer, client.meta.endpoint_url) if b"<Code>" not in body else None
        if foreign is not None:
            raise foreign
        parsed[DOCUMENT] = body

    client.meta.events.register("needs-retry.s3", new_keys)
    client.meta.events.register("after-call.s3", look)
    if account.settings.s3.requester_pays:
        client.meta.events.register("before-call.s3", _say_who_pays)
    return client


def _options(account: S3Account) -> dict[str, Any]:
    from botocore import UNSIGNED

    s3, http, endpoint = account.settings.s3, account.settings.http, account.endpoint
    options: dict[str, Any] = {
        "region_name": endpoint.region,
        "connect_timeout": http.connect_timeout,
        "read_timeout": http.read_timeout,
        "max_pool_connections": http.max_connections,
        "retries": {"total_max_attempts": account.settings.retry.max_attempts, "mode": "standard"},
        "s3": {
            "addressing_style": "path" if s3.addressing == "auto" and not endpoint.is_aws else s3.addressing,
            "payload_signing_enabled": s3.payload_signing,
            "use_accelerate_endpoint": endpoint.variant.accelerate,
            "use_dualstack_endpoint": endpoint.variant.dualstack,
            "use_arn_region": s3.use_arn_region is not False,
            "s3_disable_multiregion_access_points": bool(s3.disable_multiregion_access_points),
            "disable_s3_express_session_auth": bool(s3.disable_express_session_auth),
        },
        "use_fips_endpoint": endpoint.variant.fips,
        "use_dualstack_endpoint": endpoint.variant.dualstack,
        "ignore_configured_endpoint_urls": True,
        **{name: account.checksums(name) for name in _CHECKSUMS},
    }
    if s3.anonymous:
        options["signature_version"] = UNSIGNED
    return options


def _say_who_pays(params: dict[str, Any], **_: Any) -> None:
    """The client has no such setting, and its verbs do not all take it."""
    params["headers"]["x-amz-request-payer"] = "requester"
