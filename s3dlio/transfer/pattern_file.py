"""Globs that are kept in files, one a line."""

from __future__ import annotations

import os
from collections.abc import Iterable

from s3dlio.errors import ConfigError
from s3dlio.foreign_errors import from_os_error

#: One file, or several.
PatternFiles = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

#: More is no list of globs.
_LARGEST = 16 << 20


def read_patterns(files: PatternFiles) -> list[str]:
    """The globs in ``files``: a line each, without blanks around it. Empty lines, and those that begin with ``#`` or
    ``;``, are comments.

    Raises:
        S3dlioError: a file cannot be read.
        ConfigError: it has no globs, or is no text.
    """
    found: list[str] = []
    for file in (files,) if isinstance(files, str | os.PathLike) else files:
        lines = [line.strip() for line in _text(file).splitlines()]
        globs = [line for line in lines if line and line[0] not in "#;"]
        if not globs:
            raise ConfigError(f"there are no globs in the file {os.fspath(file)!r}", hint="write one a line")
        found += globs
    return found


def _text(file: str | os.PathLike[str]) -> str:
    path = os.fspath(file)
    try:
        with open(path, "rb") as opened:
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        raise from_os_error(error, uri=f"file://{path}", operation="READ") from error
    if len(data) > _LARGEST or b"\0" in data:
        raise ConfigError(f"the file {path!r} is no list of globs", hint="write one a line")
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
