"""How large the parts of an object are."""

from __future__ import annotations

_MIB = 1 << 20


def part_size_for(size: int, part_size: int, most_parts: int) -> int:
    """The size in bytes of the parts of an object of ``size`` bytes: ``part_size``, or, where ``most_parts`` of these
    are not enough, what it takes, in whole MiB."""
    return max(part_size, -(-size // (most_parts * _MIB)) * _MIB)
