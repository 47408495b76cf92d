"""What is replayed, and how."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from s3dlio.config.sizes import shown
from s3dlio.errors import ConfigError
from s3dlio.oplog import columns
from s3dlio.oplog.replay.operation import KINDS
from s3dlio.records import Record, field
from s3dlio.uri import has_scheme

#: Rows that are sorted by their start in memory.
WINDOW = 1 << 16


class ReplayConfig(Record):
    """What is replayed, and how.

    Attributes:
        op_log_path: the log, or several that are merged by their times; of any program whose columns are known.
        target_uri: everything happens below this URI: the recorded bucket (the endpoint of a row) is replaced by it.
        speed: 2 is twice as fast, 0.5 half as fast; ``inf``: no waiting.
        continue_on_error: go on after operations that fail and did not fail when they were recorded.
        filter_ops: only these operations: GET, GET_RANGE, HEAD (STAT), LIST, PUT, DELETE.
        mapping: recorded prefix -> the URI that takes its place, or several among which keys are spread; the longest
            prefix counts, and ``target_uri`` for what is below none.
        pattern: only recorded URIs that this regular expression (or glob) finds.
        min_size, max_size: only operations of so many bytes.
        since, until: only operations that began between these: seconds (or ``"1m30s"``) after the first of the log, or
            dates (``"2026-11-28T09:30:00Z"``).
        clients: only these clients.
        remap_clients: so many clients take the places of those recorded: of several that become one, the threads of
            one number are one after another; of one that becomes several, each gets some of its threads.
        closed_loop: instead of at its time, an operation begins when what it waited for has ended: the operation of its
            thread that ended last before it began, and what was done with its object before.
        think_time: with ``closed_loop``: the pauses between operations are kept, as ``speed`` says.
        in_place: write and delete where that was recorded. Without, only elsewhere.
        prepare: first write the objects that are read before the log writes them, with their recorded sizes.
        max_in_flight: so many operations at a time; others begin late.
        max_errors: with ``continue_on_error``: stop after so many failures.
        strict: a row that cannot be replayed is an error, instead of being counted.
        allow_truncated: logs may end in the middle.
        dedup, compress, seed: what is written, as of ``generate_data``.
        window: so many rows are sorted in memory, since rows are written as operations end.
        share: ``(rank, ranks)``: play only the part of this rank, of ``remap_clients`` clients (by default as many as
            ranks).
    """

    op_log_path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    target_uri: str | None = None
    speed: float = 1.0
    continue_on_error: bool = False
    filter_ops: Sequence[str] | None = None
    mapping: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    pattern: str | None = None
    min_size: int = 0
    max_size: int | None = None
    since: Any = None
    until: Any = None
    clients: Sequence[str] | None = None
    remap_clients: int | None = None
    closed_loop: bool = False
    think_time: bool = False
    in_place: bool = False
    prepare: bool = False
    max_in_flight: int = 1024
    max_errors: int | None = None
    strict: bool = False
    allow_truncated: bool = False
    dedup: int = 1
    compress: int = 1
    seed: int | None = None
    window: int = WINDOW
    share: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        speed = self.speed
        if isinstance(speed, bool) or not isinstance(speed, int | float) or math.isnan(speed) or speed <= 0:
            raise ConfigError(f"speed={shown(speed)} is no factor", hint="2 is twice as fast, 0.5 half, inf at once")
        for name, least in (("max_in_flight", 1), ("window", 1), ("remap_clients", 1), ("max_errors", 0)):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} must be an integer >= {least}, got {shown(value)}")
        if self.think_time and not self.closed_loop:
            raise ConfigError("think_time keeps the pauses of a closed loop", hint="closed_loop=True goes with it")
        if self.closed_loop and math.isinf(speed) and self.think_time:
            raise ConfigError("speed=inf leaves no pauses", hint="without think_time a closed loop has none")
        if isinstance(self.filter_ops, str):
            raise ConfigError("filter_ops is a list of operations", hint=f"filter_ops=[{self.filter_ops!r}]")
        for name in self.filter_ops or ():
            if columns.operation(name) not in KINDS:
                raise ConfigError(f"{name!r} cannot be replayed", hint=f"these can: {', '.join(sorted(KINDS))}")
        for uri in (self.target_uri, *self.targets().values()):
            for each in (uri,) if isinstance(uri, str) else uri or ():
                if not has_scheme(each):
                    raise ConfigError(f"the target {each!r} is no URI", hint="write scheme://bucket/prefix/")
        if self.share is not None and not 0 <= self.share[0] < self.share[1]:
            raise ConfigError(f"share={self.share!r} is no (rank, ranks)", hint="ranks are numbered from 0")

    def logs(self) -> list[str]:
        """The paths of the logs.

        Raises:
            ConfigError: there is none.
        """
        given = self.op_log_path
        paths = [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(each) for each in given]
        if not paths or not all(paths):
            raise ConfigError("a replay needs an op-log", hint="give its path")
        return paths

    def targets(self) -> dict[str, tuple[str, ...]]:
        """``mapping`` with a tuple for each prefix."""
        return {prefix: (to,) if isinstance(to, str) else tuple(to) for prefix, to in self.mapping.items()}
