"""A read benchmark on worker processes, with what each of them did (``mp_get``)."""

from __future__ import annotations

import logging
from typing import Any

from s3dlio.engine.admission import check_width, several
from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.engine.process_batch import ProcessBatch
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.net import system
from s3dlio.transfer.generate import fill_in
from s3dlio.transfer.process_work import StatsWork, check_all

log = logging.getLogger("s3dlio.transfer")
MB = 10**6


class _Counts:
    """What one worker did."""

    def __init__(self) -> None:
        self.succeeded = self.failed = self.bytes = 0

    def as_dict(self, number: int, seconds: float) -> dict[str, Any]:
        return {
            "worker_id": number, "attempted": self.succeeded + self.failed, "succeeded": self.succeeded,
            "failed": self.failed, "bytes": self.bytes, "objects": self.succeeded,
            "throughput_mb_s": self.bytes / MB / seconds,
        }  # fmt: skip


def read_counted(session: Session, prefix: str, procs: int, jobs: int, num: int, template: str) -> dict[str, Any]:
    """Read ``num`` objects; see :func:`s3dlio.compat.legacy.mp_get`."""
    procs, jobs = max(1, several(procs)), check_width(jobs)
    if isinstance(num, bool) or not isinstance(num, int) or num < 0:
        raise ConfigError(f"num must be an integer >= 0, got {num!r}")
    if "{}" in prefix:
        template, prefix = prefix, ""
    elif prefix and not prefix.endswith("/"):
        prefix += "/"
    if num > 1 and "{}" not in template:
        raise ConfigError(f"the template {template!r} has no '{{}}': all objects would be one", uri=prefix or None)
    uris = [prefix + fill_in(template, index, num) for index in range(num)]
    check_all(session, uris, "GET")
    counts = [_Counts() for _ in range(procs)]

    def done(index: int, size: int, error: BaseException | None) -> None:
        count = counts[batch.number]
        if error is None:
            count.succeeded += 1
            count.bytes += size
        else:
            if not any(other.failed for other in counts):
                log.warning("%s (the first failure; the others are counted)", error)
            count.failed += 1

    cancel = surrounding_token() or CancelToken()
    batch = ProcessBatch(session, StatsWork(), uris, procs, procs * jobs, done, cancel)
    began = system.monotonic()
    if uris:
        batch.run()
    seconds = max(1e-9, system.monotonic() - began)
    cancel.check()
    workers = [count.as_dict(number, seconds) for number, count in enumerate(counts)]
    total = {name: sum(worker[name] for worker in workers) for name in ("attempted", "succeeded", "failed", "bytes")}
    size = total.pop("bytes")
    return total | {
        "total_bytes": size, "bytes_source": "Observed", "duration_seconds": seconds,
        "throughput_mb_s": size / MB / seconds, "ops_per_sec": total["succeeded"] / seconds,
        "total_objects": total["succeeded"], "workers": workers,
    }  # fmt: skip
