"""Sizes and numbers of parts by what is written: choices of people that become settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from s3dlio.config.fields import member_of
from s3dlio.config.sizes import parse_size
from s3dlio.errors import ConfigError
from s3dlio.hardware import available_cpus

_MIB = 1 << 20


class AdaptiveMode(StrEnum):
    """Whether an :class:`AdaptiveConfig` chooses anything."""

    Disabled = "disabled"
    Enabled = "enabled"


class WorkloadType(StrEnum):
    """What is written: it decides sizes and numbers of parts, see :class:`AdaptiveConfig`."""

    SmallFile = "smallfile"
    MediumFile = "mediumfile"
    LargeFile = "largefile"
    Batch = "batch"
    Unknown = "unknown"

    @classmethod
    def from_file_size(cls, size: int) -> WorkloadType:
        """Small up to 16 MiB, medium up to 256 MiB, large beyond; ``size`` in bytes."""
        if size <= 16 * _MIB:
            return cls.SmallFile
        return cls.MediumFile if size <= 256 * _MIB else cls.LargeFile


@dataclass(frozen=True)
class AdaptiveConfig:
    """Sizes and numbers of parts by what is written.

    Attributes:
        mode: ``Disabled`` leaves all as the settings say.
        workload_type: what is written; None counts as ``Unknown``.
        min_part_size, max_part_size: bytes; a part has 8 MiB for small files, 32 MiB for large ones, else 16 MiB,
            within these (``multipart.part_size``).
        min_concurrency, max_concurrency: parts in flight of one object: for each CPU 8 (small files, batches), 4
            (medium) or 2 (large), else 32 in all, within these (``multipart.max_in_flight``).

    Raises:
        ConfigError: a value of the wrong type or out of range, or a minimum above its maximum.
    """

    mode: AdaptiveMode | str = AdaptiveMode.Disabled
    workload_type: WorkloadType | str | None = None
    min_part_size: int = 5 * _MIB
    max_part_size: int = 64 * _MIB
    min_concurrency: int = 8
    max_concurrency: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", member_of(AdaptiveMode, "mode", self.mode))
        if self.workload_type is not None:
            object.__setattr__(self, "workload_type", member_of(WorkloadType, "workload_type", self.workload_type))
        for name, least in (("part_size", 5 * _MIB), ("concurrency", 1)):
            bounds = (f"min_{name}", f"max_{name}")
            low, high = (parse_size(getattr(self, bound), name=bound, minimum=least) for bound in bounds)
            if low > high:
                raise ConfigError(f"min_{name} is {low}, more than max_{name}, {high}")

    @classmethod
    def enabled(cls, workload_type: WorkloadType | str | None = None, **bounds: int) -> Self:
        """One that chooses; ``bounds`` are the four attributes of that kind."""
        return cls(AdaptiveMode.Enabled, workload_type, **bounds)

    def part_size(self, size: int | None = None) -> int | None:
        """Bytes of a part of an object of ``size`` bytes, which counts where no workload is named; None: as set."""
        if self.mode is AdaptiveMode.Disabled:
            return None
        workload = self.workload_type or (WorkloadType.Unknown if size is None else WorkloadType.from_file_size(size))
        wanted = {WorkloadType.SmallFile: 8, WorkloadType.LargeFile: 32}.get(WorkloadType(workload), 16) * _MIB
        return max(self.min_part_size, min(self.max_part_size, wanted))

    def concurrency(self) -> int | None:
        """Parts of one object in flight; None: as set."""
        if self.mode is AdaptiveMode.Disabled:
            return None
        each = {"smallfile": 8, "batch": 8, "mediumfile": 4, "largefile": 2}.get(self.workload_type or "")
        wanted = 32 if each is None else each * available_cpus()
        return max(self.min_concurrency, min(self.max_concurrency, wanted))

    def sections(self) -> dict[str, dict[str, Any]]:
        """The settings that this is."""
        return {"multipart": {"part_size": self.part_size(), "max_in_flight": self.concurrency()}}
