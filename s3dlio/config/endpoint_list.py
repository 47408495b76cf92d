"""The endpoints of one S3 store, and how a process shares its requests out among them: what settings say of it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from s3dlio.config.fields import url
from s3dlio.config.sizes import shown
from s3dlio.errors import ConfigError
from s3dlio.launcher import RANK_VARIABLES
from s3dlio.masking import redact
from s3dlio.uri_templates import expand_template

log = logging.getLogger("s3dlio.config.settings")

MAX_ENDPOINTS = 32
ROUND_ROBIN, LEAST_CONNECTIONS = "round_robin", "least_connections"
SHORTEST_EXPECTED_WAIT, RANK = "shortest_expected_wait", "rank"
STRATEGIES = (ROUND_ROBIN, LEAST_CONNECTIONS, SHORTEST_EXPECTED_WAIT, RANK)

URIS_VARIABLE, TEMPLATE_VARIABLE, FILE_VARIABLE = "S3_ENDPOINT_URIS", "S3_ENDPOINT_TEMPLATE", "S3_ENDPOINT_FILE"
STRATEGY_VARIABLE = "S3_LOAD_BALANCE_STRATEGY"

_SERVER = re.compile(r"(?:(s3|https?)://)?([^/@?#\s{}]+)((?:/[^?#\s]*)?)", re.IGNORECASE | re.ASCII)
_PORT = re.compile(r":\d+$", re.ASCII)


def endpoint_list(name: str, value: Any) -> tuple[str, ...]:
    """The endpoints of a list, or of a text with commas: ``http://host:port``, ``https://...``, ``s3://host:port`` or
    ``host:port``. Templates (``http://10.0.0.{1...8}:9000``) stand for several, and so does ``@FILE``, with one a line.

    Raises:
        ConfigError: none, more than 32, one twice, of several schemes, or with several paths; or what is no endpoint.
    """
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{name} must be a list of endpoints, not {shown(value)}")
    if items == ():
        return ()
    found = [_endpoint(name, one) for item in _written_out(name, items) for one in expand_template(item)]
    check_count(len(found))
    if twice := [one for one in dict.fromkeys(found) if found.count(one) > 1]:
        raise ConfigError(f"{name} has the endpoint {redact(twice[0])} twice")
    parts = [urlsplit(one) for one in found]
    if len(schemes := sorted({part.scheme for part in parts})) > 1:
        raise ConfigError(f"the endpoints of {name} have several schemes: {', '.join(schemes)}")
    if len({part.path for part in parts}) > 1:
        raise ConfigError(f"the endpoints of {name} have different paths", hint="they are doors to one store")
    return tuple(found)


def _written_out(name: str, items: Iterable[str]) -> Iterator[str]:
    """The items that are not empty, with those of files in place of these."""
    for item in map(str.strip, items):
        if item.startswith("@"):
            yield from lines_of(item[1:], name)
        elif item:
            yield item


def check_count(count: int) -> None:
    """Refuse too many endpoints, and none.

    Raises:
        ConfigError: fewer than 1, or more than 32.
    """
    if not count:
        raise ConfigError("no endpoints", hint=f"name 1 to {MAX_ENDPOINTS} of them")
    if count > MAX_ENDPOINTS:
        raise ConfigError(f"Too many endpoints: {count} exceeds maximum of {MAX_ENDPOINTS} (MAX_ENDPOINTS)")


def _endpoint(name: str, written: str) -> str:
    """One endpoint: a URL, or ``s3://host:port``."""
    match = _SERVER.fullmatch(written)
    scheme, host, path = ((match[1] or "s3").lower(), match[2], match[3]) if match else ("", "", "")
    if not match or (scheme == "s3" and (not _PORT.search(host) or path.strip("/"))):
        raise ConfigError(
            f"{name}: {shown(redact(written))} is no endpoint",
            hint="write http://host:port, https://host:port or host:port",
        )
    checked = url(name, f"{'http' if scheme == 's3' else scheme}://{host}{path}")
    return f"s3://{host}" if scheme == "s3" else checked


def url_of(endpoint: str, tls_ports: str) -> str:
    """The URL of an endpoint; ``tls_ports`` says which ``s3://host:port`` speak TLS."""
    scheme, _, host = endpoint.partition("://")
    if scheme != "s3":
        return endpoint
    tls = host.rpartition(":")[2] in {port.strip() for port in tls_ports.split(",")}
    return f"{'https' if tls else 'http'}://{host}"


def strategy(name: str, value: Any) -> str:
    """The name of a strategy, in any case.

    Raises:
        ConfigError: there is no such strategy.
    """
    written = value.strip().lower().replace("-", "_") if isinstance(value, str) else value
    if written not in STRATEGIES:
        first, second, *others = STRATEGIES
        raise ConfigError(
            f"Invalid strategy {value!r}. Use '{first}' or '{second}'", hint=f"there are also {' and '.join(others)}"
        )
    return str(written)


def rank(environ: Mapping[str, str] | None = None) -> int | None:
    """The rank of this process among all of its job, by what MPI or Slurm has put into its environment; None where
    nobody has."""
    environ = os.environ if environ is None else environ
    for name in RANK_VARIABLES:
        if (written := environ.get(name, "").strip()).isdecimal():
            return int(written)
    return None


def of_variable(variable: str, written: str) -> str:
    """What ``S3_ENDPOINT_URIS``, ``_TEMPLATE`` or ``_FILE`` says to ordinary clients, with commas between endpoints;
    nothing where it names places beneath (``s3://bucket-1/data``), which are for :class:`s3dlio.MultiEndpointStore`.
    """
    if variable == FILE_VARIABLE:
        path = written.removeprefix("file://")
        try:
            items = lines_of(path, variable)
        except ConfigError:
            items = ["://"] if "://" in path else []  # the setting's reader says why; elsewhere it is not for us
        written = f"@{path}"
    else:
        items = [item.strip() for item in written.split(",") if item.strip()]
    if all(map(_may_be_server, items)):
        return written
    log.info("%s names no S3 services, and is left to create_multi_endpoint_store_from_env()", variable)
    return ""


def lines_of(path: str, variable: str) -> list[str]:
    """The lines of a file that are neither empty nor comments (``#``).

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read(1 << 20).splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{variable}: cannot read {path!r}: {error}") from error
    return [text for line in lines if (text := line.strip()) and not text.startswith("#")]


def _may_be_server(item: str) -> bool:
    """Whether an item is no place beneath a server: ``s3://bucket/data``, ``file:///...``."""
    scheme, mark, rest = item.partition("://")
    if not mark or scheme.lower() in ("http", "https"):
        return True
    return scheme.lower() == "s3" and _PORT.search(rest.rstrip("/")) is not None and "/" not in rest.rstrip("/")
