"""What the comparison measures, and what must be reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from perf.workers.protocol import Job

KIB, MIB = 1 << 10, 1 << 20
LARGE, MEDIUM, SMALL = 64 * MIB, 8 * MIB, 4 * KIB
DELAY = 0.02
"""Seconds to the server that is far away."""
KEYS = 100_000
"""Keys of the bucket that is listed."""
FEW_KEYS = 10_000
"""Keys of a smaller one, for what is slow."""

#: How many objects there are of each size: no job asks for more, so that none reads one twice.
#: nginx keeps all of them open, which must be fewer files than it may; and our pool keeps 512 MiB of idle memory:
#: larger batches would measure how fast the kernel hands out memory.
OBJECTS = {LARGE: 8, MEDIUM: 64, SMALL: 8_000}

S3_ALL = ("s3dlio", "reference", "obstore", "s3torch", "boto3", "floor")


@dataclass(frozen=True)
class Wanted:
    """What must be reached against one other: at least this rate, at most this CPU time, as ratios."""

    rate: float
    cpu: float | None = None


@dataclass(frozen=True)
class Row:
    """One measurement of all contenders that can do it."""

    name: str
    job: Job
    contenders: tuple[str, ...]
    wanted: dict[str, Wanted] = field(default_factory=dict)
    server: str = "http"
    """http, tls, h2 (TLS that offers HTTP/2) or far."""
    scheme: str = "s3"
    container: str = "bucket"
    longer: float = 1
    """Its jobs take so many times as long: where the first and the last of a job cost much."""
    least_rate: float | None = None
    """Operations a second that must be reached, whatever others do."""

    @property
    def most(self) -> int:
        """Operations of one job at most."""
        return self.job.count if self.job.verb == "list" else OBJECTS[self.job.size]

    @property
    def by_bytes(self) -> bool:
        """Rates are told in bytes, and CPU time per GB; otherwise in operations."""
        return self.job.size > MIB


def _get(size: int, in_flight: int) -> Job:
    return Job("get", {LARGE: "large/", SMALL: "small/"}[size], size=size, in_flight=in_flight)


def _cloud(name: str, scheme: str, sdk: str) -> list[Row]:
    """The rows of another cloud: as fast as our own S3, and faster than its SDK."""
    others = ("s3dlio", "s3dlio-s3", sdk)
    return [
        Row(f"{name} GET 64 MiB, 8 in flight", _get(LARGE, 8), others,
            {"s3dlio-s3": Wanted(0.9), sdk: Wanted(1.5)}, scheme=scheme),
        Row(f"{name} GET 4 KiB, 32 in flight", _get(SMALL, 32), others,
            {"s3dlio-s3": Wanted(0.9), sdk: Wanted(5)}, scheme=scheme),
        Row(f"{name} GET 4 KiB, one by one", _get(SMALL, 1), others,
            {"s3dlio-s3": Wanted(0.9), sdk: Wanted(5)}, scheme=scheme),
    ]  # fmt: skip


def _puts(size: int, in_flight: int) -> Job:
    return Job("put", "put/", size=size, in_flight=in_flight)


NO_PUT = tuple(name for name in S3_ALL if name != "s3torch")

ROWS = [
    Row("GET 64 MiB, 8 in flight", _get(LARGE, 8), S3_ALL,
        {"reference": Wanted(1.6, cpu=0.45), "obstore": Wanted(1.6), "floor": Wanted(0.85)}),
    Row("GET 64 MiB, one by one", _get(LARGE, 1), S3_ALL,
        {"reference": Wanted(1.5), "obstore": Wanted(1.7), "floor": Wanted(0.85)}),
    Row("GET 4 KiB, 32 in flight", _get(SMALL, 32), S3_ALL, {"reference": Wanted(5), "obstore": Wanted(2.2)}),
    Row("GET 4 KiB, one by one", _get(SMALL, 1), S3_ALL,
        {"reference": Wanted(2.5), "obstore": Wanted(1), "floor": Wanted(0.7)}),
    Row("PUT 8 MiB, 8 in flight", _puts(MEDIUM, 8), NO_PUT,
        {"reference": Wanted(1, cpu=0.6), "obstore": Wanted(1), "floor": Wanted(0.9)}),
    Row("PUT 4 KiB, 32 in flight", _puts(SMALL, 32), NO_PUT, {"reference": Wanted(2.2), "obstore": Wanted(1.2)}),
    Row("stat, one by one", replace(_get(SMALL, 1), verb="stat"), S3_ALL,
        {"reference": Wanted(2), "floor": Wanted(0.6)}),
    Row("list 100,000 keys", Job("list", count=KEYS), ("s3dlio", "reference", "obstore", "s3torch", "boto3"),
        {"reference": Wanted(2)}, container="listed"),
    Row("GET 4 KiB, 256 in flight, 20 ms away", _get(SMALL, 256), ("s3dlio", "reference", "obstore", "floor"),
        server="far", longer=2, least_rate=0.9 * 256 / DELAY),
    Row("GET 64 MiB, 8 in flight, TLS 1.3", _get(LARGE, 8), ("s3dlio", "reference", "obstore", "boto3"),
        {"reference": Wanted(1.15), "obstore": Wanted(1)}, server="tls"),
    Row("GET 64 MiB, one by one, TLS 1.3", _get(LARGE, 1), ("s3dlio", "reference", "obstore", "boto3"),
        {"reference": Wanted(1), "obstore": Wanted(1)}, server="tls"),
    Row("PUT 8 MiB, 8 in flight, TLS 1.3", _puts(MEDIUM, 8), ("s3dlio", "reference", "obstore", "boto3"),
        {"reference": Wanted(1), "obstore": Wanted(1)}, server="tls"),
    Row("GET 4 KiB, 32 in flight, TLS 1.3", _get(SMALL, 32), ("s3dlio", "reference", "obstore", "boto3"),
        {"reference": Wanted(5), "obstore": Wanted(2)}, server="tls"),
    *(
        Row(f"GET 4 KiB, {count:,} {kind}", replace(_get(SMALL, count), by=by), ("s3dlio", "reference", "obstore"),
            {"reference": Wanted(wanted), "obstore": Wanted(wanted)})
        for count, kind, by, wanted in (
            (8, "threads", "threads", 1.2), (32, "threads", "threads", 1.2),
            (32, "awaited", "awaits", 2), (1000, "awaited", "awaits", 2),
        )
    ),
    *_cloud("Azure", "az", "azure-sdk"),
    *_cloud("Google", "gs", "google-sdk"),
]  # fmt: skip
