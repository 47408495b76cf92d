"""One library that saves and loads checkpoints of one rank; jobs come as lines of JSON. Runs in any environment."""

from __future__ import annotations

import json
import os
import resource
import sys
import time

import s3dlio


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))


def main() -> None:
    data = bytearray()
    for line in sys.stdin:
        job = json.loads(line)
        if len(data) != job["size"]:
            data = bytearray(os.urandom(1 << 20)) * (job["size"] >> 20)
        store = s3dlio.PyCheckpointStore(job["uri"])
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before, begun, cpu = status("VmRSS"), time.perf_counter(), cpu_seconds()
        if job["do"] == "save":
            store.save(1, 0, "torch", data)
        else:
            loaded = store.load_latest()
        seconds, cpu = time.perf_counter() - begun, cpu_seconds() - cpu
        if job["do"] == "load":
            assert memoryview(loaded) == memoryview(data), "other bytes than were saved"
            del loaded
        added = status("VmHWM") - before
        print(json.dumps({"seconds": seconds, "cpu": cpu, "added": added}), flush=True)


if __name__ == "__main__":
    main()
