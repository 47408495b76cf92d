"""Packages that only some formats need."""

from __future__ import annotations

import importlib
from typing import Any

from s3dlio.errors import MissingDependencyError


def require(module: str, extra: str, purpose: str) -> Any:
    """Import `module`, for `purpose`.

    Raises:
        MissingDependencyError: its package is not installed; the message has the line that installs `extra`.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(module.partition(".")[0], extra, purpose) from error
