"""How the settings in force are collected: layer over layer, each value with its origin."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from s3dlio.config import environment
from s3dlio.config.endpoint_list import FILE_VARIABLE, TEMPLATE_VARIABLE, URIS_VARIABLE, of_variable, url_of
from s3dlio.config.endpoints import Endpoint, read_endpoints
from s3dlio.config.environment import Layer, config_file, variable_layers
from s3dlio.config.fields import OFF, ON, Section, fields_of, find_field, leaves
from s3dlio.config.sizes import shown
from s3dlio.errors import ConfigError
from s3dlio.masking import redact

log = logging.getLogger("s3dlio.config.settings")

#: Origins of what the program itself has set, the one that wins last.
PROGRAM = ("configure()", "argument")


class Problem(NamedTuple):
    """A value that cannot be used: the setting, the value (secrets masked), where it was set, and what is wrong."""

    name: str
    value: str
    origin: str
    reason: str


class Reading:
    """The values that were read so far, each with its origin.

    Args:
        sections: every section of the settings.
        problems: takes what would be an error; None: it is raised.
    """

    def __init__(self, sections: Mapping[str, type[Section]], problems: list[Problem] | None) -> None:
        self.values: dict[str, dict[str, Any]] = {name: {} for name in sections}
        self._sections = sections
        self.origins: dict[str, str] = {}
        self._problems = problems

    @contextlib.contextmanager
    def _noted(self, name: str, value: str, origin: str) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            if self._problems is None:
                raise
            self._problems.append(Problem(name, value, origin, str(error)))

    def configuration_file(self, environ: Mapping[str, str] | None) -> tuple[Endpoint, ...]:
        """Take the values of the configuration file; returns its endpoints."""
        path: str = ""
        tables: Mapping[str, Any] = {}
        endpoints: tuple[Endpoint, ...] = ()
        with self._noted("configuration file", "", "S3DLIO_CONFIG"):
            path, tables = config_file(environ)
        with self._noted("endpoint", "", path):
            endpoints = read_endpoints(tables.get("endpoint", {}), self._sections, path)
        others = {section: table for section, table in tables.items() if section != "endpoint"}
        self.tables(others, f"configuration file {path}", f" in {path}")
        return endpoints

    def tables(self, tables: Mapping[str, Any], origin: str, where: str = "") -> None:
        """Take values by section and name; ``where`` ends their names in messages."""
        for title, table in tables.items():
            with self._noted(title, "", origin):
                for section, name, value in leaves(self._sections, {title: table}, origin):
                    self._put(section, name, value, f"{section}.{name}{where}", origin)

    def variables(self, environ: Mapping[str, str] | None) -> None:
        """Take the values of the environment and of the .env file."""
        layers: list[Layer] = []
        with self._noted("dotenv file", "", environment.DOTENV_SWITCH):
            for layer in variable_layers(environ):
                layers.append(layer)
        for layer in reversed(layers):
            for section, name, variable, written in _variables(self._sections, layer.variables):
                self._put(section, name, written, f"{variable} ({layer.origin})", f"{layer.origin} {variable}")
        _log_unknown(self._sections, layers)

    def _put(self, section: str, name: str, value: Any, label: str, origin: str) -> None:
        entry = next((entry for known, entry, _ in fields_of(self._sections[section]) if known == name), None)
        text = value[:200] if isinstance(value, str) else shown(value)
        told = "***" if entry is None or entry.secret else redact(text)
        with self._noted(f"{section}.{name}", told, origin):
            self.values[section][name] = find_field(self._sections, section, name, origin).read(label, value)
            self.origins[f"{section}.{name}"] = origin

    def settle_endpoints(self) -> None:
        """Let one of ``s3.endpoints`` and ``s3.endpoint_url`` be in force: that of the higher layer, and of one layer
        the list. Those that a variable gave are dropped, where ``ignore_configured_endpoint_urls`` is set."""
        s3, origins = self.values["s3"], self.origins
        for name in ("endpoint_url", "endpoints"):
            from_variable = _height(origins.get(f"s3.{name}", "")) in _OF_VARIABLES
            if s3.get("ignore_configured_endpoint_urls") and from_variable:
                s3.pop(name, None)
                origins.pop(f"s3.{name}", None)
        if not s3.get("endpoints"):
            return
        if _height(origins.get("s3.endpoint_url", "")) > _height(origins["s3.endpoints"]):
            del s3["endpoints"], origins["s3.endpoints"]
        else:
            s3["endpoint_url"] = url_of(s3["endpoints"][0], s3.get("tls_ports", "443"))
            origins["s3.endpoint_url"] = origins["s3.endpoints"]


#: What the origins of the layers begin with, the one that wins last; ``trusted`` is a .env file, too.
_LAYERS = ("configuration", "dotenv", "environment", *PROGRAM)
_OF_VARIABLES = (1, 2)


def _height(origin: str) -> int:
    """How high the layer is that a value comes from; -1: it comes from none."""
    kind = origin.removeprefix("trusted ").partition(" ")[0]
    return _LAYERS.index(kind) if kind in _LAYERS else -1


def _variables(
    sections: Mapping[str, type[Section]], variables: Mapping[str, str]
) -> Iterator[tuple[str, str, str, str]]:
    """The variables that are set, each with its setting. An empty one counts as unset."""
    for section, kind in sections.items():
        for name, entry, _ in fields_of(kind):
            for variable in entry.variables:
                if written := _as_setting(variable, variables.get(variable, "").strip()):
                    yield section, name, variable, written
                    break


def _as_setting(variable: str, written: str) -> str:
    """What a variable says, in the unit and the sense of its setting; empty where it says nothing."""
    if variable.endswith("_MB") and written.isdecimal():
        return written + "MiB"  # that is what the reference counts these in
    if variable.endswith("_MS") and written:
        with contextlib.suppress(ValueError):
            return str(float(written) / 1000)
    if variable == "S3DLIO_UNSIGNED_PAYLOAD" and written:
        return "false" if written.lower() in ON else "true" if written.lower() in OFF else written
    if variable == "S3DLIO_DISABLE_MULTIPART":
        return "5000MiB" if written.lower() in ON else ""  # Azure takes no more in one request, S3 hardly more
    if variable in (URIS_VARIABLE, TEMPLATE_VARIABLE, FILE_VARIABLE) and written:
        return of_variable(variable, written)
    return written


def unknown_variables(sections: Mapping[str, type[Section]], layers: Iterable[Layer]) -> dict[str, str]:
    """The variables called ``S3DLIO_...`` that no setting has, each with what may have been meant."""
    known = (variable for kind in sections.values() for _, entry, _ in fields_of(kind) for variable in entry.variables)
    return environment.unknown_variables(known, layers)


_told: set[str] = set()


def _log_unknown(sections: Mapping[str, type[Section]], layers: Iterable[Layer]) -> None:
    """Log each once in a process: a misspelt setting has no other symptom than its missing effect. It may be another
    program's variable, so this is no warning."""
    for name, reason in unknown_variables(sections, layers).items():
        if name not in _told:
            _told.add(name)
            log.info("the variable %s is set, but %s", redact(name), reason)
