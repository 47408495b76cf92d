"""AWS Signature Version 4A: asymmetric, for a set of regions, as access points of several regions ask for it. Amazon's
awscrt computes it (AWS General Reference, "How AWS SigV4A works").
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from s3dlio.errors import ConfigError, MissingDependencyError
from s3dlio.net.message import Request
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.s3.sigv4 import EMPTY_SHA256, EXPECT, UNSIGNED, Credentials, SigV4Signer, sha256_of


def _crt() -> Any:
    try:
        import awscrt.auth
        import awscrt.http
    except ImportError as error:
        raise MissingDependencyError("awscrt", "sigv4a", "an access point of several regions") from error
    return awscrt


class SigV4ASigner(SigV4Signer):
    """As :class:`SigV4Signer`, for a set of regions.

    Raises:
        MissingDependencyError: awscrt is not installed.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._awscrt = _crt()

    def render(self, request: Request) -> bytes:
        method, body = request.method, request.body
        unsigned = ""
        payload = EMPTY_SHA256
        if body is not None:
            payload = sha256_of(body) if self._sign_payload else UNSIGNED
            unsigned = f"content-length: {body.size}\r\n{EXPECT if request.expect_continue else ''}"
        elif method in ("PUT", "POST"):
            unsigned = "content-length: 0\r\n"
        target = f"{request.path}?{request.query}" if request.query else request.path
        fields = [("host", self.host), *request.headers]
        with self.lock:
            credentials = self._credentials()
        signed = self._signed(method, target, fields, credentials, payload=payload)
        sent = "".join([f"{name.lower()}: {value}\r\n" for name, value in signed.headers])
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\n{sent}{unsigned}user-agent: {self._user_agent}\r\n\r\n"
        return head.encode("latin-1")

    def presigned(
        self,
        method: str,
        url: tuple[str, str, str],
        credentials: Credentials,
        expires: int,
        query: Sequence[tuple[str, str]],
    ) -> str:
        scheme, host, path = url
        target = f"{path}?{encode_query(query)}" if query else path
        signed = self._signed(method, target, [("host", host)], credentials, expires=expires)
        return f"{scheme}://{host}{signed.path}"

    def _signed(
        self, method: str, target: str, fields: list[tuple[str, str]], credentials: Credentials, *,
        payload: str = UNSIGNED, expires: int | None = None,
    ) -> Any:  # fmt: skip
        auth, http = self._awscrt.auth, self._awscrt.http
        if not all(part.isascii() and part.isprintable() for part in (credentials.access_key, credentials.token or "")):
            raise ConfigError("the access key or session token has characters that no header can carry")
        from datetime import UTC, datetime

        in_query = expires is not None
        place, body_field = auth.AwsSignatureType, auth.AwsSignedBodyHeaderType
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4_ASYMMETRIC,
            signature_type=place.HTTP_REQUEST_QUERY_PARAMS if in_query else place.HTTP_REQUEST_HEADERS,
            credentials_provider=auth.AwsCredentialsProvider.new_static(
                credentials.access_key, credentials.secret_key, credentials.token
            ),
            region=self.region,
            service=self.service,
            date=datetime.fromtimestamp(time.time() + self.skew, UTC),
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=payload,
            signed_body_header_type=body_field.NONE if in_query else body_field.X_AMZ_CONTENT_SHA_256,
            expiration_in_seconds=expires,
        )
        request = http.HttpRequest(method, target, http.HttpHeaders(fields))
        auth.aws_sign_request(request, config).result()
        return request
