"""A process that ends between two steps: writes and deletes of memory stores are made no more after so many of them."""

from __future__ import annotations

from typing import Any

import pytest

from s3dlio.stores.memory import MemoryStore


class Stopped(BaseException):
    """The process ended."""


class Stop:
    """Lets memory stores write and delete just so often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left: int | None = None
        for name in ("_write", "_delete", "_writer", "_delete_many"):
            monkeypatch.setattr(MemoryStore, name, self._counted(getattr(MemoryStore, name)))

    def after(self, number: int | None) -> None:
        """From now on ``number`` writes and deletes are made; None: all."""
        self._left = number

    def _counted(self, hook: Any) -> Any:
        def counted(*args: Any) -> Any:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise Stopped
            return hook(*args)

        return counted
