"""How one setting is declared, read and checked; ``sections`` is the list of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from s3dlio.config.sizes import parse_size, shown
from s3dlio.errors import ConfigError
from s3dlio.records import Record, field

#: Makes the value of a setting from its name and the text of a variable, or what a program passes.
Reader = Callable[[str, Any], Any]


_MAX_INTEGER = 1 << 63


def integer(minimum: int, *, zero: int | None = None) -> Reader:
    """An integer from ``minimum`` on; ``zero`` is what 0 means, where that is another number."""

    def read(name: str, value: Any) -> int:
        written = value.strip() if isinstance(value, str) else ""
        number = len(written) < 20 and written.removeprefix("-").isdecimal()
        if isinstance(value, bool) or not (isinstance(value, int) or number):
            raise ConfigError(f"{name} must be an integer, not {shown(value)}")
        if int(value) == 0 and zero is not None:
            return zero
        if not minimum <= int(value) < _MAX_INTEGER:
            raise ConfigError(f"{name} must be at least {minimum}, and less than 2**63, got {shown(value)}")
        return int(value)

    return read


def size(minimum: int, *, zero: int | None = None) -> Reader:
    """Bytes, as :func:`s3dlio.config.sizes.parse_size` reads them; ``zero`` as of ``integer``."""

    def read(name: str, value: Any) -> int:
        found = parse_size(value, name=name, minimum=minimum if zero is None else 0)
        return zero if found == 0 and zero is not None else found

    return read


_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
#: 31 years; what a system takes for a timeout ends somewhere beyond.
_MAX_SECONDS = 10**9


#: Systems wait in steps of about so long, and what is shorter they take for "for ever".
_MIN_SECONDS = 0.001


def seconds(name: str, value: Any, minimum: float = 0) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not minimum <= number <= _MAX_SECONDS:
        raise ConfigError(f"{name} must be a number of seconds from {minimum:g} to {_MAX_SECONDS}, not {shown(value)}")
    return number


def timeout(name: str, value: Any) -> float:
    """Seconds that something is waited for."""
    return seconds(name, value, _MIN_SECONDS)


ON = ("1", "true", "yes", "on", "enable", "enabled")
OFF = ("0", "false", "no", "off", "disable", "disabled")


def flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    written = value.strip().lower() if isinstance(value, str) else ""
    if written in ON:
        return True
    if written in OFF:
        return False
    raise ConfigError(f"{name} must be true or false, not {shown(value)}")


def flag_or_off(name: str, value: Any) -> bool:
    """As ``flag``, but any other text is false."""
    return value.strip().lower() in ON if isinstance(value, str) else flag(name, value)


def text(name: str, value: Any) -> str:
    """Text; its value is never put into a message, because some of it is secret."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be a str, not {type(value).__name__}")
    return value.strip()


def bandwidth(name: str, value: Any) -> str | None:
    """A limit of bandwidth, in one form for all ways to write it; None where there is none."""
    if value is None or (isinstance(value, str) and value.strip().lower() in OFF):
        return None
    from s3dlio.config.bandwidth import parse_timetable  # few have one

    return str(parse_timetable(value, name=name))


def region_name(name: str, value: Any) -> str:
    """The name of a region: part of every signature, and on AWS of a host name."""
    written = text(name, value)
    if not _REGION.fullmatch(written):
        raise ConfigError(
            f"{name}={shown(value)} is no region", hint="write letters, digits, '-', '_' and '.', as in us-east-1"
        )
    return written


def url(name: str, value: Any) -> str:
    written = text(name, value).rstrip("/")
    scheme, separator, rest = written.partition("://")
    if not separator or scheme not in ("http", "https") or not rest:
        raise ConfigError(f"{name}={shown(value)} is no URL", hint="write http://host:port or https://host:port")
    if "@" in rest.partition("/")[0]:
        raise ConfigError(f"{name} must not hold credentials", hint="there are settings for them")
    if not written.isprintable() or " " in written or rest.startswith("/") or not _has_port_or_none(written):
        raise ConfigError(f"{name}={shown(value)} is no URL", hint="write http://host:port or https://host:port")
    return written


def _has_port_or_none(written: str) -> bool:
    try:
        return urlsplit(written).port != 0
    except ValueError:  # no number, or beyond 65535; brackets that do not match
        return False


def url_or_host(name: str, value: Any) -> str:
    """A URL; ``http://`` may be left out (STORAGE_EMULATOR_HOST is written both ways)."""
    written = text(name, value)
    return url(name, written if "://" in written else f"http://{written}")


def addresses(name: str, value: Any) -> tuple[str, ...]:
    """IP addresses: a list, or a text with commas."""
    import ipaddress

    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{name} must be a list of IP addresses, not {shown(value)}")
    try:
        return tuple(str(ipaddress.ip_address(item.strip())) for item in items if item.strip())
    except ValueError as error:
        raise ConfigError(f"{name}: {error}", hint="write the addresses of this machine as numbers") from None


def choice(*choices: str) -> Reader:
    def read(name: str, value: Any) -> str:
        written = value.strip().lower() if isinstance(value, str) else value
        if written not in choices:
            raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {shown(value)}")
        return cast(str, written)

    return read


class SettingField(NamedTuple):
    """How one setting is read and shown."""

    read: Reader
    variables: tuple[str, ...]
    doc: str
    secret: bool


def setting(default: Any, read: Reader, doc: str, *variables: str, secret: bool = False) -> Any:
    """Declare a setting: its default, its reader, what it does, and its variables, the one that wins first."""
    return field(default=default, repr=not secret, metadata=SettingField(read, variables, doc, secret))


class Section(Record):
    """A group of settings. Values are checked when it is made; secrets are left out of its repr and of its pickle.

    Raises:
        ConfigError: a value of the wrong type or out of range.
    """

    def __post_init__(self) -> None:
        for name, entry, default in fields_of(type(self)):
            value = getattr(self, name)
            if value is not default and not (value is None and default is None):
                self.__dict__[name] = entry.read(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **dict.fromkeys(secrets(type(self)))}


def fields_of(section: type[Section]) -> Iterator[tuple[str, SettingField, Any]]:
    """Every setting of a section: its name, its field, its default."""
    for name, each in section._fields.items():
        yield name, each.metadata, each.default


def secrets(section: type[Section]) -> list[str]:
    """The names of a section's secret settings."""
    return [name for name, entry, _ in fields_of(section) if entry.secret]


def find_field(sections: Mapping[str, type[Section]], section: str, name: str, origin: str) -> SettingField:
    """The field of that name.

    Args:
        sections: every section by its name.
        section: one of these.
        name: the setting.
        origin: where it was set, for the message.

    Raises:
        ConfigError: there is none; the message says what there is.
    """
    known = {known: entry for known, entry, _ in fields_of(sections[section])}
    if name not in known:
        raise ConfigError(f"unknown setting '{section}.{name}' ({origin})", hint=f"use one of {', '.join(known)}")
    return known[name]


def leaves(
    sections: Mapping[str, type[Section]], tables: Mapping[str, Any], origin: str
) -> Iterator[tuple[str, str, Any]]:
    """What tables of settings hold: section, name and value of each; None means unset.

    Raises:
        ConfigError: an unknown section, or one that holds no settings.
    """
    for section, values in tables.items():
        if section not in sections:
            raise ConfigError(f"unknown section '{section}' ({origin})", hint=f"use one of {', '.join(sections)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"section '{section}' must hold settings, not a {type(values).__name__} ({origin})")
        yield from ((section, name, value) for name, value in values.items() if value is not None)


def member_of(kind: type[Any], name: str, value: Any) -> Any:
    """The member of an enumeration, given as itself, by its name or by its value, in any case."""
    for one in kind:
        if value is one or (isinstance(value, str) and value.lower() in (one.name.lower(), one.value)):
            return one
    raise ConfigError(f"unknown {name} {value!r}", hint=f"use one of {', '.join(one.name for one in kind)}")
