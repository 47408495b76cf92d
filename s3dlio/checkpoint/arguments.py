"""What callers say of a checkpoint: numbers and texts, checked before anything is written."""

from __future__ import annotations

from typing import Any

from s3dlio.errors import ConfigError

_LIMIT = 1 << 63


def checked_number(name: str, value: Any, *, least: int = 0) -> int:
    """A step, epoch or rank.

    Raises:
        TypeError: it is no integer.
        ConfigError: it is out of range.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    number: int = value.__index__()
    if not least <= number < _LIMIT:
        raise ConfigError(f"{name}={number}: it must be {least} or more")
    return number


def checked_text(name: str, value: Any) -> str:
    """A text.

    Raises:
        TypeError: it is none.
        ConfigError: it is not Unicode.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name}={value!r}: it is not Unicode: {error.reason}") from error
    return value
