"""The figures of a report: from what a collector has added up to plain dictionaries, as JSON takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from s3dlio.oplog.analysis.collector import SIZE_NAMES, SIZES, Collector
from s3dlio.oplog.analysis.counts import middles, percentiles
from s3dlio.oplog.analysis.peers import Peers
from s3dlio.oplog.analysis.timeline import BLOCKS, PER_BLOCK, WINDOWS

PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9)
_NAMES = ("p50", "p90", "p95", "p99", "p99_9")
_MS = 1e6
_SECOND = 1e9
#: Points of a timeline, about.
_POINTS = 256
#: Less than so many bytes are what adding and taking away large numbers has left.
_TRACE = 1e-3


def spread(
    counts: npt.NDArray[Any], total: float, low: float | None = None, high: float | None = None
) -> dict[str, float] | None:
    """Mean, extremes (those of their buckets, unless they are given) and percentiles of latencies (milliseconds); None
    where there are none."""
    count = int(counts.sum())
    if not count:
        return None
    used = np.flatnonzero(counts)
    low = float(middles()[used[0]]) if low is None else low
    high = float(middles()[used[-1]]) if high is None else high
    found = percentiles(counts, PERCENTS, low, high)
    return {
        "mean": total / count / _MS,
        "min": low / _MS,
        **{name: value / _MS for name, value in zip(_NAMES, found, strict=True)},
        "max": high / _MS,
    }


def operations(data: Collector) -> list[dict[str, Any]]:
    """Each operation, the one with most rows first."""
    found = [_operation(data, code) for code in range(len(data.operations))]
    return sorted((one for one in found if one["count"] or one["failed"]), key=lambda one: (-one["count"], one["op"]))


def _operation(data: Collector, code: int) -> dict[str, Any]:
    cells = [
        cell for cell in range(code * SIZES, (code + 1) * SIZES) if data.order[cell] >= 0 or data.cells["failed"][cell]
    ]
    seconds = max(float(data.span[code, 1] - data.span[code, 0]) / _SECOND, 1e-9)
    made: dict[str, Any] = {"op": data.operations.names[code], **_figures(data, cells, seconds)}
    made["in_flight"] = float(data.timeline.busy[code].sum()) / _SECOND / seconds
    made["sizes"] = [
        {"size": SIZE_NAMES[cell % SIZES], **_figures(data, [cell], seconds)}
        for cell in cells
        if data.cells["count"][cell]
    ]
    return made


def _figures(data: Collector, cells: list[int], seconds: float) -> dict[str, Any]:
    """Counts, rates and latencies of some cells together."""
    sums = {name: float(values[cells].sum()) for name, values in data.cells.items()}
    places = [int(data.order[cell]) for cell in cells if data.order[cell] >= 0]
    latencies = data.latencies.counts[places].sum(axis=(0, 1), dtype=np.int64)
    waits = data.first_bytes.counts[places].sum(axis=0, dtype=np.int64)
    low = float(data.lowest[cells].min(initial=np.inf))
    high = float(data.highest[cells].max(initial=0))
    made: dict[str, Any] = {
        "count": int(sums["count"]),
        "failed": int(sums["failed"]),
        "throttled": int(sums["throttled"]),
        "objects": int(sums["objects"]),
        "bytes": int(sums["bytes"]),
        "seconds": seconds,
        "ops_per_s": sums["count"] / seconds,
        "bytes_per_s": sums["bytes"] / seconds,
        "latency_ms": spread(latencies, sums["latency"], low if np.isfinite(low) else 0, high),
        "first_byte_ms": spread(waits, float(data.first_byte_sum[cells].sum())),
    }
    if data.has_attempts:
        made["attempts"] = int(sums["attempts"])
    return made


def peers(data: Peers) -> list[dict[str, Any]]:
    """Each client or endpoint, by name."""
    made = []
    for code, name in enumerate(data.codes.names):
        if code >= data.count.shape[0]:
            continue
        seconds = max(float(data.span[code, 1] - data.span[code, 0]) / _SECOND, 1e-9)
        count, size = float(data.count[code].sum()), float(data.bytes[code].sum())
        found = percentiles(data.latencies.counts[code], PERCENTS)
        made.append({
            "name": name, "count": int(count), "failed": int(data.failed[code].sum()), "bytes": int(size),
            "seconds": seconds, "ops_per_s": count / seconds, "bytes_per_s": size / seconds,
            "latency_ms": {key: value / _MS for key, value in zip(_NAMES, found, strict=True)} if count else None,
        })  # fmt: skip
    return sorted(made, key=lambda one: str(one["name"]))


def timeline(data: Collector) -> dict[str, Any]:
    """What happened when: rates and operations in flight by window, latencies by block of windows."""
    busy = data.timeline.busy.sum(axis=0) + data.timeline.ended.sum(axis=0) + data.timeline.failed.sum(axis=0)
    used = np.flatnonzero(busy)
    if not used.size:
        return {"begin_ns": 0, "window_s": 0.0, "windows": 0, "block_s": 0.0, "blocks": 0, "operations": {}}
    step = 1
    while (used[-1] // step - used[0] // step) >= _POINTS:
        step *= 2
    first, last = int(used[0]) // step, int(used[-1]) // step
    first_block, last_block = int(used[0]) // PER_BLOCK, int(used[-1]) // PER_BLOCK
    seconds = step * data.clock.width / _SECOND
    made: dict[str, Any] = {
        "begin_ns": data.clock.begin(first * step),
        "window_s": seconds,
        "windows": last - first + 1,
        "block_begin_ns": data.clock.begin(first_block * PER_BLOCK),
        "block_s": PER_BLOCK * data.clock.width / _SECOND,
        "blocks": last_block - first_block + 1,
        "operations": {},
    }
    for code, name in enumerate(data.operations.names):
        sums = {
            key: getattr(data.timeline, key)[code].reshape(WINDOWS // step, step).sum(axis=1)[first : last + 1]
            for key in data.timeline.NAMES
        }
        blocks = block_counts(data, code)[first_block : last_block + 1]
        found = [percentiles(block, (50.0, 99.0)) if block.any() else None for block in blocks]
        made["operations"][name] = {
            "ops_per_s": (sums["ended"] / seconds).tolist(),
            "bytes_per_s": (np.where(sums["bytes"] < _TRACE, 0, sums["bytes"]) / seconds).tolist(),
            "in_flight": (sums["busy"] / _SECOND / seconds).tolist(),
            "failed_per_s": (sums["failed"] / seconds).tolist(),
            "throttled_per_s": (sums["throttled"] / seconds).tolist(),
            "p50_ms": [None if one is None else one[0] / _MS for one in found],
            "p99_ms": [None if one is None else one[1] / _MS for one in found],
        }
    return made


def block_counts(data: Collector, code: int, size: int | None = None) -> npt.NDArray[np.int64]:
    """The latencies of an operation (of one size): a histogram for each block of the timeline."""
    sizes = range(SIZES) if size is None else [size]
    places = [int(data.order[code * SIZES + one]) for one in sizes if data.order[code * SIZES + one] >= 0]
    if not places:
        return np.zeros((BLOCKS, data.latencies.counts.shape[-1]), np.int64)
    found: npt.NDArray[np.int64] = data.latencies.counts[places].sum(axis=0, dtype=np.int64)
    return found
