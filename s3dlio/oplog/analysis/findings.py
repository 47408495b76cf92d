"""Sentences about what holds a run back. Each is said only where the figures show it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from s3dlio.figures import count, duration, percent, rate, size
from s3dlio.oplog.analysis.collector import SIZE_NAMES, SIZES, Collector
from s3dlio.oplog.analysis.counts import middles, percentiles
from s3dlio.oplog.analysis.peers import Peers
from s3dlio.oplog.analysis.timeline import WINDOWS

_SECOND = 1e9
#: Rows of a kind from which on something is said of it.
_ENOUGH = 50
#: How much slower than its peers, like for like, an endpoint or host is told to be; and with which certainty.
_SLOW, _SIGMAS = 1.3, 4.0


class Finding(NamedTuple):
    """A sentence about a run.

    Attributes:
        kind: what it is about: ``store-bound``, ``client-bound``, ``one-at-a-time``, ``slow-endpoint``,
            ``slow-client``, ``throttling``, ``stragglers``, ``tail``, ``repeated-reads``, ``errors``,
            ``duplicate-records``, ``no-overlap``.
        severity: ``info``, ``notice`` or ``warning``.
        text: the sentence.
        facts: the figures in it.
    """

    kind: str
    severity: str
    text: str
    facts: dict[str, Any]


def findings(data: Collector) -> list[Finding]:
    """All that is to be said of a run, warnings first."""
    found = [*_bound(data), *_throttling(data), *_errors(data)]
    found += _slow(data.endpoints, "endpoint")
    found += _slow(data.clients, "client")
    found += [*_stragglers(data), *_tail(data), *_repeats(data)]
    return sorted(found, key=lambda one: ("warning", "notice", "info").index(one.severity))


def _bound(data: Collector) -> Iterator[Finding]:
    """Little's law: the operations in flight are the rate times the latency. Workers that are never idle wait for the
    store; those that are idle most of the time wait for the program around them."""
    begin, end = int(data.span[:, 0].min()), int(data.span[:, 1].max())
    seconds = (end - begin) / _SECOND
    busy = data.timeline.busy.sum(axis=0)
    done = float(data.timeline.ended.sum() + data.timeline.failed.sum())
    if seconds <= 0 or done < _ENOUGH:
        return
    mean = float(busy.sum()) / _SECOND / seconds
    windows = busy / data.clock.width
    used = np.flatnonzero(windows > 0)
    peak = float(np.percentile(windows[used], 95)) if used.size else mean
    workers = max(float(data.threads), peak, 1.0)
    share, latency = mean / workers, mean * seconds / done
    facts = {
        "in_flight": mean, "workers": workers, "busy_share": share, "ops_per_s": done / seconds,
        "latency_ms": latency * 1e3,
    }  # fmt: skip
    law = f"{mean:.3g} in flight / {duration(latency)} each = {rate(done / seconds)}"
    wait = _wait_share(data)
    if workers < 1.5 and share >= 0.7:
        yield Finding(
            "one-at-a-time", "notice",
            f"One operation at a time: {percent(share)} of the run is spent waiting for the store ({law}). "
            "More in flight would multiply the rate.", facts,
        )  # fmt: skip
    elif share >= 0.8:
        why = ""
        if wait is not None:
            facts["first_byte_share"] = wait
            why = f" {percent(wait)} of a read's time passes before its first byte" + (
                ": the store's answer, not the transfer, takes the time." if wait >= 0.6
                else ": the transfer takes the time." if wait <= 0.4 else "."
            )  # fmt: skip
        yield Finding(
            "store-bound", "notice",
            f"Store-bound: of {workers:.3g} workers {mean:.3g} ({percent(share)}) have an operation in flight at any "
            f"time; by Little's law {law}. A lower latency, or more in flight, raises the rate.{why}", facts,
        )  # fmt: skip
    elif share <= 0.5:
        idle = (1 - share) * workers * seconds / done
        facts["idle_ms"] = idle * 1e3
        yield Finding(
            "client-bound", "warning",
            f"Client-bound: of {workers:.3g} workers only {mean:.3g} ({percent(share)}) have an operation in flight at "
            f"any time; by Little's law {law}. Between two operations a worker takes {duration(idle)} for other "
            "things: a faster store would hardly help.", facts,
        )  # fmt: skip


def _wait_share(data: Collector) -> float | None:
    """What part of the time of reads passes before their first byte; None where that is not known."""
    known = np.zeros(data.order.size, np.bool_)
    for cell, place in enumerate(data.order.tolist()):
        if place >= 0 and data.first_bytes.counts[place].sum() * 2 > data.cells["count"][cell] and cell % SIZES:
            known[cell] = data.operations.names[cell // SIZES] in ("GET", "GET_RANGE")
    total = float(data.cells["latency"][known].sum())
    return float(data.first_byte_sum[known].sum()) / total if total else None


def _throttling(data: Collector) -> Iterator[Finding]:
    throttled = data.timeline.throttled.sum(axis=0)
    total = float(throttled.sum())
    done = data.timeline.ended.sum(axis=0) + data.timeline.failed.sum(axis=0)
    if not total or total / float(done.sum()) < 1e-4:
        return
    first = int(np.flatnonzero(np.cumsum(throttled) >= max(1.0, total * 0.01))[0])
    begin = int(data.span[:, 0].min())
    after = max(0.0, (data.clock.begin(first) - begin) / _SECOND)
    width = data.clock.width / _SECOND
    before = slice(max(0, first - max(1, WINDOWS // 64)), first + 1)
    pace = float(done[before].sum()) / (width * (before.stop - before.start))
    flying = float(data.timeline.busy.sum(axis=0)[before].mean()) / data.clock.width
    share = float(throttled[first:].sum()) / max(1.0, float(done[first:].sum()))
    where = f"{duration(after)} into the run" if after > width else "at once"
    yield Finding(
        "throttling", "warning",
        f"The store throttles: it begins {where}, at {rate(pace)} with {flying:.3g} in flight; from then on it refuses "
        f"{percent(share)} of the operations ({count(int(total))} in all). Fewer in flight would lose less to retries.",
        {"after_s": after, "ops_per_s": pace, "in_flight": flying, "share": share, "throttled": int(total)},
    )  # fmt: skip


def _errors(data: Collector) -> Iterator[Finding]:
    failed = float(data.cells["failed"].sum() - data.cells["throttled"].sum())
    done = float(data.cells["count"].sum()) + failed
    if not failed:
        return
    kinds = sorted(((seen, kind) for kind, (seen, _) in data.failures.kinds.items()), reverse=True)
    yield Finding(
        "errors", "warning" if failed / done >= 1e-3 else "notice",
        f"{count(int(failed))} operations ({percent(failed / done)}) fail, not counting throttled ones; most often: "
        f"{kinds[0][1]!r}.", {"failed": int(failed), "share": failed / done},
    )  # fmt: skip


def _slow(peers: Peers, what: str) -> Iterator[Finding]:
    """Those whose operations take longer than the same operations on the same sizes take elsewhere: the ratio of
    geometric means, which a few stragglers do not move, where it is certain."""
    names = peers.codes.names
    if peers.count.shape[0] < 2:
        return
    all_count, all_logs = peers.count.sum(axis=0), peers.logs.sum(axis=0)
    for code in range(peers.count.shape[0]):
        mine = peers.count[code]
        rest = all_count - mine
        cells = (mine >= _ENOUGH // 5) & (rest >= _ENOUGH // 5)
        number = float(mine[cells].sum())
        if number < _ENOUGH:
            continue
        mean, others = peers.logs[code][cells] / mine[cells], (all_logs - peers.logs[code])[cells] / rest[cells]
        weights = mine[cells] / number
        variance = np.maximum(peers.squares[code][cells] / mine[cells] - mean**2, 0)
        error = math.sqrt(float((weights**2 * variance * (1 / mine[cells] + 1 / rest[cells])).sum()))
        change = float((weights * (mean - others)).sum())
        if math.exp(change - _SIGMAS * error) < _SLOW:
            continue
        ratio = math.exp(change)
        share = number / float(all_count[cells].sum())
        yield Finding(
            f"slow-{what}", "warning",
            f"{what.capitalize()} {names[code] or '(unnamed)'} is slow: its operations take {ratio:.2g} times as "
            f"long as the same operations, of the same sizes, of the other {what}s; it has {percent(share)} of them.",
            {"name": names[code], "ratio": ratio, "share": share},
        )  # fmt: skip


def _stragglers(data: Collector) -> Iterator[Finding]:
    """Operations that take more than ten times the median of their kind, where they hold up the rest."""
    late = {kind: found for kind in range(data.order.size) if (found := _late(data, kind)) is not None}
    if not late:
        return
    number, total = (sum(one[key] for one in late.values()) for key in ("late", "count"))
    spent, time = (sum(one[key] for one in late.values()) for key in ("late_ms", "all_ms"))
    cell, worst = max(late.items(), key=lambda one: one[1]["late_ms"])
    kind = f"{data.operations.names[cell // SIZES]} of {SIZE_NAMES[cell % SIZES]}"
    some = 1 - (1 - number / total) ** 64
    more = f" Of {len(late)} kinds, {kind} are the worst:" if len(late) > 1 else f" Of {kind}"
    yield Finding(
        "stragglers", "warning",
        f"Stragglers: {percent(number / total)} of the operations take more than ten times the median of their kind, "
        f"and {percent(spent / time)} of all the time of these; {percent(some)} of batches of 64 wait for one.{more} "
        f"their median is {duration(worst['median_ms'] / 1e3)}, the slowest takes "
        f"{duration(float(data.highest[cell]) / 1e9)}.",
        {"op": data.operations.names[cell // SIZES], "size": SIZE_NAMES[cell % SIZES], "share": number / total,
         "time_share": spent / time, "median_ms": worst["median_ms"]},
    )  # fmt: skip


def _late(data: Collector, cell: int) -> dict[str, float] | None:
    """The stragglers of one operation and size; None where they are few, or where most are slow."""
    place = int(data.order[cell])
    if place < 0 or data.cells["count"][cell] < 4 * _ENOUGH:
        return None
    counts = data.latencies.counts[place].sum(axis=0, dtype=np.int64)
    (median,) = percentiles(counts, (50.0,))
    is_late = middles() > 10 * median
    number, total = int(counts[is_late].sum()), int(counts.sum())
    spent, time = float((counts * middles())[is_late].sum()), float((counts * middles()).sum())
    if not 2e-4 <= number / total <= 0.2 or spent / time < 0.1:
        return None
    return {"late": number, "count": total, "late_ms": spent / 1e6, "all_ms": time / 1e6, "median_ms": median / 1e6}


def _tail(data: Collector) -> Iterator[Finding]:
    """The end of a run in which a few operations are waited for."""
    flying = data.timeline.busy.sum(axis=0) / data.clock.width
    used = np.flatnonzero(flying)
    if used.size < 64:
        return
    typical = float(np.median(flying[used]))
    busy = np.flatnonzero(flying >= typical / 4)
    idle = int(used[-1] - busy[-1])
    share = idle / (used[-1] - used[0] + 1)
    if typical < 4 or share < 0.05:
        return
    after = flying[busy[-1] + 1 : used[-1] + 1]
    seconds = idle * data.clock.width / _SECOND
    yield Finding(
        "tail", "warning",
        f"The last {duration(seconds)} ({percent(share)}) of the run wait for a few operations: "
        f"{float(after.mean()):.2g} are in flight there, {typical:.3g} before.", {"seconds": seconds, "share": share},
    )  # fmt: skip


def _repeats(data: Collector) -> Iterator[Finding]:
    reads = data.reads
    reads.merge()
    total = int(reads.counts.sum())
    again = total - reads.counts.size
    if total < _ENOUGH or again / total < 0.01:
        return
    twice = reads.counts > 1
    once = reads.amounts[twice] / reads.counts[twice]
    wasted = float((reads.amounts[twice] - once).sum()) / reads.share
    part = "" if reads.share == 1 else f" (by a sample of {percent(reads.share)} of the names)"
    yield Finding(
        "repeated-reads", "notice",
        f"Objects are read again: {percent(again / total)} of the reads are of an object that was read before, "
        f"{size(wasted)} in all; {count(int(twice.sum() / reads.share))} objects are read more than once, one "
        f"{count(int(reads.counts.max()))} times{part}. A cache would save these.",
        {"share": again / total, "bytes": wasted, "objects": int(twice.sum() / reads.share),
         "most": int(reads.counts.max()), "sample": reads.share},
    )  # fmt: skip
