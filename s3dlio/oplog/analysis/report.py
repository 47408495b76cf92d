"""The report on some logs: its figures, and the forms that it is shown in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s3dlio.oplog.analysis import summary
from s3dlio.oplog.analysis.collector import Collector
from s3dlio.oplog.analysis.findings import Finding, findings
from s3dlio.oplog.analysis.merging import Log, merge_findings, overlap
from s3dlio.oplog.reader import Note

#: The form of ``to_dict``: a name that is here stays.
SCHEMA = "s3dlio-analyze/1"


class Report:
    """What some logs tell. ``analyze_op_logs`` makes it.

    Attributes:
        findings: sentences about what holds the run back, warnings first.
        notes: what is odd about the logs.
    """

    def __init__(self, data: Collector, logs: Sequence[Log], skip_warmup: float) -> None:
        self.data = data
        self._logs = logs
        self._skip_warmup = skip_warmup
        self._overlap = overlap(logs, data)
        self.findings: list[Finding] = [*merge_findings(logs, self._overlap), *findings(data)]
        self.notes: list[Note] = [note for log in logs for note in log.notes]
        self._figures: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures, as JSON takes them; docs/analyze.md tells what is in them."""
        if self._figures is None:
            self._figures = self._made()
        return self._figures

    def _made(self) -> dict[str, Any]:
        data = self.data
        begin, end = int(data.span[:, 0].min()), int(data.span[:, 1].max())
        seconds = max((end - begin) / 1e9, 1e-9)
        cells = data.cells
        return {
            "schema": SCHEMA,
            "logs": [log.to_dict() for log in self._logs],
            "records": data.rows,
            "begin_ns": begin,
            "end_ns": end,
            "seconds": seconds,
            "skip_warmup_s": self._skip_warmup,
            "count": int(cells["count"].sum()),
            "failed": int(cells["failed"].sum()),
            "throttled": int(cells["throttled"].sum()),
            "bytes": int(cells["bytes"].sum()),
            "ops_per_s": float(cells["count"].sum()) / seconds,
            "bytes_per_s": float(cells["bytes"].sum()) / seconds,
            "in_flight": float(data.timeline.busy.sum()) / 1e9 / seconds,
            "threads": data.threads,
            "operations": summary.operations(data),
            "clients": summary.peers(data.clients),
            "endpoints": summary.peers(data.endpoints),
            "errors": [
                {"error": kind, "count": seen, "example": example}
                for kind, (seen, example) in sorted(data.failures.kinds.items(), key=lambda one: -one[1][0])
            ],
            "overlap": self._overlap,
            "findings": [{"kind": one.kind, "severity": one.severity, "text": one.text, "facts": one.facts}
                         for one in self.findings],
            "notes": [note._asdict() for note in self.notes],
            "timeline": summary.timeline(data),
        }  # fmt: skip
