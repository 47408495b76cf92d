"""The options of loaders, as people give them: a mapping, keywords, or one builder call after the other."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any, Self

from s3dlio.config.environment import did_you_mean
from s3dlio.config.fields import member_of
from s3dlio.config.sizes import shown
from s3dlio.errors import ConfigError
from s3dlio.loader.option_fields import ALIASES, READERS, LoaderValues, check_together
from s3dlio.loader.pool_config import LoadingMode, PoolConfig
from s3dlio.records import replace

#: What stands in ``to_dict``, in this order.
_SHOWN = (
    "batch_size", "drop_last", "shuffle", "seed", "num_workers", "prefetch", "auto_tune", "pin_memory",
    "persistent_workers", "timeout_seconds", "non_blocking", "shard_rank", "shard_world_size", "generator_seed",
    "enable_transforms", "collate_buffer_size", "multiprocessing_context", "memory_format", "sampler_type",
    "sampler_replacement", "sampler_rank", "sampler_world_size",
)  # fmt: skip


def read_options(given: Mapping[str, Any]) -> LoaderValues:
    """The values of options that were given by name.

    Raises:
        ConfigError: (a ValueError) an unknown name, with the one that was probably meant, or a wrong value.
    """
    values: dict[str, Any] = {}
    for name, value in given.items():
        known = ALIASES.get(name, name) if isinstance(name, str) else name
        if known == "loading_mode":
            values |= _loading(value)
            continue
        reader = READERS.get(known)
        if reader is None:
            names = [*READERS, *ALIASES, "loading_mode"]
            meant = did_you_mean(str(name), names)
            raise ConfigError(
                f"a loader has no option {shown(name)}{meant}",
                hint="" if meant else f"options are {', '.join(sorted(READERS))}",
            )
        if value is not None:
            values[known] = reader(name, _plain(value))
    return check_together(LoaderValues(**values))


def _plain(value: Any) -> Any:
    """The integer that one of another library is."""
    return index(value) if hasattr(value, "__index__") and not isinstance(value, (bool, str)) else value


def _loading(value: Any) -> dict[str, Any]:
    if isinstance(value, PoolConfig):
        return {"in_order": False, "pool": value}
    return {"in_order": member_of(LoadingMode, "loading_mode", value) is LoadingMode.Sequential}


class LoaderOptions:
    """The options of a loader. Each builder gives a new one: ``LoaderOptions().with_batch_size(8).shuffle(True, 1)``.

    Args:
        **given: options by name, see docs/loaders.md. ``batch_size`` is 32 without; elsewhere, where nobody says
            anything, a batch is one object.

    Raises:
        ConfigError: (a ValueError) an unknown name, with the one that was probably meant, or a wrong value.
    """

    __slots__ = ("values",)
    #: All values, as attributes of their own names.
    values: LoaderValues

    def __init__(self, **given: Any) -> None:
        object.__setattr__(self, "values", read_options({"batch_size": 32, **given}))

    @classmethod
    def from_any(cls, given: LoaderOptions | LoaderValues | Mapping[str, Any] | None) -> Self:
        """The options that were given, in whatever form.

        Raises:
            ConfigError: as of the class; TypeError: these are no options.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, LoaderOptions):
            return cls._of(given.values)
        if isinstance(given, LoaderValues):
            return cls._of(given)
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"options are a dict or LoaderOptions, not {type(given).__name__}")
        return cls._of(read_options(given or {}))

    @classmethod
    def _of(cls, values: LoaderValues) -> Self:
        self = cls.__new__(cls)
        object.__setattr__(self, "values", values)
        return self

    def replace(self, **changed: Any) -> Self:
        """The same with other values of some options.

        Raises:
            ConfigError: as of the class.
        """
        new = read_options(changed)
        return self._of(check_together(replace(self.values, **{
            name: getattr(new, name) for given in changed for name in _fields(given)
        })))  # fmt: skip

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"options do not change: use the builder, or replace({name}=...)")

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), replace(self.values, cancel=None).__dict__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoaderOptions) and other.values == self.values

    def __hash__(self) -> int:
        return hash(self.values)

    def __repr__(self) -> str:
        default = LoaderValues(batch_size=32)
        changed = {name: value for name, value in self.values.__dict__.items() if value != getattr(default, name)}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def to_dict(self) -> dict[str, Any]:
        """The options as a dictionary, which loaders take, too."""
        v = self.values
        sampler = {
            "timeout_seconds": v.timeout,
            "sampler_replacement": v.replacement if v.sampler_type == "random" else None,
            "sampler_rank": v.shard_rank if v.sampler_type == "distributed_random" else None,
            "sampler_world_size": v.shard_world_size if v.sampler_type == "distributed_random" else None,
            "batch_size": v.items_per_batch,
            "enable_transforms": v.applied is not None or bool(v.enable_transforms),
        }
        default = LoaderValues()
        more = [
            name for name in READERS
            if name not in (*_SHOWN, "timeout", "replacement") and getattr(v, name) != getattr(default, name)
        ]  # fmt: skip
        return {name: sampler[name] if name in sampler else getattr(v, name) for name in (*_SHOWN, *more)}

    # -- builders

    def with_batch_size(self, size: int) -> Self:
        """How many samples a batch has; 1 or more."""
        return self.replace(batch_size=size)

    def drop_last(self, yes: bool = True) -> Self:
        """Leave out the last batch where it is short."""
        return self.replace(drop_last=yes)

    def shuffle(self, on: bool = True, seed: int | None = None) -> Self:
        """Another order in each epoch, the same for one seed everywhere."""
        return self.replace(shuffle=on, **({"seed": seed} if on and seed is not None else {}))

    def num_workers(self, n: int) -> Self:
        """So many objects may be read at a time, at least; of a ``torch`` loader, its worker processes."""
        return self.replace(num_workers=n)

    def prefetch(self, n: int) -> Self:
        """So many objects are in flight or waiting, at most; 0: as many as memory and engine allow."""
        return self.replace(prefetch=n)

    def with_prefetch_bytes(self, size: int | str | None) -> Self:
        """So many bytes are in flight or waiting, about."""
        return self.replace(prefetch_bytes=size)

    def enable_adaptive(self) -> Self:
        """``auto_tune``, by the name that the Rust package has."""
        return self.replace(auto_tune=True)

    def auto_tune(self, on: bool = True) -> Self:
        """Let the number of requests in flight follow what pays, whatever ``num_workers`` says."""
        return self.replace(auto_tune=on)

    def reader_mode(self, mode: str) -> Self:
        """``sequential``: one request an object, more for large ones as the settings say; ``range``: ranges of
        ``part_size``."""
        return self.replace(reader_mode=mode)

    def part_size(self, size: int | str) -> Self:
        """Bytes of a range."""
        return self.replace(part_size=size)

    def max_inflight_parts(self, n: int) -> Self:
        """Ranges of one object in flight."""
        return self.replace(max_inflight_parts=n)

    def shard(self, rank: int, world_size: int) -> Self:
        """This consumer is one of several, each of which gets its own part."""
        return self.replace(shard_rank=rank, shard_world_size=world_size)

    def worker(self, worker_id: int, num_workers: int) -> Self:
        """This process is one of several workers of its rank."""
        return self.replace(worker_id=worker_id, num_workers_pytorch=num_workers)

    def sequential_loading(self) -> Self:
        """Samples come in their order."""
        return self.replace(in_order=True, pool=None)

    def async_pool_loading(self, config: PoolConfig | None = None) -> Self:
        """Samples come as they arrive: a slow one holds up no other."""
        return self.replace(in_order=False, pool=config or PoolConfig())

    async_pool_loading_with_config = async_pool_loading

    def with_timeout(self, seconds: float | None) -> Self:
        """Seconds that the next sample may take to arrive."""
        return self.replace(timeout=seconds)

    def with_cancel(self, token: Any) -> Self:
        """A ``CancelToken`` that ends the iteration, from any thread."""
        return self.replace(cancel=token)

    def with_transform(self, transform: Any) -> Self:
        """A function that each sample goes through."""
        return self.replace(transform=transform, enable_transforms=True)

    def with_page_cache_mode(self, mode: str) -> Self:
        """The advice for the page cache on local files."""
        return self.replace(page_cache_mode=str(mode))

    def pin_memory(self, pin: bool = True) -> Self:
        """Of a ``torch`` loader: batches land in page-locked memory."""
        return self.replace(pin_memory=pin)

    def persistent_workers(self, persistent: bool = True) -> Self:
        """Of a ``torch`` loader: workers live on between epochs."""
        return self.replace(persistent_workers=persistent)

    def non_blocking(self, non_blocking: bool = True) -> Self:
        """Of copies to a device: the program does not wait for them."""
        return self.replace(non_blocking=non_blocking)

    def use_spawn(self) -> Self:
        """Of a ``torch`` loader: workers are new processes."""
        return self.replace(multiprocessing_context="spawn")

    def use_fork(self) -> Self:
        """Of a ``torch`` loader: workers are forked."""
        return self.replace(multiprocessing_context="fork")

    def use_forkserver(self) -> Self:
        """Of a ``torch`` loader: workers are forked by a process that has nothing else."""
        return self.replace(multiprocessing_context="forkserver")

    def random_sampling(self, replacement: bool = False) -> Self:
        """Shuffle; with ``replacement`` each sample is drawn of all of them, so that some come twice and others not."""
        return self.replace(sampler_type="random", shuffle=True, replacement=replacement)

    def distributed_sampling(self, rank: int, world_size: int) -> Self:
        """Shuffle, and give this rank its part."""
        return self.shard(rank, world_size).replace(sampler_type="distributed_random", shuffle=True)

    def channels_first(self) -> Self:
        """Of images that ``transform`` makes: what it shall give."""
        return self.replace(memory_format="channels_first")

    def channels_last(self) -> Self:
        """Of images that ``transform`` makes: what it shall give."""
        return self.replace(memory_format="channels_last")

    def with_generator_seed(self, seed: int | None) -> Self:
        """A seed of the order that counts before ``seed``."""
        return self.replace(generator_seed=seed)

    def enable_transforms(self, enable: bool = True) -> Self:
        """Whether samples go through ``transform``."""
        return self.replace(enable_transforms=enable)

    def collate_buffer_size(self, size: int) -> Self:
        """Accepted; batches are lists of views, and need no such buffer."""
        return self.replace(collate_buffer_size=size)

    # -- presets

    def gpu_optimized(self) -> Self:
        """Page-locked memory, workers that live on, copies that nobody waits for, channels first, spawned workers."""
        return self.replace(
            pin_memory=True, persistent_workers=True, non_blocking=True, memory_format="channels_first",
            multiprocessing_context="spawn",
        )  # fmt: skip

    def distributed_optimized(self, rank: int, world_size: int) -> Self:
        """``gpu_optimized`` for one rank of several."""
        return self.gpu_optimized().distributed_sampling(rank, world_size)

    def debug_mode(self) -> Self:
        """No workers, and an error after 10 seconds without a sample."""
        return self.replace(num_workers=0, persistent_workers=False, timeout=10.0, auto_tune=False)

    # -- values whose names are not those of builders

    @property
    def batch_size(self) -> int:
        """How many samples a batch has."""
        return self.values.items_per_batch

    @property
    def seed(self) -> int:
        """The seed of the order."""
        return self.values.seed

    @property
    def shard_rank(self) -> int:
        """Which of the ranks this is."""
        return self.values.shard_rank

    @property
    def shard_world_size(self) -> int:
        """How many ranks there are."""
        return self.values.shard_world_size

    @property
    def timeout_seconds(self) -> float | None:
        """Seconds that the next sample may take to arrive."""
        return self.values.timeout

    @property
    def drop_last_value(self) -> bool:
        """Whether a short last batch is left out."""
        return self.values.drop_last

    @property
    def shuffle_value(self) -> bool:
        """Whether the order differs from epoch to epoch."""
        return self.values.shuffle

    @property
    def num_workers_value(self) -> int:
        """As ``num_workers`` was set."""
        return self.values.num_workers

    @property
    def prefetch_value(self) -> int:
        """As ``prefetch`` was set."""
        return self.values.prefetch

    @property
    def pin_memory_value(self) -> bool:
        """As ``pin_memory`` was set."""
        return self.values.pin_memory

    @property
    def persistent_workers_value(self) -> bool:
        """As ``persistent_workers`` was set."""
        return self.values.persistent_workers

    @property
    def non_blocking_value(self) -> bool:
        """As ``non_blocking`` was set."""
        return self.values.non_blocking


PyLoaderOptions = LoaderOptions


def _fields(given: str) -> tuple[str, ...]:
    """The values that an option of this name sets."""
    return ("in_order", "pool") if given == "loading_mode" else (ALIASES.get(given, given),)


def _unpickled(kind: type[LoaderOptions], values: dict[str, Any]) -> LoaderOptions:
    return kind._of(LoaderValues(**values))
