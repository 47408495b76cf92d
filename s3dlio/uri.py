"""URIs: what a string names. No I/O, no percent-decoding: a key is data and stays as it was written."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from s3dlio.errors import InvalidURIError
from s3dlio.wording import either

#: scheme as written -> scheme of the store
SCHEMES = {
    "s3": "s3",
    "az": "az",
    "azure": "az",
    "gs": "gs",
    "gcs": "gs",
    "file": "file",
    "direct": "direct",
    "memory": "memory",
}
LOCAL_SCHEMES = frozenset({"file", "direct"})
#: What may stand for a URI in a call: text, or the path of a local file.
URI = str | os.PathLike[str]
#: The ARN of an S3 access point, which stands in the place of a bucket. Slashes within it do not begin the key.
#: Patterns that few URIs are compared with are compiled when they are first used.
_ARN = (
    r"arn:[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:(?:outpost[:/][A-Za-z0-9-]+[:/])?accesspoint[:/][A-Za-z0-9.-]+"
)


class Location(NamedTuple):
    """A parsed URI.

    ``root`` is the URI of the container (``s3://bucket``, ``s3://host:9000/bucket``, ``az://account/container``,
    ``file://``): all objects of one root share one store. The container of ``s3://`` may be
    the ARN of an access point. ``key`` is the name within it; for local schemes, the path.
    """

    scheme: str
    root: str
    endpoint: str | None
    account: str | None
    container: str
    key: str

    def __str__(self) -> str:
        return self.root + self.key if self.scheme in LOCAL_SCHEMES else f"{self.root}/{self.key}"


def as_uri(target: str | os.PathLike[str]) -> str:
    """A URI for what the user gave: a ``str`` is a URI already, a ``PathLike`` names a local file.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(target, str):
        return target
    if isinstance(target, os.PathLike):
        path = os.fspath(target)
        if isinstance(path, str):
            return "file://" + os.path.abspath(path)
    raise TypeError(f"a URI is a str, or a PathLike for a local file, not {type(target).__name__}")


def has_scheme(text: str) -> bool:
    """Whether ``text`` starts with one of the schemes this library knows."""
    head, separator, _ = text.partition("://")
    return bool(separator) and head.lower() in SCHEMES


def uri_or_path(target: str | os.PathLike[str]) -> str:
    """The same where a ``str`` may be a local path, too: whatever begins with no scheme is one.

    Raises:
        TypeError: as of ``as_uri``.
    """
    if isinstance(target, str) and not has_scheme(target):
        return f"file://{os.path.abspath(target)}"
    return as_uri(target)


_MISTYPED = rf"(?is)({'|'.join(SCHEMES)})(?::/?|//)(?=[^/])(.*)"


def likely_meant(text: str) -> str | None:
    """The URI that was probably meant by a path such as ``s3//bucket/key`` or ``s3:bucket``; None for any other."""
    wrong = None if "://" in text else re.fullmatch(_MISTYPED, text)
    return f"{wrong[1].lower()}://{wrong[2]}" if wrong else None


def parse(uri: str | os.PathLike[str], *, azure_account: str | None = None) -> Location:
    """Split ``uri`` into its parts.

    Args:
        uri: the URI, or a local path object.
        azure_account: the account that ``az://container/key`` means; without it ``az://account/container/key``
            is expected. With it, a URI whose first segment is this account is read in the long form.

    Raises:
        InvalidURIError: no or an unknown scheme, a doubled scheme, no container.
        TypeError: ``uri`` is neither a str nor a PathLike.
    """
    uri = as_uri(uri)
    head, separator, rest = uri.partition("://")
    scheme = SCHEMES.get(head) or SCHEMES.get(head.lower())
    if not separator or scheme is None:
        raise _unknown_scheme(uri)
    if rest.partition("://")[0] in SCHEMES and "://" in rest:
        raise InvalidURIError("the scheme is given twice", uri=uri, hint=f"did you mean '{rest}'?")
    if scheme in LOCAL_SCHEMES:
        return _local(uri, scheme, rest)
    if "\x00" in rest:
        raise InvalidURIError("a NUL character cannot be in a URI", uri=uri)
    if scheme == "s3":
        return _s3(uri, rest)
    if scheme == "az":
        return _azure(uri, rest, azure_account)
    container, _, key = rest.partition("/")
    _check_container(uri, container)
    return Location(scheme, f"{scheme}://{container}", None, None, container, key)


def _unknown_scheme(uri: str) -> InvalidURIError:
    known = ", ".join(f"{name}://" for name in SCHEMES if name != "azure")
    hint = f"use one of {known}"
    if "://" not in uri and uri.strip():
        hint = f"a local path is written file://{os.path.abspath(os.path.expanduser(uri))}; {hint}"
    return InvalidURIError("unable to infer the storage backend from the URI", uri=uri, hint=hint)


def _local(uri: str, scheme: str, path: str) -> Location:
    if not path:
        raise InvalidURIError("the path is empty", uri=uri, hint=f"write {scheme}:///absolute/path")
    if "\x00" in path:
        raise InvalidURIError("a NUL character cannot be in a path", uri=uri)
    return Location(scheme, f"{scheme}://", None, None, "", path)


def _s3(uri: str, rest: str) -> Location:
    first, _, tail = rest.partition("/")
    if endpoint := _endpoint(first):
        bucket, key = _bucket(uri, tail)
        return Location("s3", f"s3://{endpoint}/{bucket}", endpoint, None, bucket, key)
    bucket, key = _bucket(uri, rest)
    return Location("s3", f"s3://{bucket}", None, None, bucket, key)


def _bucket(uri: str, text: str) -> tuple[str, str]:
    """The bucket or access point that ``text`` starts with, and the key."""
    if not text.startswith("arn:"):
        bucket, _, key = text.partition("/")
        _check_container(uri, bucket)
        return bucket, key
    match = re.match(_ARN, text)
    if match is None or text[match.end() : match.end() + 1] not in ("", "/"):
        hint = "write s3://arn:aws:s3:region:account:accesspoint/name/key"
        if text.startswith("arn:") and ":s3:::" in text:
            hint = f"write s3://{text.partition(':::')[2]}"
        raise InvalidURIError("this is no ARN of an access point", uri=uri, hint=hint)
    return match[0], text[match.end() + 1 :]


def _endpoint(segment: str) -> str | None:
    """The first segment is a server, not a bucket, only when it names a port (``host:9000``, ``[::1]:9000``)."""
    host, colon, port = segment.rpartition(":")
    if colon and host and port.isdecimal() and 0 < int(port) < 65536 and (":" not in host or host.startswith("[")):
        return segment
    return None


def _azure(uri: str, rest: str, azure_account: str | None) -> Location:
    first, _, tail = rest.partition("/")
    if azure_account and first != azure_account:
        account, container, key, root = azure_account, first, tail, f"az://{first}"
    else:
        account = first
        container, _, key = tail.partition("/")
        root = f"az://{account}/{container}"
        if account and not container:
            raise InvalidURIError(
                "the URI names no container",
                uri=uri,
                hint="write az://account/container/key, or set AZURE_STORAGE_ACCOUNT and write az://container/key",
            )
    _check_container(uri, container)
    return Location("az", root, None, account, container, key)


def _check_container(uri: str, name: str) -> None:
    if not name:
        raise InvalidURIError(
            "the bucket (container) name is empty",
            uri=uri,
            hint=f"write scheme://bucket/key; {either('list_containers', 's3-cli ls')} shows what there is",
        )
    if "@" in name:  # what stands before it may be a password, which no message repeats
        raise InvalidURIError(
            "credentials do not belong in a URI", uri=uri, hint="put them in the environment, or in a profile"
        )
    if not name.isascii() or not all(c.isalnum() or c in "-._$" for c in name):
        raise InvalidURIError(f"'{name}' cannot be the name of a bucket (container)", uri=uri)
    if name in (".", ".."):
        raise InvalidURIError(f"'{name}' cannot be the name of a bucket (container)", uri=uri)


def bucket_beside(root: str, bucket: str, other: str) -> str:
    """The URI of the bucket ``other`` of the same S3 service, by the endpoint that ``root`` names, if it names one.

    Args:
        root: the URI of ``bucket``, or without one that of the service (``s3:``, ``s3://host:9000``).
    """
    service = root.removesuffix(bucket).rstrip("/")
    return f"s3://{other}" if service == "s3:" else f"{service}/{other}"


def is_directory_like(key: str) -> bool:
    """Whether a key selects the contents of a directory: empty, or ending in ``/``."""
    return not key or key.endswith("/")


def parse_container(
    uri: str | os.PathLike[str], *, azure_account: str | None = None, keyed: bool = False
) -> Location:
    """The container that ``uri`` names: a URI without a key, or for S3 the bare name of a bucket.

    A container may be left out (``s3://``, ``s3://host:9000``, ``az://account``): the location then stands for the
    service, whose containers can be listed.

    Raises:
        InvalidURIError: as of :func:`parse`, and, unless ``keyed``, when an object is named.
    """
    uri = as_uri(uri)
    if "://" not in uri:
        if uri[:1] in ("/", ".", "~") or ("/" in uri.rstrip("/") and not uri.startswith("arn:")):
            raise _unknown_scheme(uri)  # a path, and no bare name of a bucket
        uri = f"s3://{uri}"
    head, _, rest = uri.partition("://")
    scheme = SCHEMES.get(head.lower())
    first, _, tail = rest.partition("/")
    if scheme == "s3" and not tail and (not first or _endpoint(first)):
        return Location("s3", f"s3://{first}".rstrip("/"), first or None, None, "", "")
    if scheme == "az" and not tail and (not first or not azure_account or first == azure_account):
        return Location("az", f"az://{first}".rstrip("/"), None, first or azure_account, "", "")
    if scheme in ("gs", "memory") and not rest:
        return Location(scheme, f"{scheme}:/", None, None, "", "")
    location = parse(uri, azure_account=azure_account)
    if location.key and location.scheme not in LOCAL_SCHEMES and not keyed:
        raise InvalidURIError("the URI names an object, not a bucket (container)", uri=uri, hint="leave the key out")
    return location


def in_bucket(bucket: URI, key: str) -> str:
    """The URI of a key in a bucket of ``s3://``, which is named with or without the scheme."""
    return f"s3://{os.fspath(bucket).removeprefix('s3://').rstrip('/')}/{key}"
