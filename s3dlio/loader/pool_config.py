"""How far ahead, and in which order, objects are read: values that people choose by name."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from s3dlio.config.fields import member_of, seconds
from s3dlio.config.sizes import parse_size


class LoadingMode(StrEnum):
    """In which order ``iter_many`` and loaders give objects: that of their URIs, or as they arrive."""

    Sequential = "sequential"
    AsyncPool = "asyncpool"


@dataclass(frozen=True)
class PoolConfig:
    """How a loader, or ``iter_many``, reads ahead: ``iter_many(uris, **PoolConfig(pool_size=16).options())``.

    Attributes:
        pool_size: requests in flight.
        readahead_batches: so many times ``pool_size`` objects are read ahead of the one that is wanted, at most.
        batch_timeout: seconds, or a timedelta, that the next object may take to arrive.
        max_inflight: no more requests than this, whatever ``pool_size`` says.

    Raises:
        ConfigError: a value is out of range.
    """

    pool_size: int = 64
    readahead_batches: int = 4
    batch_timeout: float | datetime.timedelta = 30.0
    max_inflight: int = 256

    def __post_init__(self) -> None:
        for name in ("pool_size", "readahead_batches", "max_inflight"):
            parse_size(getattr(self, name), name=name, minimum=1)
        seconds("batch_timeout", self.seconds)

    @classmethod
    def conservative(cls) -> Self:
        """Few requests, little memory: 8 in flight, 16 objects ahead."""
        return cls(pool_size=8, readahead_batches=2, max_inflight=16)

    @classmethod
    def balanced(cls) -> Self:
        """16 requests in flight, 64 objects ahead."""
        return cls(pool_size=16, readahead_batches=4, max_inflight=32)

    @classmethod
    def aggressive(cls) -> Self:
        """As much as a fast network takes: 64 requests in flight, 512 objects ahead."""
        return cls(pool_size=64, readahead_batches=8, max_inflight=128)

    @classmethod
    def default(cls) -> Self:
        """64 requests in flight, 256 objects ahead."""
        return cls()

    @classmethod
    def from_loader_options(cls, options: Any) -> Self:
        """That of ``num_workers`` (16 requests each) and ``prefetch`` (batches ahead) of loader options."""
        values = options.values
        return cls(pool_size=16 * values.num_workers or 64, readahead_batches=max(2, values.prefetch))

    @property
    def seconds(self) -> float:
        """``batch_timeout`` as a number."""
        given = self.batch_timeout
        return given.total_seconds() if isinstance(given, datetime.timedelta) else given

    @property
    def width(self) -> int:
        """Requests in flight, at most."""
        return min(self.pool_size, self.max_inflight)

    def options(self, mode: LoadingMode | str = LoadingMode.AsyncPool) -> dict[str, Any]:
        """The arguments of ``iter_many`` that this is."""
        return {
            "max_in_flight": self.width,
            "prefetch": self.width * self.readahead_batches,
            "timeout": self.seconds,
            "ordered": member_of(LoadingMode, "mode", mode) is LoadingMode.Sequential,
        }
