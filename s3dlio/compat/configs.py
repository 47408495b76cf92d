"""Configurations of stores, as the Rust API of this name has them: values that become settings of one store.

Every option acts, or is refused, or says that it has no meaning here. What an option leaves at None is as the settings
say (docs/settings.md).
"""

from __future__ import annotations

import datetime
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self, overload

from s3dlio.config.adaptive import AdaptiveConfig
from s3dlio.config.fields import member_of
from s3dlio.config.settings import SECTIONS
from s3dlio.config.sizes import parse_size
from s3dlio.errors import ConfigError

_MIB = 1 << 20

#: Section -> setting -> value, as a :class:`s3dlio.Client` takes them.
Sections = dict[str, dict[str, Any]]


class PageCacheMode(StrEnum):
    """The advice for the page cache on files that are read: the setting ``file.page_cache``."""

    Normal = "normal"
    Sequential = "sequential"
    Random = "random"
    DontNeed = "dontneed"
    Auto = "auto"


@dataclass(frozen=True)
class RangeEngineConfig:
    """How large objects are read as concurrent ranges.

    Attributes:
        chunk_size: bytes of one range (``range.chunk``).
        max_concurrent_ranges: how many of one object are in flight (``range.concurrency``).
        min_split_size: bytes; larger objects are read as ranges (``range.threshold``).
        range_timeout: seconds, or a timedelta, that a range may stay without a byte (``http.read_timeout``).

    Raises:
        ConfigError: a value of the wrong type or out of range.
    """

    chunk_size: int = 64 * _MIB
    max_concurrent_ranges: int = 32
    min_split_size: int = 16 * _MIB
    range_timeout: float | datetime.timedelta = 30.0

    def __post_init__(self) -> None:
        _check(self.sections())

    def sections(self) -> Sections:
        """The settings that this is."""
        return {
            "range": {
                "chunk": self.chunk_size,
                "concurrency": self.max_concurrent_ranges,
                "threshold": self.min_split_size,
            },
            "http": {"read_timeout": _seconds(self.range_timeout)},
        }


@dataclass(frozen=True)
class CloudConfig:
    """What the configurations of the three clouds share.

    Attributes:
        enable_range_engine: read large objects as concurrent ranges (``range.enabled``). That costs no request here,
            so it is on unless a setting or False says otherwise.
        range_engine: how.
        size_cache_ttl_secs: seconds that sizes of ``pre_stat_and_cache`` are believed (``range.size_cache_seconds``).
        adaptive: how objects are written in parts.

    Raises:
        ConfigError: a value of the wrong type or out of range.
    """

    schemes: ClassVar[tuple[str, ...]] = ("s3", "az", "gs")

    enable_range_engine: bool | None = None
    range_engine: RangeEngineConfig | None = None
    size_cache_ttl_secs: float | None = None
    adaptive: AdaptiveConfig | None = None

    def __post_init__(self) -> None:
        _check_type("range_engine", self.range_engine, RangeEngineConfig)
        _check_type("adaptive", self.adaptive, AdaptiveConfig)
        _check(self.sections())

    def sections(self) -> Sections:
        """The settings that this is."""
        sections = self.range_engine.sections() if self.range_engine else {}
        own = {"enabled": self.enable_range_engine, "size_cache_seconds": self.size_cache_ttl_secs}
        sections["range"] = sections.get("range", {}) | own
        return sections | (self.adaptive.sections() if self.adaptive else {})


class S3Config(CloudConfig):
    """Of a store of ``s3://``."""

    schemes = ("s3",)


class AzureConfig(CloudConfig):
    """Of a store of ``az://``."""

    schemes = ("az",)


class GcsConfig(CloudConfig):
    """Of a store of ``gs://``."""

    schemes = ("gs",)


class _DirectIO:
    """``FileSystemConfig.direct_io()`` makes one with O_DIRECT; ``config.direct_io`` says whether one has it."""

    @overload
    def __get__(self, config: None, kind: type[FileSystemConfig]) -> Callable[[], FileSystemConfig]: ...
    @overload
    def __get__(self, config: FileSystemConfig, kind: type[FileSystemConfig]) -> bool | None: ...
    def __get__(self, config: FileSystemConfig | None, kind: type[FileSystemConfig]) -> Any:
        if config is not None:
            return config.__dict__["direct_io"]
        return functools.partial(kind._with_direct_io)

    def __set__(self, config: FileSystemConfig, value: bool | None) -> None:
        self._set(config, value)

    @staticmethod
    def _set(config: FileSystemConfig, value: Any) -> None:
        if isinstance(value, functools.partial):
            value = None  # not given: what __get__ returned of the class
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"direct_io is True, False or None, not {value!r}")
        config.__dict__["direct_io"] = value


@dataclass(frozen=True)
class FileSystemConfig:
    """Of a store of local files.

    Attributes:
        direct_io: past the page cache (O_DIRECT), also where the URI says ``file://``; None: as the URI says.
        alignment: bytes to which O_DIRECT aligns; None: what the file system asks for, else 4096.
        min_io_size: bytes; less is read and written through the page cache (``file.direct_min_size``).
        sync_writes: a put returns when the file is on the disk (``file.durable``).
        page_cache_mode: advice for the page cache on reads (``file.page_cache``).
        buffer_pool: (number, bytes of each): so much memory that was read into stays for this process's next reads.
        enable_range_engine: has no meaning here, and says so: a file is read in one go; batches read many at a time.
        range_engine: likewise.

    Raises:
        ConfigError: a value of the wrong type or out of range.
    """

    schemes: ClassVar[tuple[str, ...]] = ("file", "direct")

    direct_io: _DirectIO = _DirectIO()
    alignment: int | None = None
    min_io_size: int | None = None
    sync_writes: bool | None = None
    page_cache_mode: PageCacheMode | str | None = None
    buffer_pool: tuple[int, int] | None = None
    enable_range_engine: bool = False
    range_engine: RangeEngineConfig | None = None

    def __post_init__(self) -> None:
        if self.page_cache_mode is not None:
            mode = member_of(PageCacheMode, "page_cache_mode", self.page_cache_mode)
            object.__setattr__(self, "page_cache_mode", mode)
        if self.enable_range_engine or self.range_engine is not None:
            warnings.warn(
                "ranges of files have no meaning here: a file is read in one go, and batches read many at a time",
                DeprecationWarning,
                stacklevel=3,
            )
        _ = self.pool_bytes
        _check(self.sections())

    @classmethod
    def default(cls) -> Self:
        """As the settings say."""
        return cls()

    @classmethod
    def _with_direct_io(cls) -> Self:
        """O_DIRECT from 4 KiB on, 32 buffers of 64 MiB."""
        return cls(direct_io=True, min_io_size=4096, buffer_pool=(32, 64 * _MIB))

    @classmethod
    def high_performance(cls) -> Self:
        """O_DIRECT from 64 KiB on, on the disk before a put returns, 32 buffers of 64 MiB."""
        return cls(direct_io=True, min_io_size=64 << 10, sync_writes=True, buffer_pool=(32, 64 * _MIB))

    @property
    def pool_bytes(self) -> int:
        """Bytes of ``buffer_pool``."""
        if self.buffer_pool is None:
            return 0
        try:
            number, each = self.buffer_pool
        except (TypeError, ValueError):
            raise ConfigError("buffer_pool is a pair (number, bytes of each)") from None
        return parse_size(number, name="buffer_pool") * parse_size(each, name="buffer_pool")

    def sections(self) -> Sections:
        """The settings that this is."""
        return {
            "file": {
                "alignment": self.alignment,
                "direct_min_size": self.min_io_size,
                "durable": self.sync_writes,
                "page_cache": None if self.page_cache_mode is None else str(self.page_cache_mode),
            }
        }


def _seconds(value: float | datetime.timedelta) -> float:
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


def _check(sections: Sections) -> None:
    """Refuse values that are no settings."""
    for section, values in sections.items():
        SECTIONS[section](**{name: value for name, value in values.items() if value is not None})


def _check_type(name: str, value: Any, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigError(f"{name} is a {kind.__name__}, not a {type(value).__name__}")
