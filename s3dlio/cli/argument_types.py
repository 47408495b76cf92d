"""Argparse types: numbers as people type them (``64k``, ``8MiB``), regular expressions, tags. No I/O."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import TypeVar

from s3dlio.config.sizes import MAX_SIZE, parse_size
from s3dlio.errors import ConfigError

T = TypeVar("T")

MAX_JOBS = 4096
MAX_PROCS = 1024


def size(text: str) -> int:
    """A number of bytes, 0 or more.

    Raises:
        ArgumentTypeError: it is none; the message says what would be right. So do all functions here.
    """
    return _number(text, "size", 0, MAX_SIZE)


def positive_size(text: str) -> int:
    """A number of bytes, 1 or more."""
    return _number(text, "size", 1, MAX_SIZE)


def count(text: str) -> int:
    """How many of something, 0 or more."""
    return _number(text, "count", 0, MAX_SIZE, "write an integer >= 0, such as 1000, 10k or 4Ki")


def positive_count(text: str) -> int:
    """How many of something, 1 or more."""
    return _number(text, "count", 1, MAX_SIZE, "write an integer >= 1, such as 1000, 10k or 4Ki")


def percentage(text: str) -> float:
    """A share in percent, ``10%`` or ``2.5%``: 0 to 100."""
    digits = text.removesuffix("%")
    if not re.fullmatch(r"\d+(\.\d+)?", digits, re.ASCII) or not 0 <= float(digits) <= 100:
        raise argparse.ArgumentTypeError(f"invalid share '{text}': write 0% to 100%, such as 10%")
    return float(digits)


def duration(text: str) -> float:
    """Seconds: ``90``, ``90s``, ``5m``, ``1h30m``."""
    from s3dlio.config.durations import parse_duration

    return _read(parse_duration, text, "duration")


def clock_offset(text: str) -> tuple[str, float]:
    """A log, and how many seconds its clock is ahead: ``b.tsv.zst=0.35``, ``b.tsv.zst=-1h``."""
    path, equals, offset = text.rpartition("=")
    sign = -1.0 if offset.startswith("-") else 1.0
    if not equals or not path:
        raise argparse.ArgumentTypeError(f"invalid clock offset '{text}': write LOG=SECONDS, such as b.tsv.zst=0.35")
    return path, sign * duration(offset.removeprefix("-"))


def confidence(text: str) -> float:
    """A probability from 0.5 to below 1."""
    if not re.fullmatch(r"0?\.\d+", text, re.ASCII) or not 0.5 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"invalid confidence '{text}': write 0.5 to 0.999, such as 0.95")
    return float(text)


def factor(text: str) -> int:
    """A dedup or compress factor; 0 and 1 mean that it is off."""
    return _number(text, "factor", 0, MAX_SIZE, "write an integer >= 0")


def seed(text: str) -> int:
    """What data are generated from: 64 bits."""
    return _number(text, "seed", 0, 2**64 - 1, "write an integer >= 0")


def jobs(text: str) -> int:
    """How many requests may be in flight: 1 to 4096."""
    return _number(text, "jobs", 1, MAX_JOBS, f"write an integer from 1 to {MAX_JOBS}")


def procs(text: str) -> int:
    """How many processes: 1 to 1024."""
    return _number(text, "procs", 1, MAX_PROCS, f"write an integer from 1 to {MAX_PROCS}")


def _read(parse: Callable[[str], T], text: str, what: str = "", hint: str = "") -> T:
    """What the library makes of a text."""
    try:
        return parse(text)
    except ConfigError as error:
        if not what:
            raise argparse.ArgumentTypeError(f"{error.reason}; {error.hint}") from None
        raise argparse.ArgumentTypeError(f"invalid {what} '{text}': {hint or error.hint or error.reason}") from None


def _number(text: str, name: str, minimum: int, maximum: int, hint: str = "") -> int:
    try:
        value = parse_size(text, name=name, maximum=10**40)
    except ConfigError as exc:
        raise argparse.ArgumentTypeError(f"invalid {name} value '{text}': {hint or exc.hint or exc.reason}") from None
    if not minimum <= value <= maximum:
        valid = f"{minimum} or more" if maximum == MAX_SIZE and value < minimum else f"{minimum} to {maximum}"
        raise argparse.ArgumentTypeError(
            f"invalid {name} value '{text}': {name} must be an integer >= {minimum} (valid range: {valid})"
        )
    return value


def pattern(text: str) -> str:
    """A regular expression, or a glob, checked before anything is done with it."""
    from s3dlio.transfer.selection import pattern_finder

    _read(pattern_finder, text)
    return text


def version(text: str) -> str:
    """The name of a version; an empty one, of a variable that is not set, would mean the newest."""
    if not text.strip():
        raise argparse.ArgumentTypeError("invalid version '': write the id of one, as stat shows it")
    return text


def age(text: str) -> str:
    """An age (``7d``) or a date, checked before anything is done with it."""
    from s3dlio.config.durations import parse_moment

    _read(parse_moment, text, "age")
    return text


def bandwidth(text: str) -> str:
    """A limit of bandwidth, checked before anything is done with it."""
    from s3dlio.config.bandwidth import parse_timetable

    _read(parse_timetable, text)
    return text


def http_date(text: str) -> str:
    """A date, as a header field has it."""
    from s3dlio.transfer.object_options import http_date

    return _read(http_date, text, "date", "write 2026-11-28 or an HTTP date")


def metadata(text: str) -> tuple[str, str]:
    """``NAME=VALUE`` of metadata."""
    name, equals, value = text.partition("=")
    if not name.strip() or not equals:
        raise argparse.ArgumentTypeError(f"invalid metadata '{text}': write NAME=VALUE")
    return name.strip(), value


def tag(text: str) -> tuple[str, str]:
    """``NAME=VALUE``; the value may be empty."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"invalid tag '{text}': write NAME=VALUE")
    if re.search("&[^&=]+=", value):
        raise argparse.ArgumentTypeError(f"invalid tag '{text}': give the option once for each tag")
    return name, value


def speed(text: str) -> float:
    """A factor above 0; ``max`` is infinite."""
    if text in ("max", "inf"):
        return float("inf")
    if not re.fullmatch(r"\d*\.?\d+", text, re.ASCII) or not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"invalid speed '{text}': write a factor such as 2 or 0.5, or max")
    return float(text)


def names(text: str) -> list[str]:
    """Names, separated by commas."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"invalid list '{text}': write names, separated by commas")
    return found


def mapping(text: str) -> tuple[str, list[str]]:
    """``FROM=TO``, or ``FROM=TO,TO``; each TO is a URI."""
    found = re.fullmatch(r"(.+?)=([a-z0-9]+://.*)", text, re.DOTALL)
    if found is None:
        raise argparse.ArgumentTypeError(f"invalid mapping '{text}': write FROM=TO, such as s3://old=s3://new")
    return found[1], re.split(r",(?=[a-z0-9]+://)", found[2])


def size_bound(text: str) -> tuple[int | None, int | None]:
    """``+10M``, ``-10M`` or ``10M``: the fewest and the most bytes that are meant."""
    number = size(text.lstrip("+-") if text[:1] in ("+", "-") else text)
    if text[:1] == "+":
        return number + 1, None
    return (None, number - 1) if text[:1] == "-" else (number, number)


def seconds(text: str) -> float:
    """A time in seconds, or as ``30s``, ``5m``: more than 0."""
    value = duration(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"invalid duration '{text}': it must be more than 0")
    return value


def whole_seconds(text: str) -> int:
    """The same in whole seconds."""
    return math.ceil(seconds(text))
