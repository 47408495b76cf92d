"""The columns of op-logs: their names here, what other programs call them, and the units of what is in them.

A reader goes by the names in a log's first line (or by the keys of a JSON line): :func:`match` says which column of the
file is which of ours. Names are compared without regard to case, and a time or duration may have its unit in its name
(``start_us``, ``duration_ms``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from s3dlio.errors import CorruptDataError

Kind = Literal["number", "time", "duration", "text"]


class Column(NamedTuple):
    """One column.

    Attributes:
        name: what it is called here.
        kind: a whole number; a moment (nanoseconds since 1970 once it is read); a duration (nanoseconds); or text.
        aliases: what else it is called, in lower case and without a unit.
        meaning: what is in it.
    """

    name: str
    kind: Kind
    aliases: tuple[str, ...]
    meaning: str


#: Every column that is known, those of the Rust package's log first and in its order.
COLUMNS = (
    Column("idx", "number", ("index", "seq", "sequence", "id"), "from 0"),
    Column("thread", "number", ("thread_id", "tid", "worker", "worker_id"), "what ran the operation"),
    Column("op", "text", ("operation", "op_type", "optype", "verb", "method"), "GET, PUT, ..."),
    Column("client_id", "text", ("client", "clientid", "agent", "agent_id", "host"), "who asked"),
    Column("n_objects", "number", ("objects", "num_objects", "objs", "objperop"), "objects of the operation"),
    Column("bytes", "number", ("size", "n_bytes", "num_bytes", "length", "object_size"), "bytes of the body"),
    Column("endpoint", "text", ("server", "target", "endpoint_url"), "who was asked"),
    Column("file", "text", ("object", "key", "path", "uri", "url", "name", "object_key"), "the object's name"),
    Column("error", "text", ("err", "error_message", "error_text"), "empty after success"),
    Column("start", "time", ("t_start", "start_time", "started", "timestamp", "begin", "ts"), "when it began"),
    Column("first_byte", "time", ("t_first_byte", "firstbyte", "first_byte_time"), "when its body began to come"),
    Column("last_byte", "time", ("t_last_byte", "lastbyte", "last_byte_time"), "when the last of the body had gone"),
    Column("end", "time", ("t_end", "end_time", "ended", "finish"), "when it was over"),
    Column("duration_ns", "duration", ("duration", "latency", "elapsed", "took"), "end less start"),
    Column("cat", "number", ("categories", "category"), "warp's categories, bits"),
    Column("attempts", "number", ("tries", "n_attempts"), "requests that it took, those that were tried again too"),
    Column("status", "number", ("status_code", "http_status", "code"), "of the last answer"),
    Column("range", "text", ("byte_range",), "the bytes that were asked for, first-last"),
)  # fmt: skip
BY_NAME = {column.name: column for column in COLUMNS}

#: What programs write in the first line, by the name of the dialect.
DIALECTS: dict[str, tuple[str, ...]] = {
    "s3dlio": (
        "idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "error", "start", "first_byte",
        "end", "duration_ns",
    ),
    "warp": (
        "idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "error", "start", "first_byte",
        "last_byte", "end", "duration_ns", "cat",
    ),
    "warp-replay": (
        "idx", "thread", "op", "client_id", "n_objects", "bytes", "endpoint", "file", "error", "start", "first_byte",
        "end", "duration_ns", "cat",
    ),
}  # fmt: skip

#: Nanoseconds of the units that a name may end with.
UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "sec": 1_000_000_000, "secs": 1_000_000_000}

#: What other programs call operations -> what they are called here.
OPERATIONS = {
    "STAT": "HEAD", "READ": "GET", "WRITE": "PUT", "DEL": "DELETE", "REMOVE": "DELETE", "GETRANGE": "GET_RANGE",
    "RANGE_GET": "GET_RANGE", "MULTI_DELETE": "DELETE_BATCH", "PUTOBJECT": "PUT", "GETOBJECT": "GET",
}  # fmt: skip

_NAMES = {name: column for column in COLUMNS for name in (column.name, *column.aliases)}


class Match(NamedTuple):
    """Which column of a file is which of ours.

    Attributes:
        places: our name -> the place of the file's column, from 0.
        scales: our name -> the nanoseconds of its unit, of times and durations.
        unknown: the file's names that mean nothing here.
        names: all names as the file has them.
        dialect: whose these names are, one of ``DIALECTS``; empty if nobody's.
    """

    places: dict[str, int]
    scales: dict[str, int]
    unknown: tuple[str, ...]
    names: tuple[str, ...]
    dialect: str


def known(name: str) -> tuple[Column, int] | None:
    """The column that is meant by a name in a file, and the nanoseconds of its unit; None if none is."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in BY_NAME:
        return BY_NAME[plain], 1
    base, _, unit = plain.rpartition("_")
    if unit in UNITS and base:
        column = _NAMES.get(base) or BY_NAME.get(f"{base}_ns")
        if column is not None and column.kind in ("time", "duration"):
            return column, UNITS[unit]
    found = _NAMES.get(plain)
    return None if found is None else (found, 1)


def match(names: Sequence[str], *, path: str | None = None) -> Match:
    """Find our columns among the names of a file. The first of two that mean the same counts; a name that is ours
    ranks above all others.

    Raises:
        CorruptDataError: no column tells what was done, or none when it began: this is no op-log.
    """
    places: dict[str, int] = {}
    scales: dict[str, int] = {}
    unknown = []
    for is_ours in (True, False):
        for place, name in enumerate(names):
            if (name in BY_NAME) is not is_ours:
                continue
            found = known(name)
            if found is None or found[0].name in places:
                unknown.append(name)
                continue
            places[found[0].name] = place
            scales[found[0].name] = found[1]
    for needed in ("op", "start"):
        if needed not in places and not (needed == "start" and {"end", "duration_ns"} <= places.keys()):
            raise CorruptDataError(f"this is no op-log: its first line has no column {needed!r}", uri=path)
    dialect = next((dialect for dialect, those in DIALECTS.items() if tuple(names) == those), "")
    return Match(places, scales, tuple(unknown), tuple(names), dialect)


def operation(name: str) -> str:
    """What an operation of a log is called here: ``STAT``, ``stat`` and ``Head`` are ``HEAD``."""
    upper = name.strip().upper()
    return OPERATIONS.get(upper, upper)
