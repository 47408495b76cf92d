"""What a streaming writer does with the bytes on their way: compression, sizes, numbers of parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from s3dlio.config.adaptive import AdaptiveConfig
from s3dlio.config.environment import did_you_mean
from s3dlio.config.sizes import parse_size
from s3dlio.errors import ConfigError
from s3dlio.signatures import also_named
from s3dlio.types import NO_OPTIONS, PutOptions

DEFAULT_BUFFER = 1 << 20
DEFAULT_LEVEL = 3
LEVELS = range(1, 23)


class WriterOptions:
    """How an object is written piece by piece; ``options.name = value`` and ``with_name(value)`` do the same.

    The ``with_`` methods change the options and return them, so that they chain. Every value is checked when it is
    set. A writer keeps what the options are when it is made.

    Attributes:
        compression: ``"zstd"`` (the object's name gets ``.zst``), ``"none"``, or None, which is none as well.
        compression_level: 1 (fastest) to 22 (smallest); None: 3.
        buffer_size: bytes that are collected before they are passed on, 4 KiB at least; also called ``chunk_size``.
            Default: 1 MiB.
        part_size: bytes of every part but the last, 5 MiB at least, where the store sends parts; None: as the settings
            say, and growing.
        expected_size: bytes that will be written, if that is known about: parts are large enough for them.
        max_in_flight: parts that are on their way at a time; None: as the settings say.
        adaptive: chooses the sizes and numbers of parts that are None.
        put_options: content type, metadata, conditions, durability, ...: what ``put_bytes`` can say.

    Raises:
        ConfigError: a value that cannot be.
        AttributeError: an attribute that there is not.
    """

    compression: str | None
    compression_level: int | None
    buffer_size: int
    part_size: int | None
    expected_size: int | None
    max_in_flight: int | None
    adaptive: AdaptiveConfig | None
    put_options: PutOptions

    def __init__(
        self,
        *,
        compression: str | None = None,
        compression_level: int | None = None,
        buffer_size: int = DEFAULT_BUFFER,
        part_size: int | None = None,
        expected_size: int | None = None,
        max_in_flight: int | None = None,
        adaptive: AdaptiveConfig | None = None,
        put_options: PutOptions = NO_OPTIONS,
    ) -> None:
        self.compression = compression
        self.compression_level = compression_level
        self.buffer_size = buffer_size
        self.part_size = part_size
        self.expected_size = expected_size
        self.max_in_flight = max_in_flight
        self.adaptive = adaptive
        self.put_options = put_options

    @classmethod
    def of(cls, options: WriterOptions | Mapping[str, Any] | None) -> WriterOptions:
        """The options of what a caller may give for them: themselves, their names and values, or None.

        Raises:
            ConfigError: something else, or a name or value that cannot be.
        """
        if isinstance(options, WriterOptions):
            return options
        made = cls()
        if options is None:
            return made
        if not isinstance(options, Mapping):
            raise ConfigError(f"options of a writer are WriterOptions, not a {type(options).__name__}")
        for name, value in options.items():
            try:
                setattr(made, name, value)
            except AttributeError as error:
                raise ConfigError(str(error)) from None
        return made

    @property
    def chunk_size(self) -> int:
        """Another name of ``buffer_size``."""
        return self.buffer_size

    def __setattr__(self, name: str, value: Any) -> None:
        name = "buffer_size" if name == "chunk_size" else name
        check = _CHECKS.get(name)
        if check is None:
            raise AttributeError(f"WriterOptions have no attribute {name!r}{did_you_mean(name, _CHECKS)}")
        object.__setattr__(self, name, check(name, value))

    @also_named(compression_type="compression")
    def with_compression(self, compression: str | None, level: int | None = None) -> Self:
        """Set ``compression`` and ``compression_level``; of two wrong ones neither."""
        level = _level("compression_level", level)
        self.compression = compression
        self.compression_level = level
        return self

    def with_buffer_size(self, size: int) -> Self:
        """Set ``buffer_size``."""
        self.buffer_size = size
        return self

    def with_part_size(self, size: int | None) -> Self:
        """Set ``part_size``."""
        self.part_size = size
        return self

    def with_expected_size(self, size: int | None) -> Self:
        """Set ``expected_size``."""
        self.expected_size = size
        return self

    def with_max_in_flight(self, number: int | None) -> Self:
        """Set ``max_in_flight``."""
        self.max_in_flight = number
        return self

    def with_adaptive(self, config: AdaptiveConfig | None) -> Self:
        """Set ``adaptive``."""
        self.adaptive = config
        return self

    def with_put_options(self, options: PutOptions) -> Self:
        """Set ``put_options``."""
        self.put_options = options
        return self

    def enable_adaptive(self) -> Self:
        """Have sizes and numbers of parts chosen by ``expected_size``."""
        return self.with_adaptive(AdaptiveConfig.enabled())

    @property
    def level(self) -> int | None:
        """The level to compress at; None: not at all.

        Raises:
            ConfigError: a level was set, and no compression.
        """
        if self.compression == "zstd":
            return self.compression_level or DEFAULT_LEVEL
        if self.compression is None and self.compression_level is not None:
            raise ConfigError("compression_level is set, and compression is not", hint='set compression = "zstd"')
        return None

    def parts(self) -> dict[str, int | None]:
        """The arguments of a store's writer that say how its object is cut."""
        adaptive = self.adaptive or AdaptiveConfig()
        return {
            "part_size": self.part_size or adaptive.part_size(self.expected_size),
            "expected_size": self.expected_size,
            "max_in_flight": self.max_in_flight or adaptive.concurrency(),
        }

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if isinstance(other, WriterOptions) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # they change

    def __repr__(self) -> str:
        plain = WriterOptions().__dict__
        changed = (f"{name}={value!r}" for name, value in self.__dict__.items() if value != plain[name])
        return f"WriterOptions({', '.join(changed)})"


PyWriterOptions = WriterOptions


def _compression(name: str, value: Any) -> str | None:
    if value is None:
        return None
    kind = value.strip().lower() if isinstance(value, str) else value
    if kind not in ("zstd", "none"):
        raise ConfigError(f"Unsupported compression type: {value!r}", hint="use 'zstd' or 'none'")
    return str(kind)


def _level(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value not in LEVELS:
        raise ConfigError(f"{name} is a level of zstd, {LEVELS[0]} to {LEVELS[-1]}, not {value!r}")
    return int(value)


def _buffer(name: str, value: Any) -> int:
    return DEFAULT_BUFFER if value is None else parse_size(value, name=name, minimum=1)


def _at_least(minimum: int) -> Callable[[str, Any], int | None]:
    return lambda name, value: None if value is None else parse_size(value, name=name, minimum=minimum)


def _instance(kind: type, *, optional: bool) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind) and not (optional and value is None):
            raise ConfigError(f"{name} is a {kind.__name__}, not a {type(value).__name__}")
        return value

    return check


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "compression": _compression,
    "compression_level": _level,
    "buffer_size": _buffer,
    "part_size": _at_least(5 << 20),
    "expected_size": _at_least(0),
    "max_in_flight": _at_least(1),
    "adaptive": _instance(AdaptiveConfig, optional=True),
    "put_options": _instance(PutOptions, optional=False),
}
