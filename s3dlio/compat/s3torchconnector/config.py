"""What s3torchconnector's clients are configured with, and the client of ours that it makes."""

from __future__ import annotations

from typing import Any

from s3dlio.api import default_client
from s3dlio.client import Client
from s3dlio.errors import ConfigError
from s3dlio.records import Record

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
#: The throughput in Gbit/s, and the bytes of a part, that stand for "as the settings say".
_THROUGHPUT, _PART = 10.0, 8 * MiB


class S3ClientConfig(Record):
    """How a client talks to S3. A field that has its default leaves the matter to the settings.

    Args:
        throughput_target_gbps: Gbit/s that are aimed at: requests of one object in flight are more, or fewer, in
            proportion (10 Gbit/s: as many as the settings say).
        part_size: bytes of a range that is read and of a part that is written: 5 MiB to 5 GiB.
        unsigned: requests are not signed.
        force_path_style: the bucket stands in the path, not in the name of the host.
        max_attempts: how often a request is sent at most.
        profile: of the files in ~/.aws.
    """

    throughput_target_gbps: float = _THROUGHPUT
    part_size: int = _PART
    unsigned: bool = False
    force_path_style: bool = False
    max_attempts: int = 10
    profile: str | None = None


def client_for(region: str | None, endpoint: str | None, config: S3ClientConfig) -> Client:
    """The client for these: the default one where they ask for nothing else. What they leave open, the settings of the
    default client say.

    Args:
        region, endpoint: of ``s3://``.
        config: see there.

    Raises:
        ConfigError: a value that cannot be.
    """
    default = default_client()
    settings = default.settings
    service: dict[str, Any] = {}
    if region and region != settings.s3.region:
        service["region"] = region
    if endpoint:
        service["endpoint_url"] = endpoint
    if config.profile is not None:
        service["profile"] = config.profile
    if config.unsigned:
        service["anonymous"] = True
    if config.force_path_style:
        service["addressing"] = "path"
    sections = {"s3": service} | _sections(config, settings)
    given: dict[str, Any] = {name: values for name, values in sections.items() if values}
    if not given:
        return default
    client = Client(settings, **given)
    for observer in default.stores.observers:
        client.add_observer(observer)
    return client


def _sections(config: S3ClientConfig, settings: Any) -> dict[str, dict[str, Any]]:
    """The settings that the other fields stand for."""
    ranges: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    retry: dict[str, Any] = {}
    if config.part_size != _PART:
        if not isinstance(config.part_size, int) or not 5 * MiB <= config.part_size <= 5 * GiB:
            raise ConfigError(f"part_size must be between 5MiB and 5GiB, not {config.part_size!r}")
        ranges["chunk"] = parts["part_size"] = config.part_size
    if config.throughput_target_gbps != _THROUGHPUT:
        share = config.throughput_target_gbps / _THROUGHPUT
        if not 0 < share < float("inf"):
            raise ConfigError(f"throughput_target_gbps must be more than 0, not {config.throughput_target_gbps!r}")
        ranges["concurrency"] = _scaled(settings.range.concurrency, share, 256)
        parts["max_in_flight"] = _scaled(settings.multipart.max_in_flight, share, 64)
    if config.max_attempts != S3ClientConfig().max_attempts:
        if not isinstance(config.max_attempts, int) or config.max_attempts < 1:
            raise ConfigError(f"max_attempts must be 1 or more, not {config.max_attempts!r}")
        retry["max_attempts"] = config.max_attempts
    return {"range": ranges, "multipart": parts, "retry": retry}


def _scaled(number: int, share: float, most: int) -> int:
    """A number of requests in proportion; more than ``most`` take memory and add nothing."""
    return max(1, min(round(number * share), max(most, number)))
