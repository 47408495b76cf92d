"""What op-logs tell: counts, rates, latencies, what holds a run back, and whether another one was faster."""

from s3dlio.oplog.analysis.comparison import Comparison, Difference, compare_op_logs
from s3dlio.oplog.analysis.findings import Finding
from s3dlio.oplog.analysis.perfetto import write_op_log_trace
from s3dlio.oplog.analysis.report import Report
from s3dlio.oplog.analysis.run import analyze_op_logs

#: The same by their short names, for who imports them from here.
analyze, compare, write_trace = analyze_op_logs, compare_op_logs, write_op_log_trace

__all__ = [
    "Comparison", "Difference", "Finding", "Report", "analyze", "analyze_op_logs", "compare", "compare_op_logs",
    "write_op_log_trace", "write_trace",
]  # fmt: skip
