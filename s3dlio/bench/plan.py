"""What a benchmark is to do: every option of ``s3-cli bench``, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

from s3dlio.bench.sizes import Sizes
from s3dlio.errors import ConfigError
from s3dlio.records import Record

OPERATIONS = ("get", "put", "stat", "list", "delete", "mixed")
#: What a mixed workload consists of, as warp has it.
MIX = {"get": 45, "stat": 30, "put": 15, "delete": 10}


class Plan(Record):
    """A benchmark.

    Args:
        operation: one of ``OPERATIONS``.
        uri: the bucket or directory. All objects are in a directory below, which is new.
        sizes: of the objects.
        objects: how many are written before, or listed; a put needs none.
        concurrent: operations in flight, for one run after the other.
        seconds: how long each run is measured; None: ``count`` ends it.
        count: operations of each run; None: ``seconds`` ends it.
        warm_up: seconds before that, which do not count.
        seed: of sizes, order and data; None: other ones each time.
        range_size: gets read ranges of so many bytes, at places drawn by chance; None: whole objects.
        discard: gets drop bytes as they arrive, instead of reading them into memory.
        mix: weights of ``get``, ``stat``, ``put`` and ``delete`` in a mixed workload.
        batch: keys of one delete.
        dedup, compress: of the data, as of :func:`s3dlio.generate_data`.
        fresh: generate all bytes of every object while it is written. Otherwise objects are stretches of one buffer.
        procs: processes on this machine, among which what is in flight is divided.
        prefix: the name of the directory; None: one that is drawn by chance.
        prepare: write the objects first. Otherwise they are there, from an earlier run with the same ``prefix``.
        clean: delete what was written.

    Raises:
        ConfigError: a value cannot be, or two do not go together.
    """

    operation: str
    uri: str
    sizes: Sizes
    objects: int = 256
    concurrent: tuple[int, ...] = (32,)
    seconds: float | None = 10.0
    count: int | None = None
    warm_up: float = 1.0
    seed: int | None = None
    range_size: int | None = None
    discard: bool = False
    mix: Any = None
    batch: int = 1
    dedup: int = 1
    compress: int = 1
    fresh: bool = False
    procs: int = 1
    prefix: str | None = None
    prepare: bool = True
    clean: bool = True

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ConfigError(f"there is no benchmark {self.operation!r}", hint=f"use one of {', '.join(OPERATIONS)}")
        if (self.seconds is None) == (self.count is None):
            raise ConfigError("a benchmark ends after some seconds or after a count of operations: give one of them")
        self._check_numbers()
        if not self.prepare and self.prefix is None:
            raise ConfigError("what is there already is found by its prefix", hint="give --prefix with --no-prepare")
        if not self.prepare and self.operation == "delete":
            raise ConfigError("a benchmark deletes only what it has written itself", hint="leave --no-prepare out")
        if self.prefix is not None and not _is_name(self.prefix):
            raise ConfigError(f"the prefix {self.prefix!r} is no name of a directory", hint="give one without '/'")

    def _check_numbers(self) -> None:
        for name, least in (("objects", 1), ("batch", 1), ("procs", 1), ("count", 1), ("range_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be {least} or more, got {value}")
        if not self.concurrent or min(self.concurrent) < 1:
            raise ConfigError(f"operations in flight must be 1 or more, got {self.concurrent}")
        if min(self.concurrent) < self.procs:
            raise ConfigError(f"{self.procs} processes need as many operations in flight, got {min(self.concurrent)}")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"a benchmark lasts longer than {self.seconds} seconds")
        mix = self.weights
        if set(mix) - set(MIX) or min(mix.values()) < 0 or not sum(mix.values()):
            raise ConfigError(f"a mixed workload has weights of {', '.join(MIX)}, not {dict(mix)}")

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the operations of a mixed workload."""
        return dict(MIX) if self.mix is None else dict(self.mix)

    @property
    def lead_in(self) -> float:
        """Seconds of the warm-up: none where each operation uses up an object that was prepared."""
        return 0.0 if self.operation == "delete" else self.warm_up

    def as_dict(self) -> dict[str, Any]:
        """As the result tells it."""
        return {
            "operation": self.operation, "uri": self.uri, "size": str(self.sizes),
            "size_distribution": "log-uniform" if self.sizes.logarithmic else "uniform", "objects": self.objects,
            "concurrent": list(self.concurrent), "duration": self.seconds, "count": self.count,
            "warm_up": self.lead_in, "seed": self.seed, "range_size": self.range_size, "discard": self.discard,
            "mix": self.weights if self.operation == "mixed" else None, "batch": self.batch, "dedup": self.dedup,
            "compress": self.compress, "fresh_data": self.fresh, "procs": self.procs, "prefix": self.prefix,
            "prepare": self.prepare, "clean": self.clean,
        }  # fmt: skip


class Share(NamedTuple):
    """The part of one process: its number among so many."""

    number: int = 0
    of: int = 1

    def part(self, whole: int) -> int:
        """How many of ``whole`` it has."""
        return whole // self.of + (self.number < whole % self.of)


def _is_name(prefix: str) -> bool:
    return bool(prefix) and "/" not in prefix and prefix not in (".", "..") and prefix.isprintable()
