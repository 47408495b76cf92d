"""The three standard streams, of which any may be closed when the command starts."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from s3dlio.errors import ConfigError


def prepare() -> None:
    """Fill the places of closed streams, so that no file or connection gets their numbers and what is printed goes
    nowhere. Names of files may hold bytes that are no UTF-8; they go out as they came in."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            assert null == number
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape")


def _nowhere() -> TextIO:
    return open(os.devnull, "w")


def standard_input() -> TextIO:
    """Standard input.

    Raises:
        ConfigError: it is closed: nothing is not what was to be read.
    """
    if sys.stdin is None:
        raise ConfigError("standard input is closed", hint="connect it, or name a file")
    return sys.stdin
