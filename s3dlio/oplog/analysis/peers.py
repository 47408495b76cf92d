"""What each client and each endpoint did, in a form that lets them be compared: like with like."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from s3dlio.oplog.analysis.codes import Codes
from s3dlio.oplog.analysis.counts import Histograms
from s3dlio.oplog.fields import Ints

#: Clients, or endpoints, that are told apart.
LIMIT = 512


class Peers:
    """Clients, or endpoints.

    Attributes:
        codes: their names.
        count, failed, bytes: of each, by cell (operation and size bucket).
        logs, squares: of each, by cell: logarithms of latencies, and their squares, added up.
        latencies: a histogram of each.
        span: of each: when its first operation began and its last one ended.
    """

    def __init__(self, cells: int) -> None:
        self.codes = Codes(LIMIT)
        self.latencies = Histograms()
        self._cells = cells
        self.count = self._zeros(0)
        self.failed = self._zeros(0)
        self.bytes = self._zeros(0)
        self.logs = self._zeros(0)
        self.squares = self._zeros(0)
        self.span = np.zeros((0, 2), np.int64)

    def _zeros(self, count: int) -> npt.NDArray[np.float64]:
        return np.zeros((count, self._cells))

    def _reserve(self) -> None:
        have, count = self.count.shape[0], len(self.codes)
        self.latencies.reserve(count)
        if count <= have:
            return
        for name in ("count", "failed", "bytes", "logs", "squares"):
            grown = self._zeros(count)
            grown[:have] = getattr(self, name)
            setattr(self, name, grown)
        limits = np.iinfo(np.int64)
        span = np.tile(np.array([limits.max, limits.min]), (count, 1))
        span[:have] = self.span
        self.span = span

    def add(self, who: Ints, row: Row) -> None:
        """Count a batch.

        Args:
            who: the number of each row's client or endpoint.
            row: what the rows have.
        """
        self._reserve()
        size = self.count.size
        places = who * self._cells + row.cells
        good = row.good
        if row.failed is not None:
            self.failed += np.bincount(places[row.failed], minlength=size).reshape(self.count.shape)
        if good is not None:
            places, who = places[good], who[good]
        self._sum("count", places, None)
        self._sum("bytes", places, row.sizes if good is None else row.sizes[good])
        self._sum("logs", places, row.logs)
        self._sum("squares", places, row.logs * row.logs)
        self.latencies.add(who, row.buckets)

    def _sum(self, name: str, places: Ints, amounts: npt.NDArray[Any] | None) -> None:
        there = getattr(self, name)
        there += np.bincount(places, amounts, there.size).reshape(there.shape)

    def extend(self, who: Ints, starts: Ints, ends: Ints) -> None:
        """Note when they were at work."""
        np.minimum.at(self.span[:, 0], who, starts)
        np.maximum.at(self.span[:, 1], who, ends)


    def take(self, other: Peers, cells: Ints) -> None:
        """Add what others have, whose cells have other numbers: ``cells`` has those here."""
        who = self.codes.merged(other.codes)
        self._reserve()
        for name in ("count", "failed", "bytes", "logs", "squares"):
            np.add.at(getattr(self, name), (who[:, None], cells[None, :]), getattr(other, name)[: who.size])
        for one, place in enumerate(who.tolist()):
            self.latencies.counts[place] += other.latencies.counts[one]
        np.minimum.at(self.span[:, 0], who, other.span[: who.size, 0])
        np.maximum.at(self.span[:, 1], who, other.span[: who.size, 1])


class Row:
    """What the rows of a batch have, as the parts of an analysis take it.

    Attributes:
        cells: operation and size bucket of each row, as one number.
        sizes: bytes of each row.
        failed: which rows ended with an error; None: none.
        good: which have a latency that counts; None: all.
        logs, buckets: the logarithm and the bucket of the latencies of the good ones.
    """

    __slots__ = ("buckets", "cells", "failed", "good", "logs", "sizes")

    def __init__(self, cells: Ints, sizes: Ints, failed: Any, good: Any, logs: Any, buckets: Ints) -> None:
        self.cells = cells
        self.sizes = sizes
        self.failed = failed
        self.good = good
        self.logs = logs
        self.buckets = buckets
