"""Everything that the command says: results on stdout, notes, errors and progress on stderr, for people or as JSON."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from s3dlio.cli.argument_parser import UsageError
from s3dlio.errors import BatchError, S3dlioError
from s3dlio.masking import redact

if TYPE_CHECKING:
    from s3dlio.memory.view import BytesView

_DETAILS = ("uri", "operation", "status", "code", "request_id", "attempts", "hint")


class Drawn(Protocol):
    """A line that is drawn again and again."""

    def clear(self) -> None:
        """Make room for other words."""


class Output:
    """Where a command's words go.

    Args:
        as_json: one JSON object per line instead of text.
        progress: bars on stderr; None: if it is a terminal.
        verbosity: how often ``-v`` was given; 2 adds tracebacks to errors.
        quiet: results and errors only: no notes, no summaries, no bars.
        stdout, stderr: the streams; the process's own by default.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        progress: bool | None = None,
        verbosity: int = 0,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.as_json = as_json
        self.verbosity = verbosity
        self.quiet = quiet
        self.on_terminal = self.stdout.isatty()
        #: What is drawn on stderr at present, and makes room for other words.
        self.bar: Drawn | None = None
        self.progress = not quiet and (self.stderr.isatty() if progress is None else progress)

    def result(self, record: Mapping[str, Any], text: str | None = None, *, end: str = "\n") -> None:
        """One result: ``record`` as JSON, ``text`` for people (None: nothing)."""
        if self.on_terminal:
            self._make_room()
        if self.as_json:
            print(_json(record), file=self.stdout)
        elif text is not None:
            print(text, end=end, file=self.stdout)

    def results(self, records: Iterable[Mapping[str, Any]], lines: Iterable[str], *, end: str = "\n") -> None:
        """Many results with one write; only the form that is printed is computed. ``end`` ends each of the lines."""
        chosen, end = (map(_json, records), "\n") if self.as_json else (lines, end)
        if self.on_terminal:
            self._make_room()
        if text := end.join(chosen):
            self.stdout.write(text + end)

    def done(self, record: Mapping[str, Any], text: str) -> None:
        """Something was done that has no data: the record as JSON on stdout, the words for people on stderr."""
        if not self.quiet:
            self.result(record)
        self.note(text)

    def summary(self, record: Mapping[str, Any], text: str) -> None:
        """How a command ended, on stdout."""
        if not self.quiet:
            self.result(record, text)

    def total(self, record: Mapping[str, Any], text: str) -> None:
        """What stands below a listing: on stderr, so that stdout has nothing but its entries."""
        if not self.quiet:
            print(_json(record) if self.as_json else text, file=self.stderr)

    def data(self, record: Mapping[str, Any], data: BytesView) -> None:
        """Bytes of an object: as they are, or as JSON with the bytes in base64."""
        if self.as_json:
            import base64

            text = base64.b64encode(data.memoryview()).decode("ascii")
            print(_json({**record, "bytes": len(data), "base64": text}), file=self.stdout)
        else:
            self.stdout.flush()
            self.stdout.buffer.write(data.memoryview())

    def note(self, text: str) -> None:
        """What a person may want to know besides the result; names in it cannot move the cursor of a terminal."""
        if not self.as_json and not self.quiet:
            self._make_room()
            print("\n".join(map(escaped, text.split("\n"))), file=self.stderr)

    def _make_room(self) -> None:
        if self.bar is not None:
            self.bar.clear()

    def name(self, text: str) -> str:
        """A URI or key as it may be shown: as it is in a pipe, its control characters escaped on a terminal."""
        return escaped(text) if self.on_terminal else text

    def error(self, error: BaseException) -> None:
        """The error, and with ``-v`` every failure of a batch, with ``-vv`` where it happened."""
        self._make_room()
        failures = error.failures if isinstance(error, BatchError) else ()
        if self.as_json:
            for failure in failures:
                record = {"index": failure.index, **error_record(failure.error), "uri": redact(failure.uri)}
                print(_json({"failure": record}), file=self.stderr)
            print(_json({"error": error_record(error)}), file=self.stderr)
            return
        if self.verbosity >= 2:
            traceback.print_exception(error, file=self.stderr)
        for failure in failures if self.verbosity else ():
            print(f"failed: {message(failure.error)}", file=self.stderr)
        where = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))  # which process of several it was
        print(f"Error: {message(error)}{where}", file=self.stderr)
        if not self.verbosity and isinstance(error, BatchError) and len(failures) > len(error.lines()):
            print("  -v lists them all", file=self.stderr)


def escaped(text: str) -> str:
    """``text`` with everything that is not printable written as an escape: it cannot move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def message(error: BaseException) -> str:
    """What an error says to a person; errors of Python itself name their kind."""
    if isinstance(error, S3dlioError | UsageError):
        return str(error)
    text = escaped(str(error))
    if isinstance(error, OSError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def error_record(error: BaseException) -> dict[str, Any]:
    """An error as JSON: its type, its message, and what it knows of the request."""
    record: dict[str, Any] = {"type": type(error).__name__, "message": message(error)}
    if notes := getattr(error, "__notes__", None):
        record["notes"] = list(notes)
    if isinstance(error, S3dlioError):
        record |= {name: value for name in _DETAILS if (value := getattr(error, name)) is not None}
        if "uri" in record:
            record["uri"] = redact(record["uri"])
    return record


def _json(record: Mapping[str, Any]) -> str:
    import json

    return json.dumps(record, ensure_ascii=True, separators=(", ", ": "))


def counted(objects: int) -> str:
    """``1 object``, ``2 objects``."""
    return f"{objects} object{'' if objects == 1 else 's'}"
