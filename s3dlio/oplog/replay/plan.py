"""What a replay would do, of which only the logs are read."""

from __future__ import annotations

from collections import Counter
from typing import Any

from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.operation import Operation
from s3dlio.oplog.replay.retarget import Places
from s3dlio.oplog.replay.trace import Trace
from s3dlio.records import replace


def check_places(config: ReplayConfig) -> None:
    """Look through the logs for what would change what is stored where it was recorded, before anything is done.

    Raises:
        ConfigError: there is such an operation, and ``in_place`` is not set; or the log does not tell the store.
    """
    if config.in_place or config.target_uri is not None:
        return
    places = Places(config)
    for operation in Trace(replace(config, share=None, remap_clients=None)):
        if operation.is_write:
            places.uri(operation)


class ReplayPlan:
    """What a replay would do.

    Args:
        config: what is replayed, and how.
        examples: how many operations are shown whole.

    Attributes:
        counts, sizes: by operation, how many and how many bytes.
        clients: by client, how many operations.
        threads: how many threads of all clients.
        skipped: what would be left out: why -> how many.
        span: from the first start to the last (nanoseconds), at the speed of the replay.
        refusal: why a replay of this would be refused; empty if it would not.
        examples: the first operations: which, the recorded URI, where it would be done.

    Raises:
        CorruptDataError: as of ``replay_workload``.
    """

    def __init__(self, config: ReplayConfig, examples: int = 5) -> None:
        self.refusal = _refusal(config)
        trace, places = Trace(config), Places(replace(config, in_place=True))
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.clients: Counter[str] = Counter()
        self.examples: list[tuple[str, str, str]] = []
        threads = set()
        last: Operation | None = None
        for last in trace:
            if len(self.examples) < examples:
                self.examples.append((last.kind, last.uri, _target(places, last)))
            self.counts[last.kind] += 1
            self.sizes[last.kind] += last.size
            self.clients[last.client] += 1
            threads.add((last.client, last.thread))
        self.threads = len(threads)
        self.skipped = dict(trace.skipped.most_common())
        self.span = 0
        if last is not None and trace.first is not None:
            self.span = int((last.start - trace.first) / config.speed)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "attempted": sum(self.counts.values()),
            "bytes": sum(self.sizes.values()),
            "seconds": round(self.span / 1e9, 6),
            "threads": self.threads,
            "operations": {
                kind: {"count": count, "bytes": self.sizes[kind]} for kind, count in sorted(self.counts.items())
            },
            "clients": dict(self.clients.most_common()),
            "skipped": self.skipped,
            "refusal": self.refusal,
            "examples": [dict(zip(("op", "recorded", "uri"), each, strict=True)) for each in self.examples],
        }


def _refusal(config: ReplayConfig) -> str:
    try:
        check_places(config)
    except ConfigError as error:
        return str(error)
    return ""


def _target(places: Places, operation: Operation) -> str:
    try:
        return places.uri(operation)
    except S3dlioError as error:  # its name is refused, as it will be then
        return str(error)
