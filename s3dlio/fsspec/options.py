"""Storage options of fsspec: what they say of the client, in our words and in those of s3fs, adlfs and gcsfs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s3dlio.client import Client
from s3dlio.config.environment import did_you_mean
from s3dlio.config.fields import secrets
from s3dlio.config.settings import SECTIONS, Settings
from s3dlio.errors import ConfigError
from s3dlio.forking import ForkLock

#: Options of fsspec itself, which say nothing of the client.
OF_FSSPEC = frozenset({"use_listings_cache", "listings_expiry_time", "max_paths", "asynchronous", "loop"})

#: Option -> (section, setting): the names that the arguments of a Client and the packages for each service have.
_SERVICE = {
    "endpoint_url", "endpoints", "load_balance_strategy", "region", "profile", "access_key_id", "secret_access_key",
    "session_token", "anonymous",
}  # fmt: skip
_S3 = {
    **{name: ("s3", name) for name in _SERVICE},
    "key": ("s3", "access_key_id"),
    "secret": ("s3", "secret_access_key"),
    "token": ("s3", "session_token"),
    "anon": ("s3", "anonymous"),
    "requester_pays": ("s3", "requester_pays"),
}
_AZURE = {
    "endpoint_url": ("azure", "endpoint_url"),
    "account_url": ("azure", "endpoint_url"),
    "account_name": ("azure", "account"),
    "account_key": ("azure", "key"),
    "sas_token": ("azure", "sas_token"),
    "connection_string": ("azure", "connection_string"),
    "anon": ("azure", "anonymous"),
    "anonymous": ("azure", "anonymous"),
}
_GCS = {
    "endpoint_url": ("gcs", "endpoint_url"),
    "project": ("gcs", "project"),
    "anon": ("gcs", "anonymous"),
    "anonymous": ("gcs", "anonymous"),
    "requester_pays": ("gcs", "user_project"),
}
NAMES: Mapping[str, Mapping[str, tuple[str, str]]] = {"s3": _S3, "az": _AZURE, "gs": _GCS, "file": {}, "direct": {}}
#: What s3fs passes on to botocore.
_CLIENT_KWARGS = {
    "endpoint_url": "endpoint_url",
    "region_name": "region",
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}

_clients: dict[str, Client] = {}
_lock = ForkLock()


def client_arguments(options: Mapping[str, Any], scheme: str) -> dict[str, dict[str, Any]]:
    """The arguments of a Client that storage options stand for: settings by their section.

    Args:
        options: as they were given. What fsspec itself means by some of them is left out.
        scheme: whose names they may have besides those of the sections.

    Raises:
        ConfigError: an option that means nothing here; the message names the one that was probably meant.
    """
    names = NAMES[scheme]
    sections: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name in OF_FSSPEC:
            continue
        if name in SECTIONS and isinstance(value, Mapping):
            sections.setdefault(name, {}).update(value)
        elif name in names:
            section, setting = names[name]
            sections.setdefault(section, {})[setting] = value
        elif name == "client_kwargs" and scheme == "s3":
            sections.setdefault("s3", {}).update(_of_botocore(value))
        else:
            known = {*names, *SECTIONS, *OF_FSSPEC}
            raise ConfigError(
                f"a file system of {scheme}:// has no storage option {name!r}{did_you_mean(name, known)}",
                hint=f"settings go into their sections, http={{'read_timeout': 5}}; sections are {', '.join(SECTIONS)}",
            )
    return sections


def _of_botocore(given: Any) -> dict[str, Any]:
    for name in given:
        if name not in _CLIENT_KWARGS:
            raise ConfigError(
                f"client_kwargs has {name!r}, which means nothing here{did_you_mean(name, _CLIENT_KWARGS)}",
                hint=f"these are understood: {', '.join(_CLIENT_KWARGS)}",
            )
    return {_CLIENT_KWARGS[name]: value for name, value in given.items()}


def client_for(options: Mapping[str, Any], scheme: str) -> Client:
    """The client for storage options: the default one without any, else one for all file systems with the same.

    Raises:
        ConfigError: as of :func:`client_arguments`, or a value of the wrong type.
    """
    from s3dlio.api import default_client

    arguments = client_arguments(options, scheme)
    if not arguments:
        return default_client()
    name = repr(sorted((section, sorted(values.items())) for section, values in arguments.items()))
    with _lock:
        if name not in _clients:
            _clients[name] = Client(**arguments)  # type: ignore[arg-type]  # every section takes a mapping
        return _clients[name]


def without_secrets(options: Mapping[str, Any], scheme: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The options for a pickle, and the settings that were left out of them."""
    kept: dict[str, Any] = {}
    left_out: list[tuple[str, str]] = []
    for name, value in options.items():
        if name in OF_FSSPEC:
            kept[name] = value
            continue
        sections = client_arguments({name: value}, scheme)
        found = [
            (section, setting) for section, values in sections.items() for setting in values
            if setting in secrets(SECTIONS[section])
        ]  # fmt: skip
        left_out += found
        if not found:
            kept[name] = value
        elif name in SECTIONS or name == "client_kwargs":
            hidden = {setting for _, setting in found}
            kept[name] = {each: v for each, v in value.items() if _CLIENT_KWARGS.get(each, each) not in hidden}
    return kept, left_out


def check_found_here(left_out: list[tuple[str, str]]) -> None:
    """See that the secrets that a pickle does not have are set where it is loaded.

    Raises:
        ConfigError: one is not.
    """
    here = Settings.resolve() if left_out else None
    for section, setting in left_out:
        if getattr(getattr(here, section), setting) is None:
            raise ConfigError(
                f"secrets are not pickled, and {section}.{setting} of this file system is not set here",
                hint="set credentials in the environment, so that other processes find them",
            )

