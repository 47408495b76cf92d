"""The options of loaders: what each is called, what it may be, and what it is where nobody says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from s3dlio.checkpoint.ranks import Ranks
from s3dlio.config.fields import choice, flag, integer, size, timeout
from s3dlio.datagen.checks import whole_number
from s3dlio.engine.cancel import CancelToken
from s3dlio.errors import ConfigError
from s3dlio.loader.pool_config import PoolConfig
from s3dlio.records import Record
from s3dlio.uri import as_uri

#: What objects may be, see docs/batches.md.
FORMATS = ("raw", "bytes", "npy", "npz", "tfrecord", "tar", "webdataset", "parquet")
#: Makes the value of an option of what was given.
Reader = Callable[[str, Any], Any]


class LoaderValues(Record):
    """The values of all options, checked. ``LoaderOptions`` makes them; docs/loaders.md says what they do."""

    batch_size: int | None = None
    drop_last: bool = False
    shuffle: bool = False
    seed: int = 0
    generator_seed: int | None = None
    epoch: int = 0
    replacement: bool = False
    shard_rank: int = 0
    shard_world_size: int = 1
    worker_id: int | None = None
    num_workers_pytorch: int | None = None
    num_workers: int = 0
    max_threads: int | None = None
    prefetch: int = 0
    prefetch_bytes: int | None = None
    auto_tune: bool = False
    in_order: bool | None = None
    pool: PoolConfig | None = None
    timeout: float | None = None
    cancel: CancelToken | None = None
    reader_mode: str = "sequential"
    part_size: int = 8 << 20
    max_inflight_parts: int = 4
    page_cache_mode: str = "auto"
    skip_head: bool = True
    pattern: str | None = None
    manifest: str | None = None
    list_once: bool | Ranks = False
    check_sizes: bool = True
    format: str | None = None
    columns: tuple[int | str, ...] | None = None
    footer_cap: int = 4 << 20
    decode: str | None = None
    return_type: str | None = None
    transform: Callable[[Any], Any] | None = None
    enable_transforms: bool | None = None
    pin_memory: bool = False
    persistent_workers: bool = False
    non_blocking: bool = False
    multiprocessing_context: str = "spawn"
    memory_format: str = "auto"
    sampler_type: str = "sequential"
    collate_buffer_size: int = 1024

    @property
    def items_per_batch(self) -> int:
        """How many samples a batch has; 1 where nobody said."""
        return self.batch_size or 1

    @property
    def applied(self) -> Callable[[Any], Any] | None:
        """What each sample goes through, if anything."""
        return None if self.enable_transforms is False else self.transform

    @property
    def order_seed(self) -> int:
        """The seed of the order."""
        return self.seed if self.generator_seed is None else self.generator_seed


def _columns(name: str, value: Any) -> tuple[int | str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{name} is a list of column names or indices, not {type(value).__name__}")
    return tuple(each if isinstance(each, str) else whole_number(f"one of {name}", each) for each in value)


def _callable(name: str, value: Any) -> Any:
    if not callable(value):
        raise ConfigError(f"{name} must be callable, and {type(value).__name__} is not")
    return value


def _timeout(name: str, value: Any) -> float | None:
    """Seconds; 0 is no time-out, as of torch."""
    return timeout(name, value) if value else None


def _auto_tune(name: str, value: Any) -> bool:
    """A flag; of ``adaptive``, the ``mode`` of an ``AdaptiveConfig``, of a dictionary of one, or of itself."""
    mode = value.get("mode", True) if isinstance(value, Mapping) else getattr(value, "mode", value)
    return flag(name, mode)


def _of(kind: type[Any]) -> Reader:
    def read(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise ConfigError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
        return value

    return read


#: How each option is read; None takes the default.
READERS: dict[str, Reader] = {
    "batch_size": integer(1),
    "drop_last": flag,
    "shuffle": flag,
    "seed": integer(0),
    "generator_seed": integer(0),
    "epoch": integer(0),
    "replacement": flag,
    "shard_rank": integer(0),
    "shard_world_size": integer(1),
    "worker_id": integer(0),
    "num_workers_pytorch": integer(1, zero=1),
    "num_workers": integer(0),
    "max_threads": integer(1),
    "prefetch": integer(0),
    "prefetch_bytes": size(1),
    "auto_tune": _auto_tune,
    "in_order": flag,
    "pool": _of(PoolConfig),
    "timeout": _timeout,
    "cancel": _of(CancelToken),
    "reader_mode": choice("sequential", "range"),
    "part_size": size(64 << 10),
    "max_inflight_parts": integer(1, zero=1),
    "page_cache_mode": choice("sequential", "random", "dontneed", "normal", "auto"),
    "skip_head": flag,
    "pattern": _of(str),
    "manifest": lambda _, value: as_uri(value),
    "list_once": lambda name, value: value if isinstance(value, Ranks) else flag(name, value),
    "check_sizes": flag,
    "format": choice(*FORMATS),
    "columns": _columns,
    "footer_cap": size(1),
    "decode": _of(str),
    "return_type": choice("tensor", "bytes", "reader", "view"),
    "transform": _callable,
    "enable_transforms": flag,
    "pin_memory": flag,
    "persistent_workers": flag,
    "non_blocking": flag,
    "multiprocessing_context": choice("spawn", "fork", "forkserver"),
    "memory_format": choice("channels_last", "channels_first", "auto"),
    "sampler_type": choice("sequential", "random", "distributed_random"),
    "collate_buffer_size": integer(0),
}

#: Other names of options.
ALIASES = {
    "timeout_seconds": "timeout",
    "sampler_replacement": "replacement",
    "sampler_rank": "shard_rank",
    "sampler_world_size": "shard_world_size",
    "rank": "shard_rank",
    "world_size": "shard_world_size",
    "max_in_flight": "max_threads",
    "cancellation_token": "cancel",
    "adaptive": "auto_tune",
}


def check_together(values: LoaderValues) -> LoaderValues:
    """What must agree with each other.

    Raises:
        ConfigError: a rank beyond the number of ranks, a worker beyond that of workers.
    """
    if values.shard_rank >= values.shard_world_size:
        raise ConfigError(
            f"shard_rank is {values.shard_rank}, and there are {values.shard_world_size} ranks",
            hint="ranks count from 0 to shard_world_size - 1",
        )
    if values.worker_id is not None and values.worker_id >= (values.num_workers_pytorch or 1):
        raise ConfigError(
            f"worker_id is {values.worker_id}, and there are {values.num_workers_pytorch or 1} workers",
            hint="workers count from 0 to num_workers_pytorch - 1",
        )
    return values
