"""Every setting, one field each: its default, how it is read, what it does, and its environment variables.

``docs/settings.md`` lists them and a test compares the two.
"""

from __future__ import annotations

import re
from typing import Any

from s3dlio.config.endpoint_list import (
    FILE_VARIABLE,
    ROUND_ROBIN,
    STRATEGY_VARIABLE,
    TEMPLATE_VARIABLE,
    URIS_VARIABLE,
    endpoint_list,
    strategy,
)
from s3dlio.config.fields import (
    Section,
    addresses,
    bandwidth,
    choice,
    flag,
    flag_or_off,
    integer,
    region_name,
    seconds,
    setting,
    size,
    text,
    timeout,
    url,
    url_or_host,
)

KiB, MiB = 1 << 10, 1 << 20


def _h2c(name: str, value: Any) -> bool:
    """A flag; ``auto``, which let the replaced package ask the server, is no."""
    return False if value == "auto" else flag(name, value)


class HttpSettings(Section):
    """Connections to the services."""

    max_connections: int = setting(
        256, integer(1, zero=65536), "connections kept open for each host; 0: any number",
        "S3DLIO_MAX_HTTP_CONNECTIONS", "S3DLIO_POOL_MAX_IDLE_PER_HOST"
    )  # fmt: skip
    pool_idle_seconds: float = setting(
        30.0, seconds, "an idle connection is closed after so long", "S3DLIO_POOL_IDLE_TIMEOUT_SECS"
    )  # fmt: skip
    connect_timeout: float = setting(5.0, timeout, "seconds to establish a connection", "S3DLIO_CONNECT_TIMEOUT_SECS")
    read_timeout: float = setting(60.0, timeout, "seconds without a byte from the service", "S3DLIO_READ_TIMEOUT_SECS")
    operation_timeout: float | None = setting(
        None, seconds, "seconds for an operation, all requests and retries", "S3DLIO_OPERATION_TIMEOUT_SECS"
    )  # fmt: skip
    source_addresses: tuple[str, ...] = setting(
        (), addresses, "addresses of this machine (comma) that connections are made from, each in its turn; unset: the "
        "system's choice", "S3DLIO_SOURCE_ADDRESSES"
    )  # fmt: skip
    ca_bundle: str | None = setting(
        None, text, "a PEM file of the certificates to trust instead of the system's",
        "AWS_CA_BUNDLE", "AWS_CA_BUNDLE_PATH", "REQUESTS_CA_BUNDLE"
    )  # fmt: skip
    tls_direct: bool = setting(
        True, flag, "large bodies cross TLS by OpenSSL's own loop, many records a call, where that is known to be "
        "safe; no: by Python's ssl, record by record", "S3DLIO_TLS_DIRECT"
    )  # fmt: skip
    bwlimit: str | None = setting(
        None, bandwidth, "bytes a second that go and come at most, over all connections of a process with the same "
        "limit: 10MiB, or up:down, or by the time of the day or week: 08:00,512k 19:00,off; unset: no limit",
        "S3DLIO_BWLIMIT"
    )  # fmt: skip
    follow_redirects: bool = setting(True, flag, "follow redirects of a service", "S3DLIO_FOLLOW_REDIRECTS")
    redirect_max: int = setting(5, integer(0), "redirects followed in one operation", "S3DLIO_REDIRECT_MAX")


class RetrySettings(Section):
    """What happens after a failure that may pass."""

    max_attempts: int = setting(
        5, integer(1, zero=1), "how often a request is sent at most", "S3DLIO_MAX_RETRY_ATTEMPTS", "AWS_MAX_ATTEMPTS"
    )  # fmt: skip
    base_delay: float = setting(
        0.1, seconds, "seconds of the first pause at most; each next one may be twice as long",
        "S3DLIO_RETRY_BASE_DELAY_SECS"
    )  # fmt: skip
    max_delay: float = setting(20.0, seconds, "seconds that a pause lasts at most", "S3DLIO_RETRY_MAX_DELAY_SECS")
    retry_after_cap: float = setting(
        60.0, seconds, "seconds that a service's Retry-After is honoured at most", "S3DLIO_RETRY_AFTER_CAP_SECS"
    )  # fmt: skip


class RangeSettings(Section):
    """Large objects are read as concurrent ranges."""

    enabled: bool = setting(True, flag, "read large objects as concurrent ranges", "S3DLIO_ENABLE_RANGE_OPTIMIZATION")
    threshold: int = setting(
        16 * MiB, size(1), "objects larger than this, and than one range, are read as ranges",
        "S3DLIO_RANGE_THRESHOLD_MB"
    )  # fmt: skip
    chunk: int = setting(64 * MiB, size(64 * KiB), "bytes of one range", "S3DLIO_CHUNK_SIZE")
    concurrency: int = setting(
        32, integer(1), "ranges of one object in flight; in a batch, its max_in_flight counts",
        "S3DLIO_RANGE_CONCURRENCY"
    )  # fmt: skip
    size_cache_seconds: float = setting(
        60.0, seconds, "how long pre_stat_and_cache's sizes are believed", "S3DLIO_SIZE_CACHE_TTL_SECS"
    )  # fmt: skip
    size_cache_entries: int = setting(
        1_000_000, integer(1), "how many of these sizes a store keeps, the latest ones", "S3DLIO_SIZE_CACHE_MAX_ENTRIES"
    )  # fmt: skip


class MultipartSettings(Section):
    """Large objects are written in parts."""

    threshold: int = setting(
        32 * MiB, size(1, zero=1), "objects larger than this are written in parts",
        "S3DLIO_DISABLE_MULTIPART", "S3DLIO_MULTIPART_THRESHOLD_MB"
    )  # fmt: skip
    part_size: int = setting(
        16 * MiB, size(5 * MiB), "bytes of one part; unless set, more where the service is far away and "
        "quick, and always more where 10,000 parts would not do",
        "S3DLIO_MULTIPART_PART_SIZE_MB"
    )  # fmt: skip
    max_in_flight: int = setting(
        8, integer(1), "parts of one object in flight; in a batch, its max_in_flight counts",
        "S3DLIO_MULTIPART_MAX_IN_FLIGHT"
    )  # fmt: skip
    put_verify: bool = setting(
        False, flag_or_off, "after every put that was written in parts, ask the store for its size and compare",
        "S3DLIO_MPU_PUT_VERIFY"
    )  # fmt: skip
    verify_attempts: int = setting(
        3, integer(1, zero=3), "how often a put in parts is done at most whose size is not the one that was written",
        "S3DLIO_MPU_MAX_RETRIES"
    )  # fmt: skip
    verify_delay: float = setting(5.0, seconds, "seconds before such a put is done again", "S3DLIO_MPU_RETRY_DELAY_S")


class ExecutorSettings(Section):
    """The threads that batches share."""

    threads: int = setting(
        64, integer(1, zero=64), "threads at most; they are started as they are needed",
        "S3DLIO_RT_THREADS", "S3DLIO_WORKER_THREADS"
    )  # fmt: skip


class TransferSettings(Section):
    """Limits of every batch."""

    max_in_flight_bytes: int = setting(
        1024 * MiB, size(1), "bytes that a batch of writes holds in flight at most", "S3DLIO_MAX_IN_FLIGHT_BYTES"
    )  # fmt: skip
    adaptive: bool = setting(
        True, flag, "a batch has as many operations in flight as pay, up to its max_in_flight, and fewer while the "
        "service throttles; off: always max_in_flight", "S3DLIO_ADAPTIVE"
    )  # fmt: skip
    put_verify: bool = setting(
        False, flag_or_off, "after every put of one object, ask the store for its size and compare", "S3DLIO_PUT_VERIFY"
    )  # fmt: skip
    verify_attempts: int = setting(
        3, integer(1, zero=3), "how often a put in one request is done at most whose size is not the one that was "
        "written", "S3DLIO_PUT_MAX_RETRIES"
    )  # fmt: skip
    verify_delay: float = setting(1.0, seconds, "seconds before such a put is done again", "S3DLIO_PUT_RETRY_DELAY_MS")
    guess_content_type: bool = setting(
        True, flag, "files that are uploaded get the content type that the end of their name tells, where no other is "
        "given", "S3DLIO_GUESS_CONTENT_TYPE"
    )  # fmt: skip


class ClusterSettings(Section):
    """Several processes that do one job."""

    mpi: bool = setting(
        True, flag, "a command that a launcher of MPI (mpirun) has started works together with the others that it has "
        "started; no: by itself", "S3DLIO_MPI"
    )  # fmt: skip


class FileSettings(Section):
    """Local files: ``file://`` and ``direct://``."""

    durable: bool = setting(
        False, flag, "a put returns when file and directory are on the disk (fsync)", "S3DLIO_FILE_DURABLE"
    )  # fmt: skip
    direct_fallback: str = setting(
        "warn", choice("warn", "error"), "where the file system refuses O_DIRECT: read and write through the page "
        "cache and log a warning, or raise", "S3DLIO_DIRECT_FALLBACK"
    )  # fmt: skip
    alignment: int | None = setting(
        None, size(512), "bytes to which direct:// aligns; unset: what the file system asks for",
        "S3DLIO_DIRECT_ALIGNMENT"
    )  # fmt: skip
    direct_min_size: int = setting(
        0, size(0), "bytes; direct:// reads and writes less than this through the page cache", "S3DLIO_DIRECT_MIN_SIZE"
    )  # fmt: skip
    page_cache: str = setting(
        "normal", choice("normal", "sequential", "random", "dontneed", "auto"),
        "what the page cache is told of reads, those of uploads too: dontneed: to forget what was read; "
        "auto: sequential from 64 MiB on, random below", "S3DLIO_PAGE_CACHE"
    )  # fmt: skip


class S3Settings(Section):
    """``s3://``. What is not set here, boto3 finds: profiles, SSO, web identity, instance roles."""

    endpoint_url: str | None = setting(None, url, "the service; unset: AWS", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoints: tuple[str, ...] = setting(
        (), endpoint_list, "several doors to one service (comma), instead of endpoint_url: requests are spread over "
        "them", URIS_VARIABLE, TEMPLATE_VARIABLE, FILE_VARIABLE
    )  # fmt: skip
    load_balance_strategy: str = setting(
        ROUND_ROBIN, strategy, "which of the endpoints gets a request: round_robin, least_connections, "
        "shortest_expected_wait, or rank (that of MPI or Slurm)", STRATEGY_VARIABLE
    )  # fmt: skip
    endpoint_max_in_flight: int | None = setting(
        None, integer(1), "requests that this process has in flight at each of the endpoints, at most; unset: any "
        "number", "S3DLIO_S3_ENDPOINT_MAX_IN_FLIGHT"
    )  # fmt: skip
    ignore_configured_endpoint_urls: bool | None = setting(
        None, flag, "take no endpoint from variables and profiles, only from the program and the configuration file; "
        "unset: the profile's", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
    )  # fmt: skip
    region: str | None = setting(None, region_name, "the region to sign for", "AWS_REGION", "AWS_DEFAULT_REGION")
    profile: str | None = setting(None, text, "the profile in ~/.aws", "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    addressing: str = setting(
        "auto", choice("auto", "path", "virtual"), "where the bucket stands: in the path or in the host name; auto: "
        "host name on AWS, path elsewhere", "S3DLIO_S3_ADDRESSING", "AWS_S3_ADDRESSING_STYLE"
    )  # fmt: skip
    backend: str = setting(
        "native", choice("native", "boto3", "arrow"), "the transport of objects and listings", "S3DLIO_BACKEND"
    )  # fmt: skip
    anonymous: bool = setting(False, flag, "send unsigned requests", "S3DLIO_S3_ANONYMOUS")
    payload_signing: bool = setting(
        False, flag, "sign the hash of the payload too, not only the head",
        "S3DLIO_S3_PAYLOAD_SIGNING", "S3DLIO_UNSIGNED_PAYLOAD"
    )  # fmt: skip
    h2c: bool = setting(
        False, _h2c, "the arrow transport speaks HTTP/2 to http:// endpoints; the others speak HTTP/1.1", "S3DLIO_H2C"
    )  # fmt: skip
    https_h2: bool = setting(
        False, flag, "the arrow transport offers HTTP/2 to https:// endpoints; the others speak HTTP/1.1",
        "S3DLIO_HTTPS_H2", "S3DLIO_ENABLE_HTTP2"
    )  # fmt: skip
    request_checksum_calculation: str | None = setting(
        None, choice("when_required", "when_supported"), "send checksums; unset: when_supported on AWS, when_required "
        "elsewhere", "AWS_REQUEST_CHECKSUM_CALCULATION"
    )  # fmt: skip
    response_checksum_validation: str | None = setting(
        None, choice("when_required", "when_supported"), "verify checksums; unset: when_supported on AWS, "
        "when_required elsewhere", "AWS_RESPONSE_CHECKSUM_VALIDATION"
    )  # fmt: skip
    use_fips_endpoint: bool | None = setting(
        None, flag, "AWS's endpoints with validated cryptography (FIPS 140); unset: the profile's",
        "AWS_USE_FIPS_ENDPOINT"
    )  # fmt: skip
    use_dualstack_endpoint: bool | None = setting(
        None, flag, "AWS's endpoints with IPv6 beside IPv4; unset: the profile's", "AWS_USE_DUALSTACK_ENDPOINT"
    )  # fmt: skip
    use_accelerate_endpoint: bool | None = setting(
        None, flag, "AWS's accelerated transfers, by way of the nearest edge location; unset: the profile's",
        "S3DLIO_S3_USE_ACCELERATE_ENDPOINT"
    )  # fmt: skip
    list_version: str = setting(
        "auto", choice("auto", "1", "2"), "the version of ListObjects; auto: the second, and the first where the "
        "service knows only that", "S3DLIO_S3_LIST_VERSION"
    )  # fmt: skip
    use_arn_region: bool | None = setting(
        None, flag, "take the region that the ARN of an access point names, where it is another than the configured "
        "one; unset: the profile's, or yes", "AWS_S3_USE_ARN_REGION"
    )  # fmt: skip
    disable_multiregion_access_points: bool | None = setting(
        None, flag, "refuse access points of several regions; unset: the profile's",
        "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS"
    )  # fmt: skip
    disable_express_session_auth: bool | None = setting(
        None, flag, "sign the requests to directory buckets with your own keys, without a session; unset: the "
        "profile's", "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH"
    )  # fmt: skip
    requester_pays: bool = setting(False, flag, "accept the costs of requests", "S3DLIO_S3_REQUESTER_PAYS")
    tls_ports: str = setting(
        "443", text, "ports (comma) of s3://host:port/ URIs that speak TLS", "S3DLIO_S3_ENDPOINT_TLS_PORTS"
    )  # fmt: skip
    access_key_id: str | None = setting(None, text, "access key", "AWS_ACCESS_KEY_ID", secret=True)
    secret_access_key: str | None = setting(None, text, "its secret", "AWS_SECRET_ACCESS_KEY", secret=True)
    session_token: str | None = setting(None, text, "the token of a session", "AWS_SESSION_TOKEN", secret=True)


class AzureSettings(Section):
    """``az://``. What is not set here, azure-identity finds where it is installed."""

    account: str | None = setting(
        None, text, "the account that az://container/key means", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"
    )  # fmt: skip
    endpoint_url: str | None = setting(
        None, url, "the service; unset: Azure", "AZURE_BLOB_ENDPOINT_URL", "AZURE_STORAGE_ENDPOINT"
    )  # fmt: skip
    backend: str = setting(
        "native", choice("native", "sdk"), "the transport of blobs and listings", "S3DLIO_AZURE_BACKEND"
    )  # fmt: skip
    key: str | None = setting(
        None, text, "the account's key", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", secret=True
    )  # fmt: skip
    sas_token: str | None = setting(
        None, text, "a shared access signature, with or without its question mark",
        "AZURE_STORAGE_SAS_TOKEN", "S3DLIO_AZURE_SAS_TOKEN", secret=True
    )  # fmt: skip
    credential: str = setting(
        "auto", choice("auto", "managed-identity", "client-secret", "workload-identity", "sas", "none"), "which kind "
        "of credentials; auto: the first of key, signature and what azure-identity finds", "S3DLIO_AZURE_CREDENTIAL"
    )  # fmt: skip
    connection_string: str | None = setting(
        None, text, "account, key and endpoint in one", "AZURE_STORAGE_CONNECTION_STRING", secret=True
    )  # fmt: skip
    anonymous: bool = setting(False, flag, "send requests without credentials", "S3DLIO_AZURE_ANONYMOUS")
    content_md5: bool = setting(
        False, flag, "send the MD5 of what is written, for Azure to check and keep", "S3DLIO_AZURE_CONTENT_MD5"
    )  # fmt: skip
    verify_md5: bool = setting(
        False, flag, "compare whole objects that were read with the MD5 that Azure keeps", "S3DLIO_AZURE_VERIFY_MD5"
    )  # fmt: skip
    crc64: bool = setting(
        False, flag, "send and compare the CRC64 of what is written, and compare that of ranges up to 4 MiB that are "
        "read; needs s3dlio[azure-crc64]", "S3DLIO_AZURE_CRC64"
    )  # fmt: skip

    @property
    def default_account(self) -> str | None:
        """The account that ``az://container/key`` means: set by its name, or named by the connection string."""
        if self.account or not self.connection_string:
            return self.account
        named = re.search(r"(?:^|;)\s*AccountName=([^;]+)", self.connection_string)
        return named[1].strip() if named else None


class GcsSettings(Section):
    """``gs://`` and ``gcs://``. What is not set here, google-auth finds."""

    endpoint_url: str | None = setting(
        None, url_or_host, "the service; unset: Google", "GCS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"
    )  # fmt: skip
    universe_domain: str | None = setting(
        None, text, "the domain of Google's services; unset: that of the file of credentials, or googleapis.com",
        "GOOGLE_CLOUD_UNIVERSE_DOMAIN"
    )  # fmt: skip
    project: str | None = setting(
        None, text, "the project of new and listed buckets", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GCS_PROJECT"
    )  # fmt: skip
    backend: str = setting(
        "native", choice("native", "sdk"), "the transport of objects and listings", "S3DLIO_GCS_BACKEND"
    )  # fmt: skip
    anonymous: bool = setting(False, flag, "send requests without credentials", "S3DLIO_GCS_ANONYMOUS")
    credentials_file: str | None = setting(None, text, "a file of credentials", "GOOGLE_APPLICATION_CREDENTIALS")
    impersonate: str | None = setting(
        None, text, "the service account to act as (its e-mail address)",
        "S3DLIO_GCS_IMPERSONATE", "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT"
    )  # fmt: skip
    user_project: str | None = setting(
        None, text, "the project that pays for requests to requester-pays buckets", "S3DLIO_GCS_USER_PROJECT"
    )  # fmt: skip
    composite_upload: bool = setting(
        True, flag, "write large objects as parallel parts that are composed; needs the right to delete. Otherwise in "
        "one resumable upload", "S3DLIO_GCS_COMPOSITE_UPLOAD"
    )  # fmt: skip
    verify_crc32c: bool = setting(
        True, flag, "compare whole objects that were read with the CRC32C that the service keeps",
        "S3DLIO_GCS_VERIFY_CRC32C"
    )  # fmt: skip
