"""Which objects of a selection are wanted by their size and age."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from s3dlio.config.sizes import parse_size
from s3dlio.errors import ConfigError
from s3dlio.records import Record
from s3dlio.transfer.plan import Item, Plan, Skipped


class Limits(Record):
    """Bounds of size and time; an object at the bound is wanted.

    Args:
        min_size, max_size: bytes.
        before, since: nanoseconds since 1970 between which an object was last changed.
    """

    min_size: int | None = None
    max_size: int | None = None
    before: int | None = None
    since: int | None = None

    def __bool__(self) -> bool:
        return self != NO_LIMITS

    @property
    def of_age(self) -> bool:
        """There are bounds of age."""
        return self.before is not None or self.since is not None

    def refusal(self, size: int, mtime_ns: int | None) -> str | None:
        """Why an object is not wanted; None: it is. One whose time is unknown has no age that is refused."""
        if self.min_size is not None and size < self.min_size:
            return f"it has {size} bytes, less than {self.min_size}"
        if self.max_size is not None and size > self.max_size:
            return f"it has {size} bytes, more than {self.max_size}"
        if mtime_ns is not None:
            if self.before is not None and mtime_ns > self.before:
                return "it was changed too lately"
            if self.since is not None and mtime_ns < self.since:
                return "it was changed too long ago"
        return None


NO_LIMITS = Limits()


def bounded(plan: Plan, limits: Limits, uri: Callable[[str], str]) -> Plan:
    """``plan`` with what ``limits`` refuse skipped; ``uri`` makes the URI of a key."""
    for entry in plan:
        reason = limits.refusal(entry.size, entry.mtime_ns) if isinstance(entry, Item) else None
        yield entry if reason is None else Skipped(uri(entry.key), reason, expected=True)  # type: ignore[union-attr]


def limits(*, min_size: Any = None, max_size: Any = None, min_age: Any = None, max_age: Any = None) -> Limits:
    """The bounds as people write them.

    Args:
        min_size, max_size: bytes, as of :func:`s3dlio.config.sizes.parse_size`: ``1048576``, ``"1MiB"``.
        min_age, max_age: an age or a date, as of :func:`s3dlio.config.durations.parse_moment`: ``"7d"``,
            ``"2026-11-28"``; objects must be older than ``min_age``, and not older than ``max_age``.

    Raises:
        ConfigError: one cannot be understood, or no object can lie between two.
    """
    if min_size is None and max_size is None and min_age is None and max_age is None:
        return NO_LIMITS
    from s3dlio.config.durations import parse_moment

    least = None if min_size is None else parse_size(min_size, name="min_size")
    most = None if max_size is None else parse_size(max_size, name="max_size")
    before = None if min_age is None else parse_moment(min_age, name="min_age")
    since = None if max_age is None else parse_moment(max_age, name="max_age")
    if least is not None and most is not None and least > most:
        raise ConfigError(f"min_size={least} is more than max_size={most}: no object is between them")
    if before is not None and since is not None and since > before:
        raise ConfigError(f"min_age={min_age!r} is more than max_age={max_age!r}: no object is between them")
    return Limits(least, most, before, since)
