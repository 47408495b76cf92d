"""Settings: records whose every value knows where it came from.

Precedence: argument > ``configure_*()`` > environment > ``.env`` file > configuration file > default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from s3dlio.config import environment, layers
from s3dlio.config.endpoint_list import url_of
from s3dlio.config.endpoints import Endpoint
from s3dlio.config.environment import Layer, variable_layers
from s3dlio.config.fields import Section, SettingField, fields_of, find_field, leaves
from s3dlio.config.layers import PROGRAM, Problem, Reading
from s3dlio.config.sections import (
    AzureSettings,
    ClusterSettings,
    ExecutorSettings,
    FileSettings,
    GcsSettings,
    HttpSettings,
    MiB,
    MultipartSettings,
    RangeSettings,
    RetrySettings,
    S3Settings,
    TransferSettings,
)
from s3dlio.config.sizes import format_size
from s3dlio.errors import ConfigError
from s3dlio.forking import ForkLock
from s3dlio.masking import redact
from s3dlio.records import Record, field, replace


class Shown(NamedTuple):
    """One setting as ``s3-cli config`` prints it."""

    name: str
    value: str
    origin: str
    doc: str


class Settings(Record):
    """All settings, each with its origin in ``origins`` (``"s3.region" -> "environment AWS_REGION"``)."""

    http: HttpSettings = field(default_factory=HttpSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    range: RangeSettings = field(default_factory=RangeSettings)
    multipart: MultipartSettings = field(default_factory=MultipartSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    file: FileSettings = field(default_factory=FileSettings)
    s3: S3Settings = field(default_factory=S3Settings)
    azure: AzureSettings = field(default_factory=AzureSettings)
    gcs: GcsSettings = field(default_factory=GcsSettings)
    endpoints: tuple[Endpoint, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def resolve(cls, environ: Mapping[str, str] | None = None, **arguments: Mapping[str, Any]) -> Self:
        """The settings in force: every layer, the ones that win last.

        Args:
            environ: instead of the environment of the process.
            **arguments: one mapping of values for each section: ``s3={"region": "eu-west-1"}``. None means unset.

        Raises:
            ConfigError: an unknown section or name, or a value of the wrong type; the message says where it was set.
        """
        return cls._read(environ, arguments, None)

    @classmethod
    def inspect(
        cls, environ: Mapping[str, str] | None = None, **arguments: Mapping[str, Any]
    ) -> tuple[Self, list[Problem]]:
        """As ``resolve``, but what cannot be used is left out and returned as problems."""
        problems: list[Problem] = []
        return cls._read(environ, arguments, problems), problems

    @classmethod
    def _read(
        cls,
        environ: Mapping[str, str] | None,
        arguments: Mapping[str, Mapping[str, Any]],
        problems: list[Problem] | None,
    ) -> Self:
        reading = Reading(SECTIONS, problems)
        endpoints = reading.configuration_file(environ)
        reading.variables(environ)
        reading.tables(configured(), PROGRAM[0])
        reading.tables(arguments, PROGRAM[1])
        reading.settle_endpoints()
        sections: dict[str, Any] = {name: kind(**reading.values[name]) for name, kind in SECTIONS.items()}
        return cls(**sections, endpoints=endpoints, origins=reading.origins)

    def replace(self, **arguments: Mapping[str, Any]) -> Self:
        """A copy with other values, given as to ``resolve``."""
        sections: dict[str, Any] = {}
        origins = dict(self.origins)
        for section, name, value in leaves(SECTIONS, arguments, "argument"):
            find_field(SECTIONS, section, name, "argument")
            changed = sections.get(section, getattr(self, section))
            sections[section] = replace(changed, **{name: value})
            origins[f"{section}.{name}"] = "argument"
        if (s3 := sections.get("s3")) is not None:
            sections["s3"] = _settled(s3, arguments["s3"])
        return replace(self, **sections, origins=origins)

    def at(self, endpoint: str) -> Self:
        """The settings for one S3 endpoint: these, with what the configuration file says of it over them. What the
        program itself has set (arguments, ``configure()``) stays.

        Args:
            endpoint: ``host:port`` as a URI names it, or a URL.
        """
        found = next((item for item in self.endpoints if item.means(endpoint)), None)
        if found is None:
            return self
        changed = found.over(name for name, origin in self.origins.items() if origin in PROGRAM)
        if found.url and "://" not in endpoint:
            changed.setdefault("s3", {})["endpoint_url"] = found.url
        sections: dict[str, Any] = {
            section: replace(getattr(self, section), **values) for section, values in changed.items()
        }
        origins = {f"{section}.{name}": found.origin for section, values in changed.items() for name in values}
        return replace(self, **sections, origins={**self.origins, **origins})

    def origin(self, name: str) -> str:
        """Where the value of ``name`` (``"s3.region"``) came from; ``"default"`` where nobody set it."""
        return self.origins.get(name, "default")

    def from_dotenv(self, name: str) -> bool:
        """Whether the value of ``name`` came from a ``.env`` file that was not declared trusted."""
        return self.origin(name).startswith(environment.DOTENV_ORIGIN)

    def describe(self) -> Iterator[Shown]:
        """Every setting with its value, secrets masked, and its origin; then those of single endpoints."""
        for section, kind in SECTIONS.items():
            for name, entry, default in fields_of(kind):
                full = f"{section}.{name}"
                yield Shown(full, _shown(getattr(getattr(self, section), name), entry, default), self.origin(full),
                            entry.doc)  # fmt: skip
        for endpoint in self.endpoints:
            for section, name, value, _ in endpoint.values:
                entry, default = next(found[1:] for found in fields_of(SECTIONS[section]) if found[0] == name)
                title = endpoint.url or endpoint.name
                yield Shown(f'endpoint."{title}".{section}.{name}', _shown(value, entry, default), endpoint.origin,
                            entry.doc)  # fmt: skip


SECTIONS: dict[str, type[Section]] = {
    name: type(value) for name, value in vars(Settings()).items() if isinstance(value, Section)
}


def _settled(s3: S3Settings, given: Mapping[str, Any]) -> S3Settings:
    """Let the endpoint, or the endpoints, that were given be in force."""
    if given.get("endpoints"):
        return replace(s3, endpoint_url=url_of(s3.endpoints[0], s3.tls_ports))
    return replace(s3, endpoints=()) if given.get("endpoint_url") and s3.endpoints else s3


def _shown(value: Any, entry: SettingField, default: Any) -> str:
    if value is None:
        return "-"
    if entry.secret and value:
        return "***"
    if isinstance(default, int) and default >= MiB:
        return format_size(value)
    if isinstance(value, tuple):
        return ",".join(map(redact, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else redact(str(value))


def unknown_variables(sources: Iterable[Layer] | None = None) -> dict[str, str]:
    """The variables called ``S3DLIO_...`` that no setting has, each with what may have been meant."""
    return layers.unknown_variables(SECTIONS, variable_layers() if sources is None else sources)


# -- configure(): the layer of the program itself

_configured: dict[str, dict[str, Any]] = {}
_lock = ForkLock()


def configure(section: str, values: Mapping[str, Any]) -> None:
    """Set values of one section for the whole process, above the environment; None takes one back.

    Raises:
        ConfigError: an unknown section or name, or a value of the wrong type; nothing is changed then.
    """
    if section not in SECTIONS:
        raise ConfigError(f"unknown section '{section}'", hint=f"use one of {', '.join(SECTIONS)}")
    for name, value in values.items():
        entry = find_field(SECTIONS, section, name, "configure()")
        if value is not None:
            entry.read(f"{section}.{name}", value)
    if section == "s3" and values.get("endpoint_url") and not values.get("endpoints"):
        values = {**values, "endpoints": None}  # the later call wins
    with _lock:
        _configured[section] = {**_configured.get(section, {}), **values}


def configured() -> dict[str, dict[str, Any]]:
    """The values that were set with ``configure``."""
    with _lock:
        return {section: dict(values) for section, values in _configured.items()}


def reset_configured() -> None:
    """Drop the values that were set with ``configure``."""
    with _lock:
        _configured.clear()
