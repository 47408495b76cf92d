"""Settings: frozen dataclasses whose every value knows where it came from.

Precedence: argument > ``configure_*()`` > environment > ``.env`` file > configuration file > default. A knob is one
line below: its default, how it is read, its environment variables, and what it does. ``docs/settings.md`` lists them
and a test compares the two.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from s3dlio.config import environment as sources
from s3dlio.config import layers as layering
from s3dlio.config.endpoints import Endpoint
from s3dlio.config.environment import Layer, variable_layers
from s3dlio.config.fields import (
    Knob,
    Section,
    choice,
    find_knob,
    flag,
    flag_or_off,
    integer,
    knob,
    knobs,
    leaves,
    region_name,
    seconds,
    size,
    text,
    timeout,
    url,
    url_or_host,
)
from s3dlio.config.layers import PROGRAM, Reading
from s3dlio.config.layers import Problem as Problem
from s3dlio.config.sizes import format_size
from s3dlio.errors import ConfigError, redact
from s3dlio.forking import ForkLock

KiB, MiB = 1 << 10, 1 << 20


def _h2c(name: str, value: Any) -> bool:
    """A flag; ``auto``, which let the replaced package ask the server, is no."""
    return False if value == "auto" else flag(name, value)


@dataclass(frozen=True)
class HttpSettings(Section):
    """Connections to the services."""

    max_connections: int = knob(256, integer(1, zero=65536), "connections kept open for each host; 0: any number",
                                "S3DLIO_MAX_HTTP_CONNECTIONS", "S3DLIO_POOL_MAX_IDLE_PER_HOST")
    pool_idle_seconds: float = knob(30.0, seconds, "an idle connection is closed after so long",
                                    "S3DLIO_POOL_IDLE_TIMEOUT_SECS")
    connect_timeout: float = knob(5.0, timeout, "seconds to establish a connection", "S3DLIO_CONNECT_TIMEOUT_SECS")
    read_timeout: float = knob(60.0, timeout, "seconds without a byte from the service", "S3DLIO_READ_TIMEOUT_SECS")
    operation_timeout: float | None = knob(None, seconds, "seconds for an operation, all requests and retries",
                                           "S3DLIO_OPERATION_TIMEOUT_SECS")
    ca_bundle: str | None = knob(None, text, "a PEM file of the certificates to trust instead of the system's",
                                 "AWS_CA_BUNDLE", "AWS_CA_BUNDLE_PATH", "REQUESTS_CA_BUNDLE")
    follow_redirects: bool = knob(True, flag, "follow redirects of a service", "S3DLIO_FOLLOW_REDIRECTS")
    redirect_max: int = knob(5, integer(0), "redirects followed in one operation", "S3DLIO_REDIRECT_MAX")


@dataclass(frozen=True)
class RetrySettings(Section):
    """What happens after a failure that may pass."""

    max_attempts: int = knob(5, integer(1, zero=1), "how often a request is sent at most", "S3DLIO_MAX_RETRY_ATTEMPTS",
                             "AWS_MAX_ATTEMPTS")
    base_delay: float = knob(0.1, seconds, "seconds of the first pause at most; each next one may be twice as long",
                             "S3DLIO_RETRY_BASE_DELAY_SECS")
    max_delay: float = knob(20.0, seconds, "seconds that a pause lasts at most", "S3DLIO_RETRY_MAX_DELAY_SECS")
    retry_after_cap: float = knob(60.0, seconds, "seconds that a service's Retry-After is honoured at most",
                                  "S3DLIO_RETRY_AFTER_CAP_SECS")


@dataclass(frozen=True)
class RangeSettings(Section):
    """Large objects are read as concurrent ranges."""

    enabled: bool = knob(True, flag, "read large objects as concurrent ranges", "S3DLIO_ENABLE_RANGE_OPTIMIZATION")
    threshold: int = knob(16 * MiB, size(1), "objects larger than this, and than one range, are read as ranges",
                          "S3DLIO_RANGE_THRESHOLD_MB")
    chunk: int = knob(64 * MiB, size(64 * KiB), "bytes of one range", "S3DLIO_CHUNK_SIZE")
    concurrency: int = knob(32, integer(1), "ranges of one object in flight; in a batch, its max_in_flight counts",
                            "S3DLIO_RANGE_CONCURRENCY")
    size_cache_seconds: float = knob(60.0, seconds, "how long pre_stat_and_cache's sizes are believed",
                                     "S3DLIO_SIZE_CACHE_TTL_SECS")
    size_cache_entries: int = knob(1_000_000, integer(1), "how many of these sizes a store keeps, the latest ones",
                                   "S3DLIO_SIZE_CACHE_MAX_ENTRIES")


@dataclass(frozen=True)
class MultipartSettings(Section):
    """Large objects are written in parts."""

    threshold: int = knob(32 * MiB, size(1, zero=1), "objects larger than this are written in parts",
                          "S3DLIO_DISABLE_MULTIPART", "S3DLIO_MULTIPART_THRESHOLD_MB")
    part_size: int = knob(16 * MiB, size(5 * MiB), "bytes of one part (more where 10,000 parts would not do)",
                          "S3DLIO_MULTIPART_PART_SIZE_MB")
    max_in_flight: int = knob(8, integer(1), "parts of one object in flight; in a batch, its max_in_flight counts",
                              "S3DLIO_MULTIPART_MAX_IN_FLIGHT")
    put_verify: bool = knob(False, flag_or_off, "after every put that was written in parts, ask the store for its size "
                            "and compare", "S3DLIO_MPU_PUT_VERIFY")
    verify_attempts: int = knob(3, integer(1, zero=3), "how often a put in parts is done at most whose size is not the "
                                "one that was written", "S3DLIO_MPU_MAX_RETRIES")
    verify_delay: float = knob(5.0, seconds, "seconds before such a put is done again", "S3DLIO_MPU_RETRY_DELAY_S")


@dataclass(frozen=True)
class ExecutorSettings(Section):
    """The threads that batches share."""

    threads: int = knob(64, integer(1, zero=64), "threads at most; they are started as they are needed",
                        "S3DLIO_RT_THREADS", "S3DLIO_WORKER_THREADS")


@dataclass(frozen=True)
class TransferSettings(Section):
    """What every batch keeps to."""

    max_in_flight_bytes: int = knob(1024 * MiB, size(1), "bytes that a batch of writes holds in flight at most",
                                    "S3DLIO_MAX_IN_FLIGHT_BYTES")
    put_verify: bool = knob(False, flag_or_off, "after every put of one object, ask the store for its size and compare",
                            "S3DLIO_PUT_VERIFY")
    verify_attempts: int = knob(3, integer(1, zero=3), "how often a put in one request is done at most whose size is "
                                "not the one that was written", "S3DLIO_PUT_MAX_RETRIES")
    verify_delay: float = knob(1.0, seconds, "seconds before such a put is done again", "S3DLIO_PUT_RETRY_DELAY_MS")


@dataclass(frozen=True)
class FileSettings(Section):
    """Local files: ``file://`` and ``direct://``."""

    durable: bool = knob(False, flag, "a put returns when file and directory are on the disk (fsync)",
                         "S3DLIO_FILE_DURABLE")
    direct_fallback: str = knob("warn", choice("warn", "error"),
                                "where the file system refuses O_DIRECT: read and write through the page cache and "
                                "log a warning, or raise", "S3DLIO_DIRECT_FALLBACK")
    alignment: int | None = knob(None, size(512), "bytes to which direct:// aligns; unset: what the file system asks "
                                 "for", "S3DLIO_DIRECT_ALIGNMENT")
    direct_min_size: int = knob(0, size(0), "bytes; direct:// reads and writes less than this through the page cache",
                                "S3DLIO_DIRECT_MIN_SIZE")
    page_cache: str = knob("normal", choice("normal", "sequential", "random", "dontneed", "auto"), "what the page "
                           "cache is told of reads: dontneed: to forget what was read; auto: sequential from 64 MiB "
                           "on, random below", "S3DLIO_PAGE_CACHE")


@dataclass(frozen=True)
class S3Settings(Section):
    """``s3://``. What is not set here, boto3 finds: profiles, SSO, web identity, instance roles."""

    endpoint_url: str | None = knob(None, url, "the service; unset: AWS", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    ignore_configured_endpoint_urls: bool | None = knob(
        None, flag, "take no endpoint from variables and profiles, only from the program and the configuration file; "
        "unset: the profile's", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")  # fmt: skip
    region: str | None = knob(None, region_name, "the region to sign for", "AWS_REGION", "AWS_DEFAULT_REGION")
    profile: str | None = knob(None, text, "the profile in ~/.aws", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    addressing: str = knob("auto", choice("auto", "path", "virtual"), "where the bucket stands: in the path or in the "
                           "host name; auto: host name on AWS, path elsewhere", "S3DLIO_S3_ADDRESSING",
                           "AWS_S3_ADDRESSING_STYLE")
    backend: str = knob("native", choice("native", "boto3", "arrow"), "the transport of objects and listings",
                        "S3DLIO_BACKEND")
    anonymous: bool = knob(False, flag, "send unsigned requests", "S3DLIO_S3_ANONYMOUS")
    payload_signing: bool = knob(False, flag, "sign the hash of the payload too, not only the head",
                                 "S3DLIO_S3_PAYLOAD_SIGNING", "S3DLIO_UNSIGNED_PAYLOAD")
    h2c: bool = knob(False, _h2c, "the arrow transport speaks HTTP/2 to http:// endpoints; the others speak HTTP/1.1",
                     "S3DLIO_H2C")
    https_h2: bool = knob(False, flag, "the arrow transport offers HTTP/2 to https:// endpoints; the others speak "
                          "HTTP/1.1", "S3DLIO_HTTPS_H2", "S3DLIO_ENABLE_HTTP2")
    request_checksum_calculation: str | None = knob(None, choice("when_required", "when_supported"), "send checksums; "
                                                    "unset: when_supported on AWS, when_required elsewhere",
                                                    "AWS_REQUEST_CHECKSUM_CALCULATION")
    response_checksum_validation: str | None = knob(None, choice("when_required", "when_supported"), "verify "
                                                    "checksums; unset: when_supported on AWS, when_required elsewhere",
                                                    "AWS_RESPONSE_CHECKSUM_VALIDATION")
    use_fips_endpoint: bool | None = knob(None, flag, "AWS's endpoints with validated cryptography (FIPS 140); unset: "
                                          "the profile's", "AWS_USE_FIPS_ENDPOINT")
    use_dualstack_endpoint: bool | None = knob(None, flag, "AWS's endpoints with IPv6 beside IPv4; unset: the "
                                               "profile's", "AWS_USE_DUALSTACK_ENDPOINT")
    use_accelerate_endpoint: bool | None = knob(None, flag, "AWS's accelerated transfers, by way of the nearest "
                                                "edge location; unset: the profile's",
                                                "S3DLIO_S3_USE_ACCELERATE_ENDPOINT")
    list_version: str = knob("auto", choice("auto", "1", "2"), "the version of ListObjects; auto: the second, and the "
                             "first where the service knows only that", "S3DLIO_S3_LIST_VERSION")
    use_arn_region: bool | None = knob(None, flag, "take the region that the ARN of an access point names, where it is "
                                       "another than the configured one; unset: the profile's, or yes",
                                       "AWS_S3_USE_ARN_REGION")
    disable_multiregion_access_points: bool | None = knob(None, flag, "refuse access points of several regions; unset: "
                                                          "the profile's", "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS")
    disable_express_session_auth: bool | None = knob(None, flag, "sign the requests to directory buckets with your own "
                                                     "keys, without a session; unset: the profile's",
                                                     "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH")
    requester_pays: bool = knob(False, flag, "accept the costs of requests", "S3DLIO_S3_REQUESTER_PAYS")
    tls_ports: str = knob("443", text, "ports (comma) of s3://host:port/ URIs that speak TLS",
                          "S3DLIO_S3_ENDPOINT_TLS_PORTS")
    access_key_id: str | None = knob(None, text, "access key", "AWS_ACCESS_KEY_ID", secret=True)
    secret_access_key: str | None = knob(None, text, "its secret", "AWS_SECRET_ACCESS_KEY", secret=True)
    session_token: str | None = knob(None, text, "the token of a session", "AWS_SESSION_TOKEN", secret=True)


@dataclass(frozen=True)
class AzureSettings(Section):
    """``az://``. What is not set here, azure-identity finds where it is installed."""

    account: str | None = knob(None, text, "the account that az://container/key means",
                               "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
    endpoint_url: str | None = knob(None, url, "the service; unset: Azure",
                                    "AZURE_BLOB_ENDPOINT_URL", "AZURE_STORAGE_ENDPOINT")
    backend: str = knob("native", choice("native", "sdk"), "the transport of blobs and listings",
                        "S3DLIO_AZURE_BACKEND")
    key: str | None = knob(None, text, "the account's key", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY",
                           secret=True)
    sas_token: str | None = knob(None, text, "a shared access signature, with or without its question mark",
                                 "AZURE_STORAGE_SAS_TOKEN", "S3DLIO_AZURE_SAS_TOKEN", secret=True)
    credential: str = knob("auto", choice("auto", "managed-identity", "client-secret", "workload-identity", "sas",
                                          "none"),
                           "which kind of credentials; auto: the first of key, signature and what azure-identity finds",
                           "S3DLIO_AZURE_CREDENTIAL")
    connection_string: str | None = knob(None, text, "account, key and endpoint in one",
                                         "AZURE_STORAGE_CONNECTION_STRING", secret=True)
    anonymous: bool = knob(False, flag, "send requests without credentials", "S3DLIO_AZURE_ANONYMOUS")
    content_md5: bool = knob(False, flag, "send the MD5 of what is written, for Azure to check and keep",
                             "S3DLIO_AZURE_CONTENT_MD5")
    verify_md5: bool = knob(False, flag, "compare whole objects that were read with the MD5 that Azure keeps",
                            "S3DLIO_AZURE_VERIFY_MD5")
    crc64: bool = knob(False, flag, "send and compare the CRC64 of what is written, and compare that of ranges up to 4 "
                       "MiB that are read; needs s3dlio[azure-crc64]", "S3DLIO_AZURE_CRC64")

    @property
    def default_account(self) -> str | None:
        """The account that ``az://container/key`` means: set by its name, or named by the connection string."""
        if self.account or not self.connection_string:
            return self.account
        named = re.search(r"(?:^|;)\s*AccountName=([^;]+)", self.connection_string)
        return named[1].strip() if named else None


@dataclass(frozen=True)
class GcsSettings(Section):
    """``gs://`` and ``gcs://``. What is not set here, google-auth finds."""

    endpoint_url: str | None = knob(None, url_or_host, "the service; unset: Google",
                                    "GCS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST")
    universe_domain: str | None = knob(None, text, "the domain of Google's services; unset: that of the file of "
                                       "credentials, or googleapis.com", "GOOGLE_CLOUD_UNIVERSE_DOMAIN")
    project: str | None = knob(None, text, "the project of new and listed buckets", "GOOGLE_CLOUD_PROJECT",
                               "GCLOUD_PROJECT", "GCS_PROJECT")
    backend: str = knob("native", choice("native", "sdk"), "the transport of objects and listings",
                        "S3DLIO_GCS_BACKEND")
    anonymous: bool = knob(False, flag, "send requests without credentials", "S3DLIO_GCS_ANONYMOUS")
    credentials_file: str | None = knob(None, text, "a file of credentials", "GOOGLE_APPLICATION_CREDENTIALS")
    impersonate: str | None = knob(None, text, "the service account to act as (its e-mail address)",
                                   "S3DLIO_GCS_IMPERSONATE", "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT")
    user_project: str | None = knob(None, text, "the project that pays for requests to requester-pays buckets",
                                    "S3DLIO_GCS_USER_PROJECT")
    composite_upload: bool = knob(True, flag, "write large objects as parallel parts that are composed; needs the "
                                  "right to delete. Otherwise in one resumable upload", "S3DLIO_GCS_COMPOSITE_UPLOAD")
    verify_crc32c: bool = knob(True, flag, "compare whole objects that were read with the CRC32C that the service "
                               "keeps", "S3DLIO_GCS_VERIFY_CRC32C")


class Shown(NamedTuple):
    """One setting as ``s3-cli config`` prints it."""

    name: str
    value: str
    origin: str
    doc: str


@dataclass(frozen=True)
class Settings:
    """All settings, each with its origin in ``origins`` (``"s3.region" -> "environment AWS_REGION"``)."""

    http: HttpSettings = HttpSettings()
    retry: RetrySettings = RetrySettings()
    range: RangeSettings = RangeSettings()
    multipart: MultipartSettings = MultipartSettings()
    executor: ExecutorSettings = ExecutorSettings()
    transfer: TransferSettings = TransferSettings()
    file: FileSettings = FileSettings()
    s3: S3Settings = S3Settings()
    azure: AzureSettings = AzureSettings()
    gcs: GcsSettings = GcsSettings()
    endpoints: tuple[Endpoint, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def resolve(cls, environ: Mapping[str, str] | None = None, **arguments: Mapping[str, Any]) -> Self:
        """The settings in force: every layer, the ones that win last.

        Args:
            environ: instead of the environment of the process.
            **arguments: one mapping of values for each section: ``s3={"region": "eu-west-1"}``. None means unset.

        Raises:
            ConfigError: an unknown section or name, or a value of the wrong type; it says where that stands.
        """
        return cls._read(environ, arguments, None)

    @classmethod
    def inspect(
        cls, environ: Mapping[str, str] | None = None, **arguments: Mapping[str, Any]
    ) -> tuple[Self, list[Problem]]:
        """As ``resolve``, but what cannot be used is left out and told."""
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
        reading.drop_ignored_endpoint()
        sections: dict[str, Any] = {name: kind(**reading.values[name]) for name, kind in SECTIONS.items()}
        return cls(**sections, endpoints=endpoints, origins=reading.origins)

    def replace(self, **arguments: Mapping[str, Any]) -> Self:
        """A copy with other values, given as to ``resolve``."""
        sections: dict[str, Any] = {}
        origins = dict(self.origins)
        for section, name, value in leaves(SECTIONS, arguments, "argument"):
            find_knob(SECTIONS, section, name, "argument")
            changed = sections.get(section, getattr(self, section))
            sections[section] = dataclasses.replace(changed, **{name: value})
            origins[f"{section}.{name}"] = "argument"
        return dataclasses.replace(self, **sections, origins=origins)

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
            section: dataclasses.replace(getattr(self, section), **values) for section, values in changed.items()
        }
        origins = {f"{section}.{name}": found.origin for section, values in changed.items() for name in values}
        return dataclasses.replace(self, **sections, origins={**self.origins, **origins})

    def origin(self, name: str) -> str:
        """Where the value of ``name`` (``"s3.region"``) came from; ``"default"`` where nobody set it."""
        return self.origins.get(name, "default")

    def from_dotenv(self, name: str) -> bool:
        """Whether the value of ``name`` came from a ``.env`` file that nobody has called trusted."""
        return self.origin(name).startswith(sources.DOTENV_ORIGIN)

    def describe(self) -> Iterator[Shown]:
        """Every setting with its value, secrets masked, and its origin; then those of single endpoints."""
        for section, kind in SECTIONS.items():
            for name, entry, default in knobs(kind):
                full = f"{section}.{name}"
                yield Shown(full, _shown(getattr(getattr(self, section), name), entry, default), self.origin(full),
                            entry.doc)  # fmt: skip
        for endpoint in self.endpoints:
            for section, name, value, _ in endpoint.values:
                entry, default = next(found[1:] for found in knobs(SECTIONS[section]) if found[0] == name)
                title = endpoint.url or endpoint.name
                yield Shown(f'endpoint."{title}".{section}.{name}', _shown(value, entry, default), endpoint.origin,
                            entry.doc)  # fmt: skip


SECTIONS: dict[str, type[Section]] = {
    item.name: type(item.default) for item in dataclasses.fields(Settings) if isinstance(item.default, Section)
}


def _shown(value: Any, entry: Knob, default: Any) -> str:
    if value is None:
        return "-"
    if entry.secret and value:
        return "***"
    if isinstance(default, int) and default >= MiB:
        return format_size(value)
    return str(value).lower() if isinstance(value, bool) else redact(str(value))


def unknown_variables(layers: Iterable[Layer] | None = None) -> dict[str, str]:
    """The variables called ``S3DLIO_...`` that no setting has, each with what may have been meant."""
    return layering.unknown_variables(SECTIONS, variable_layers() if layers is None else layers)


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
        entry = find_knob(SECTIONS, section, name, "configure()")
        if value is not None:
            entry.read(f"{section}.{name}", value)
    with _lock:
        _configured[section] = {**_configured.get(section, {}), **values}


def configured() -> dict[str, dict[str, Any]]:
    """What ``configure`` was told."""
    with _lock:
        return {section: dict(values) for section, values in _configured.items()}


def reset_configured() -> None:
    """Forget what ``configure`` was told."""
    with _lock:
        _configured.clear()
