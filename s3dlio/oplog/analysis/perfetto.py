"""Operations as trace events: what ui.perfetto.dev and chrome://tracing show, a track for each that ran at one time."""

from __future__ import annotations

import gzip
import json
import os
import sys
from bisect import bisect_right, insort
from typing import IO, Any

from s3dlio.foreign_errors import from_exception
from s3dlio.oplog.analysis.counting import Offsets, Paths, opened
from s3dlio.oplog.batch import Batch
from s3dlio.oplog.columns import operation
from s3dlio.oplog.fields import MISSING

_US = 1000


class _Tracks:
    """The tracks of one client. Events of a track never overlap, so each operation goes to one that is free: the one
    that became so last, which makes the fewest tracks of rows in the order of their ends, too."""

    def __init__(self, process: int) -> None:
        self.process = process
        self._free: list[tuple[int, int]] = []  # when each is free again, and its number

    def __len__(self) -> int:
        return len(self._free)

    def place(self, start: int, end: int) -> int:
        """The track of an operation."""
        found = bisect_right(self._free, (start, sys.maxsize))
        track = self._free.pop(found - 1)[1] if found else len(self._free) + 1
        insort(self._free, (end, track))
        return track


class _Writer:
    """Writes events as they come.

    Args:
        out: the open file.
        begin: what times count from (nanoseconds since 1970).
    """

    def __init__(self, out: IO[str], begin: int) -> None:
        self.events = 0
        self._out = out
        self._begin = begin
        self._clients: dict[str, _Tracks] = {}
        out.write('{"displayTimeUnit":"ms","traceEvents":[\n')

    def add(self, batch: Batch) -> None:
        """Write the operations of a batch."""
        texts = {name: list(batch.texts[name]) if name in batch.texts else [""] * len(batch)
                 for name in ("op", "client_id", "endpoint", "file", "error")}  # fmt: skip
        numbers = {name: batch.number(name).tolist() for name in ("start", "end", "first_byte", "bytes", "thread")}
        for row in range(len(batch)):
            self._operation(
                {name: values[row] for name, values in texts.items()},
                {name: values[row] for name, values in numbers.items()},
            )

    def _operation(self, texts: dict[str, str], numbers: dict[str, int]) -> None:
        start, end = numbers["start"], max(numbers["start"], numbers["end"])
        client = self._clients.get(texts["client_id"])
        if client is None:
            client = self._clients[texts["client_id"]] = _Tracks(len(self._clients) + 1)
            self._event({"ph": "M", "name": "process_name", "pid": client.process,
                         "args": {"name": texts["client_id"] or "client"}})  # fmt: skip
        before = len(client)
        track = client.place(start, end)
        if len(client) > before:
            self._event({"ph": "M", "name": "thread_name", "pid": client.process, "tid": track,
                         "args": {"name": f"in flight {track}"}})  # fmt: skip
        args: dict[str, Any] = {"file": texts["file"], "bytes": max(numbers["bytes"], 0), "endpoint": texts["endpoint"]}
        if numbers["thread"] != MISSING:
            args["thread"] = numbers["thread"]
        if numbers["first_byte"] != MISSING:
            args["first_byte_us"] = (numbers["first_byte"] - start) / _US
        name = operation(texts["op"])
        event = {"ph": "X", "name": name, "cat": "failed" if texts["error"] else "storage", "pid": client.process,
                 "tid": track, "ts": (start - self._begin) / _US, "dur": (end - start) / _US, "args": args}  # fmt: skip
        if texts["error"]:
            args["error"] = texts["error"]
            event["cname"] = "terrible"
        self._event(event)

    def _event(self, event: dict[str, Any]) -> None:
        self._out.write((",\n" if self.events else "") + json.dumps(event, separators=(",", ":")))
        self.events += 1

    def close(self) -> None:
        """Write the end."""
        self._out.write("\n]}\n")


def write_op_log_trace(path: str | os.PathLike[str], logs: Paths, *, clock_offsets: Offsets = None) -> int:
    """Write the operations of op-logs as trace events, for ui.perfetto.dev: each client is a process there, and each
    operation in flight has a track. About 5 us and 200 bytes an operation.

    Args:
        path: the file; a name that ends in ``.gz`` is compressed.
        logs, clock_offsets: as of ``analyze_op_logs``.

    Returns:
        How many events were written.

    Raises:
        S3dlioError: a log cannot be read, or the file not be written.
    """
    target = os.fspath(path)
    with opened(logs, clock_offsets) as readers:
        begin = min((reader.begin for reader in readers if reader.begin is not None), default=0)
        try:
            out: IO[str]
            with gzip.open(target, "wt", 6) if target.endswith(".gz") else open(target, "w") as out:
                writer = _Writer(out, begin)
                for reader in readers:
                    for batch in reader.batches():
                        writer.add(batch)
                writer.close()
        except OSError as error:
            raise from_exception(error, uri=target, operation="ANALYZE") from error
    return writer.events
