"""Figures as people read them: durations, sizes, rates, shares. No I/O."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``250 us``, ``3.4 ms``, ``12 s``, ``4.2 min``."""
    for limit, unit, factor in ((1e-6, "ns", 1e9), (1e-3, "us", 1e6), (1.0, "ms", 1e3), (120.0, "s", 1.0)):
        if abs(seconds) < limit * 0.9999:  # what rounds up to the next unit is in that
            return f"{figure(seconds * factor)} {unit}"
    if seconds < 7200:
        return f"{figure(seconds / 60)} min"
    return f"{figure(seconds / 3600)} h"


def figure(value: float) -> str:
    """Three digits that count: ``1,234``, ``12.3``, ``0.0456``."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def count(value: int) -> str:
    """``1,234,567``."""
    return f"{value:,}"


def percent(share: float) -> str:
    """``0.012 %``, ``4.5 %``, ``98 %``."""
    value = share * 100
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def rate(per_second: float) -> str:
    """``3,430/s``."""
    return f"{figure(per_second)}/s"


def size(value: float) -> str:
    """``17 B``, ``4.5 KiB``, ``1.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.3g} {unit}"
