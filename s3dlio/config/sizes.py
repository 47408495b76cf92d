"""Sizes and counts as people write them: ``8MB`` is 8,000,000 bytes, ``8MiB`` is 8,388,608. No I/O."""

from __future__ import annotations

import re
from typing import Any

from s3dlio.errors import ConfigError

_WRITTEN = r"(?ia)((?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?)\s*([kmgtp]?)(i?)(b?)"
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


_LONGEST = 100


def shown(value: Any) -> str:
    """A value in a message; not all of a long one. Python writes no integers of more than 4300 digits."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


#: More bytes than any file or object has.
MAX_SIZE = (1 << 63) - 1


def parse_size(value: Any, *, name: str = "size", minimum: int = 0, maximum: int = MAX_SIZE) -> int:
    """A number of bytes (or of anything else that is counted).

    Args:
        value: an int, or text: digits with an optional suffix ``k m g t p`` (powers of 1000) or ``ki mi gi ti pi``
            (powers of 1024), a ``b`` after it or not, in any case; ``_`` may separate digits, ``,`` thousands.
        name: what the value is, for the message.
        minimum, maximum: the smallest and the largest value that are allowed.

    Raises:
        ConfigError: it is no size, is not a whole number of bytes, or is out of range.
    """
    size = _whole(value, name)
    if size > maximum:
        raise ConfigError(f"{name}={shown(value)} is too large (valid range: {minimum} to {maximum})")
    if size < minimum:
        raise ConfigError(f"{name} must be at least {minimum}, got {shown(size)}")
    return size


def _whole(value: Any, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(_WRITTEN, re.sub(r"(?<=\d)_(?=\d)", "", value.strip())) if isinstance(value, str) else None
    if match is None or (match[3] and not match[2]):
        raise ConfigError(f"{name}={value!r} is no size", hint="write a number of bytes, or 512KiB, 8MB, 16MiB, 1g")
    written, prefix, binary, _ = match.groups()
    number = written.replace(",", "")
    if len(number) > 40:
        raise ConfigError(f"{name}={value[:40]!r}... has more digits than any size")
    unit: int = (1024 if binary else 1000) ** _POWER[prefix.lower()]
    if "." not in number:
        return int(number) * unit
    whole, decimals = number.split(".")
    parts = int(whole + decimals) * unit
    scale: int = 10 ** len(decimals)
    if parts % scale:
        raise ConfigError(f"{name}={value!r} is not a whole number of bytes")
    return parts // scale


def format_size(size: int) -> str:
    """``size`` in the largest binary unit that leaves it whole: 8388608 is ``8MiB``, 1000 is ``1000``."""
    unit = ""
    for prefix in ("Ki", "Mi", "Gi", "Ti", "Pi"):
        if size == 0 or size % 1024:
            break
        size //= 1024
        unit = prefix + "B"
    return f"{size}{unit}"
