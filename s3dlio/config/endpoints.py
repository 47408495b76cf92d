"""Settings of one S3 endpoint: a table of the configuration file, whose values replace the general ones.

``[endpoint."host:port"]``, or ``[endpoint."https://host:port"]``, holds settings by their full names (``s3.region``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from s3dlio.config.fields import Section, find_field, leaves, url
from s3dlio.errors import ConfigError
from s3dlio.records import Record, field

#: What may differ from one endpoint to another; the rest belongs to the process or to other services.
SECTIONS = ("s3", "http", "retry", "range", "multipart")
#: They belong together: whoever sets one of them sets them all.
CREDENTIALS: Mapping[str, Any] = {
    "profile": None, "access_key_id": None, "secret_access_key": None, "session_token": None, "anonymous": False,
}  # fmt: skip

_HOST_AND_PORT = r"(?a)([\w.-]+|\[[0-9a-fA-F:.]+\]):\d+"


class Value(NamedTuple):
    """One setting of an endpoint."""

    section: str
    name: str
    value: Any
    secret: bool

    def __repr__(self) -> str:
        return f"Value({self.section}.{self.name}={'***' if self.secret else repr(self.value)})"


class Endpoint(Record):
    """What the configuration file says of one endpoint.

    Args:
        name: ``host:port``, as :func:`name_of` gives it.
        url: its URL, where the table is called by one.
        values: what is set there; not in the repr, since some of it may be secret.
        origin: the table and the file.
    """

    name: str
    url: str | None
    values: tuple[Value, ...] = field(repr=False)
    origin: str = field(compare=False)

    def __getstate__(self) -> dict[str, Any]:
        values = tuple(value._replace(value=None) if value.secret else value for value in self.values)
        return {**self.__dict__, "values": values}

    def means(self, endpoint: str) -> bool:
        """Whether ``endpoint`` (``host:port`` or a URL) is this one. What is set for a URL with TLS is not for one
        without, where others would read a session token."""
        if self.url and "://" in endpoint and urlsplit(self.url).scheme != urlsplit(endpoint).scheme:
            return False
        return self.name == name_of(endpoint)

    def over(self, program: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The values by section, without those that the program itself has set.

        Args:
            program: the full names of these (``s3.region``).
        """
        kept = set(program)
        if any(f"s3.{name}" in kept for name in CREDENTIALS):
            kept |= {f"s3.{name}" for name in CREDENTIALS}
        found: dict[str, dict[str, Any]] = {}
        if any(value.section == "s3" and value.name in CREDENTIALS for value in self.values):
            found["s3"] = {name: value for name, value in CREDENTIALS.items() if f"s3.{name}" not in kept}
        for section, name, value, _ in self.values:
            if f"{section}.{name}" not in kept:
                found.setdefault(section, {})[name] = value
        return found


def name_of(endpoint: str) -> str:
    """``host:port`` of a URL or of ``host:port``, in lower case, with the port that the scheme implies. An IPv6 address
    is written in one way of many."""
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    host = parts.hostname or ""
    port = parts.port or (80 if parts.scheme == "http" else 443)
    if ":" in host:
        with suppress(ValueError):
            host = ipaddress.IPv6Address(host).compressed
        return f"[{host}]:{port}"
    return f"{host}:{port}"


def read_endpoints(tables: Any, sections: Mapping[str, type[Section]], path: str) -> tuple[Endpoint, ...]:
    """The endpoints that a configuration file describes.

    Args:
        tables: what stands under ``endpoint``.
        sections: every section of the settings.
        path: the file, for messages.

    Raises:
        ConfigError: no endpoint, an unknown name, a value of the wrong type, an endpoint that has two tables.
    """
    if not isinstance(tables, Mapping):
        raise ConfigError(
            f"'endpoint' must hold tables, one for each endpoint, not a {type(tables).__name__} ({path})",
            hint='write [endpoint."host:port"]',
        )
    allowed = {name: sections[name] for name in SECTIONS}
    found: dict[str, Endpoint] = {}
    for title, table in tables.items():
        origin = f'endpoint."{title}" of configuration file {path}'
        if "://" not in title and not re.fullmatch(_HOST_AND_PORT, title):
            raise ConfigError(f"'{title}' is no endpoint ({path})", hint='write [endpoint."host:port"], or its URL')
        whole = url(origin, title if "://" in title else f"http://{title}")
        if not isinstance(table, Mapping):
            raise ConfigError(f"{origin} must hold settings, not a {type(table).__name__}")
        values = tuple(_values(allowed, table, origin))
        endpoint = Endpoint(name_of(whole), whole if "://" in title else None, values, origin)
        if endpoint.name in found:
            raise ConfigError(f"the endpoint {endpoint.name} is given twice ({path})", hint="join the two tables")
        found[endpoint.name] = endpoint
    return tuple(found.values())


def _values(
    allowed: Mapping[str, type[Section]], table: Mapping[str, Any], origin: str
) -> Iterator[Value]:
    for section, name, written in leaves(allowed, table, origin):
        entry = find_field(allowed, section, name, origin)
        if section == "s3" and name in ("endpoint_url", "endpoints", "load_balance_strategy", "tls_ports"):
            raise ConfigError(f"{section}.{name} cannot be set there ({origin})", hint="the table is called by its URL")
        yield Value(section, name, entry.read(f"{section}.{name} in {origin}", written), entry.secret)


def with_secrets(endpoints: Iterable[Endpoint], here: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """``endpoints`` that were pickled, with the secrets that are set in this process.

    Raises:
        ConfigError: one of them is not.
    """
    known = {(item.name, value.section, value.name): value.value for item in here for value in item.values}
    return tuple(_revived(endpoint, known) for endpoint in endpoints)


def _revived(endpoint: Endpoint, known: Mapping[tuple[str, str, str], Any]) -> Endpoint:
    values = []
    for value in endpoint.values:
        if value.value is None:
            secret = known.get((endpoint.name, value.section, value.name))
            if secret is None:
                raise ConfigError(
                    f"secrets are not pickled, and {value.section}.{value.name} of {endpoint.name} is not set here",
                    hint="have other processes find the same configuration file, or name a profile in it",
                )
            value = value._replace(value=secret)
        values.append(value)
    return Endpoint(endpoint.name, endpoint.url, tuple(values), endpoint.origin)
