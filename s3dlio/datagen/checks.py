"""Checks of arguments that everything in this package shares."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Iterable
from typing import Any

from s3dlio.config.sizes import shown
from s3dlio.errors import BufferRefusedError, ConfigError
from s3dlio.hardware import affinity_cpu_count, available_cpus


def whole_number(name: str, value: Any, minimum: int = 0, maximum: int = sys.maxsize) -> int:
    """`value` as an int in `[minimum, maximum]`.

    Raises:
        TypeError: it is not an integer.
        ConfigError: it is out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not minimum <= number <= maximum:
        raise ConfigError(f"{name} must be an integer from {minimum} to {maximum}, got {shown(number)}")
    return number


def factor(name: str, value: Any) -> int:
    """A dedup or compress factor; 0 means 1 (off)."""
    return whole_number(name, value) or 1


def thread_count(value: Any) -> int:
    """`threads`, where None and 0 mean the default."""
    return (0 if value is None else whole_number("threads", value)) or default_data_gen_threads()


def one_of(name: str, value: Any, valid: Iterable[str]) -> str:
    """`value` if it is one of the `valid` names (whatever its case).

    Raises:
        ConfigError: it is not; the message lists the valid names.
    """
    by_folded = {choice.casefold(): choice for choice in valid}
    found = by_folded.get(value.casefold()) if isinstance(value, str) else None
    if found is None:
        raise ConfigError(f"unknown {name} {value!r}: use one of {', '.join(by_folded.values())}")
    return found


def fits_in_memory(size: int) -> None:
    """Refuse a size that no buffer of this machine can hold.

    Raises:
        ConfigError: `size` is more than the physical memory.
    """
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return  # the platform does not report its memory: a failing allocation will
    if size > physical:
        raise ConfigError(
            f"size {size} is more than the {physical} bytes of memory of this machine; "
            "generate it piece by piece with s3dlio.Generator"
        )


def writable_bytes(buffer: Any) -> memoryview:
    """A flat, writable view of a caller's buffer.

    Raises:
        TypeError: it has no buffer.
        BufferError: its items are not single bytes.
        ValueError: it is read-only or not contiguous.
    """
    view = memoryview(buffer)
    if view.readonly:
        raise ConfigError("Buffer must be writable")
    if not view.c_contiguous:
        raise ConfigError("Buffer must be C-contiguous")
    if view.itemsize != 1:
        raise BufferRefusedError(
            f"buffer contents are not compatible with u8: items of {view.itemsize} bytes (format {view.format!r}); "
            "pass memoryview(buffer).cast('B') or array.view('u1')"
        )
    if not view.nbytes:
        return memoryview(bytearray())  # cast() refuses shapes with a zero in them
    return view if view.ndim == 1 and view.format == "B" else view.cast("B")


def total_cpus() -> int:
    """How many CPUs this process may run on."""
    return affinity_cpu_count()


def default_data_gen_threads() -> int:
    """How many threads generate one buffer when none are asked for: every CPU of this process, never more."""
    return available_cpus()
