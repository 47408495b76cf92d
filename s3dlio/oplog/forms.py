"""The forms of an op-log: what its lines are made of. One line is one operation, whatever its names have in them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from s3dlio.config.endpoints import name_of
from s3dlio.masking import redact
from s3dlio.oplog.columns import DIALECTS
from s3dlio.oplog.records import FIELDS, Details, Record, each
from s3dlio.oplog.rows import escaped
from s3dlio.rfc3339 import rfc3339
from s3dlio.stores.call import BaseStore

_SECOND = 1_000_000_000
#: Of fewer rows columns are not worth it, nor is the import of what makes them.
_FEW = 48


class Form(ABC):
    """Makes the lines of one log. For one thread."""

    #: The first line, with its end; empty where there is none.
    header = ""
    #: It tells of answers to requests: what an operation's observers learn by watching it.
    wants_answers = False

    def __init__(self) -> None:
        self._base = -_SECOND
        self._text = ""

    def lines(self, first: int, fields: list[Any]) -> bytes:
        """The lines of records, given field after field, numbered from ``first`` on."""
        return _encoded("".join([self.line(number, record) for number, record in enumerate(each(fields), first)]))

    @abstractmethod
    def line(self, number: int, record: Record) -> str:
        """The line of one operation, with its end."""

    def time(self, epoch_ns: int) -> str:
        """RFC 3339. The text of a second is made once: most times are in the one before."""
        nanos = epoch_ns - self._base
        if not 0 <= nanos < _SECOND:
            second, nanos = divmod(epoch_ns, _SECOND)
            self._base = second * _SECOND
            self._text = rfc3339(self._base)[:20]
        return f"{self._text}{nanos:09}Z"


class TsvForm(Form):
    """The 13 columns of the Rust package."""

    header = "\t".join(DIALECTS["s3dlio"]) + "\n"

    def lines(self, first: int, fields: list[Any]) -> bytes:
        if len(fields) >= _FEW * FIELDS:
            from s3dlio.oplog.columnar import plain_lines

            lines = plain_lines(first, fields)
            if lines is not None:
                return lines
        return super().lines(first, fields)

    def line(self, number: int, record: Record) -> str:
        thread, (client_id, offset), operation, objects, _, _, size, start, first, end, details = record
        place, name = place_of(uri_of(record))
        error = escaped(details.error) if details is not None and details.error else ""
        first_byte = self.time(first - offset) if first else ""
        return (
            f"{number}\t{thread}\t{operation}\t{escaped(client_id)}\t{objects}\t{size}\t{place}\t{name}\t{error}\t"
            f"{self.time(start - offset)}\t{first_byte}\t{self.time(end - offset)}\t{max(0, end - start)}\n"
        )


class WarpForm(Form):
    """The 15 columns of warp 1.6: the endpoint is the URL of a service, and the last byte has a time."""

    header = "\t".join(DIALECTS["warp"]) + "\n"

    def line(self, number: int, record: Record) -> str:
        thread, (client_id, offset), operation, objects, store, _, size, start, first, end, details = record
        place, name = place_of(uri_of(record))
        service = details.service if details is not None else None if store is None else store.endpoint
        url = service or place
        error = escaped(details.error) if details is not None and details.error else ""
        first_byte = self.time(first - offset) if first else ""
        over = self.time(end - offset)
        return (
            f"{number}\t{thread}\t{operation}\t{escaped(client_id)}\t{objects}\t{size}\t{url}\t{name}\t{error}\t"
            f"{self.time(start - offset)}\t{first_byte}\t{over if first else ''}\t{over}\t{max(0, end - start)}\t0\n"
        )


class JsonForm(Form):
    """A JSON object for each operation, with all that is known of it."""

    wants_answers = True

    def line(self, number: int, record: Record) -> str:
        thread, (client_id, offset), operation, objects, store, _, size, start, first, end, details = record
        row: dict[str, Any] = {
            "idx": number, "thread": thread, "op": operation, "client_id": client_id, "n_objects": objects,
            "bytes": size, "endpoint": _endpoint_of(store, details), "file": redacted(uri_of(record)),
            "error": "" if details is None else details.error, "start": self.time(start - offset),
            "first_byte": self.time(first - offset) if first else None, "end": self.time(end - offset),
            "duration_ns": max(0, end - start), "attempts": 1 if details is None else details.attempts,
            "status": None if details is None else details.status,
        }  # fmt: skip
        if details is not None and details.range is not None:
            begin, length = details.range
            row["range"] = f"{begin}-" if length is None else f"{begin}-{begin + length - 1}"
        return json.dumps(row) + "\n"


#: By the names that settings give them.
FORMS: dict[str, type[Form]] = {"tsv": TsvForm, "warp": WarpForm, "jsonl": JsonForm}


def uri_of(record: Record) -> str:
    """The URI of what an operation was about."""
    store, key = record[4], record[5]
    return key if store is None else store.uri(key)


def redacted(uri: str) -> str:
    """The URI without the credentials that one which was presigned has."""
    return redact(uri) if "?" in uri or "@" in uri else uri


def place_of(uri: str) -> tuple[str, str]:
    """The scheme and the container of a URI, and the URI without its scheme, as they stand in a row."""
    uri = redacted(uri)
    if not uri.isprintable() or "\\" in uri:
        uri = escaped(uri)
    scheme, _, name = uri.partition("://")
    return f"{scheme}://{name[: name.find('/')] if '/' in name else name}", name


def _endpoint_of(store: BaseStore | None, details: Details | None) -> str | None:
    if details is not None:
        return details.endpoint
    url = None if store is None else store.endpoint
    return None if url is None else name_of(url)


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # names of local files are bytes
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")
