"""What botocore would send to AWS: its requests are built and signed, and never sent."""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config

SESSION = {"AccessKeyId": "ASIASESSION", "SecretAccessKey": "of/the/session", "SessionToken": "tok/of+session=="}
SESSION_DOCUMENT = (
    '<?xml version="1.0"?><CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Credentials>'
    + "".join(f"<{name}>{value}</{name}>" for name, value in SESSION.items())
    + "<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>"
).encode()


class Asked(NamedTuple):
    """A request: method, URL, and header fields by their names in lower case."""

    method: str
    url: str
    fields: dict[str, str]


class _Seen(Exception):
    pass


class _Raw(io.BytesIO):
    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.read()


@functools.cache
def _session() -> Any:
    session = botocore.session.Session()
    session.set_credentials("AKIDKEYS", "secret")
    return session


@functools.lru_cache(maxsize=256)
def _client(
    region: str, flags: tuple[tuple[str, Any], ...], s3: tuple[tuple[str, Any], ...], endpoint: str | None
) -> Any:
    config = Config(s3=dict(s3), **dict(flags))
    return _session().create_client("s3", region_name=region, endpoint_url=endpoint, config=config)


def botocore_asks(
    operation: str,
    arguments: dict[str, Any],
    *,
    region: str = "us-west-2",
    flags: dict[str, Any] | None = None,
    s3: dict[str, Any] | None = None,
    endpoint: str | None = None,
) -> Asked | Exception:
    """The request that botocore makes of an operation, or why it makes none.

    Args:
        operation: the client's method.
        arguments: of that.
        region: the client's.
        flags: of ``botocore.config.Config``.
        s3: its section ``s3``.
        endpoint: another endpoint than AWS.
    """
    flags = dict(flags or {})
    if "op-" in arguments.get("Bucket", ""):  # Outposts: the rules leave a choice between SigV4 and SigV4A
        flags["auth_scheme_preference"] = "sigv4"
    client = _client(region, tuple(flags.items()), tuple((s3 or {}).items()), endpoint)
    seen: list[Asked] = []

    def stop(request: Any, **_: Any) -> Any:
        fields = {name.lower(): _text(value) for name, value in request.headers.items()}
        if operation != "create_session" and request.url.endswith("?session"):
            return AWSResponse(request.url, 200, {}, _Raw(SESSION_DOCUMENT))
        seen.append(Asked(request.method, request.url, fields))
        raise _Seen

    client.meta.events.register("before-send.s3", stop, "oracle")
    try:
        getattr(client, operation)(**arguments)
    except _Seen:
        return seen[0]
    except Exception as error:
        if seen:
            return seen[0]
        return error
    finally:
        client.meta.events.unregister("before-send.s3", stop, "oracle")
    raise AssertionError("it was sent")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
