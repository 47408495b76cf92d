"""Recovery: a second try of a request whose answer names another region or host, another clock, or refuses the keys."""

from __future__ import annotations

import logging
import re
import time
from urllib.parse import parse_qsl, urlsplit

from s3dlio.errors import ProtocolError, UnsupportedOperationError
from s3dlio.net.dates import clock_of
from s3dlio.net.message import Request, Service
from s3dlio.net.pool import pool_for_url
from s3dlio.net.response import Response
from s3dlio.stores.call import Steps
from s3dlio.stores.cloud.percent import encode_query
from s3dlio.stores.s3 import xml
from s3dlio.stores.s3.credentials import EXPIRED_CODES
from s3dlio.stores.s3.route import Route
from s3dlio.stores.s3.sessions import SessionSigner
from s3dlio.stores.s3.sigv4 import SigV4Signer

log = logging.getLogger("s3dlio.s3")

#: What the name of a region looks like; it becomes part of a host name.
_REGION = re.compile(r"[a-z0-9-]+")
#: The fields of SSE-C, for the object and for the source of a copy.
_CUSTOMER_KEY = "x-amz-(?!meta-).*customer"
#: S3 refuses signatures that are off by more seconds (Amazon S3 API Reference, RequestTimeTooSkewed).
_MAX_SKEW = 15 * 60
_REDIRECTS = (301, 302, 307, 308)


def recover(route: Route, request: Request, response: Response) -> Steps[Response]:
    """Follow what an answer says about region and host, as often as redirects are allowed, and once each what it
    says about clock, credentials and the go-ahead for a body."""
    second_try = SecondTries(route)
    while (again := second_try(request, response)) is not None:
        request = again
        response = yield request
    return response


class SecondTries:
    """The tries of one request: called with it and its answer, gives the request to send instead, or None."""

    __slots__ = ("_moves", "_route", "_tried")

    def __init__(self, route: Route) -> None:
        http = route.settings.http
        self._route = route
        self._tried: set[str] = set()
        self._moves = http.redirect_max if http.follow_redirects else 0

    def __call__(self, request: Request, response: Response) -> Request | None:
        if response.status < 300:
            return None
        again = _second_try(self._route, request, response, self._tried, may_move=self._moves > 0)
        self._moves -= again is not request
        return again


def _second_try(
    route: Route, request: Request, response: Response, tried: set[str], *, may_move: bool
) -> Request | None:
    if response.status == 417 and request.expect_continue:  # a server that knows no go-ahead (RFC 9110, 10.1.1)
        request.expect_continue = False
        return request
    if response.status not in (*_REDIRECTS, 400, 403):
        return None
    signer = request.service.signer
    failure = xml.parse_failure(response.body)
    region = response.header(b"x-amz-bucket-region") or (failure.region if failure else None)
    if region and may_move and (moved := _in_region(route, request, region)) is not None:
        return moved
    code = failure.code if failure else _code_of_head(request, response)
    if isinstance(signer, SigV4Signer) and code and code not in tried:
        tried.add(code)
        if code == "RequestTimeTooSkewed" and (now := time_of(response)) is not None:
            signer.skew = now - time.time()
            return request
        if code in EXPIRED_CODES and (isinstance(signer, SessionSigner) or route.account.credentials.refused()):
            signer.forget_credentials()
            return request
    location = response.header(b"location")
    if response.status in _REDIRECTS and location and may_move:
        return _elsewhere(route, request, location)
    return None


def _in_region(route: Route, request: Request, region: str) -> Request | None:
    """The request for the region that an answer names, unless that is where it went."""
    # Of many requests in flight the first has moved us already: what counts is where this one went.
    misplaced = region != route.region or request.service.entry is not route.home_of(request)
    if not (misplaced and route.is_movable and _REGION.fullmatch(region)):
        return None
    log.info("bucket %s is in region %s", route.bucket, region)
    suffix = request.path.removeprefix(route.base)
    if region != route.region:
        route.locate(region)
    return request.moved(route.home_of(request), route.base + suffix, request.query)


def _elsewhere(route: Route, request: Request, location: str) -> Request | None:
    """The request for the place that a redirect names. Another host gets no signature and so no token; all other fields
    go along: conditions, encryption, tags, metadata.

    Raises:
        ProtocolError: it is no address, or leaves out what the request is about (a version, a part, ...).
        UnsupportedOperationError: it is another host, which must not see the customer's key, and without it an object
            would be stored in the clear.
    """
    try:
        parts = urlsplit(location)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return None
        pool = pool_for_url(location, route.settings.http)
    except ValueError as error:
        raise ProtocolError(f"the server redirects to an address that is none: {location[:200]!r}") from error
    path = parts.path or "/"
    asked, told = parse_qsl(request.query, keep_blank_values=True), parse_qsl(parts.query, keep_blank_values=True)
    if lost := {name for name, _ in asked} - {name for name, _ in told}:
        raise ProtocolError(f"the server redirects to an address that leaves out {', '.join(sorted(lost))}")
    if pool is request.service.pool:
        return request.moved(request.service, path, encode_query(told))  # as a signature wants it
    if request.service.pool.secure and not pool.secure:
        return None  # never from TLS to plain text
    if any(re.match(_CUSTOMER_KEY, name) for name, _ in request.headers):
        raise UnsupportedOperationError(
            f"the server redirects to {pool.name}, another host, which must not see the customer's key",
            status=307, hint="if that host is to be trusted, use it as the endpoint",
        )  # fmt: skip
    account = route.account
    return request.moved(Service(pool, account.unsigned(pool), account.policy), path, parts.query)


def _code_of_head(request: Request, response: Response) -> str:
    """The error code of a refused HEAD, whose answer has no error document: as far as its Date shows it."""
    told = time_of(response) if request.method == "HEAD" and response.status == 403 else None
    signer = request.service.signer
    if told is None or not isinstance(signer, SigV4Signer):
        return ""
    return "RequestTimeTooSkewed" if abs(told - time.time() - signer.skew) > _MAX_SKEW else ""


def time_of(response: Response) -> float | None:
    """The service's clock, in seconds since 1970, where an answer tells it."""
    return clock_of(response.header(b"date"))
