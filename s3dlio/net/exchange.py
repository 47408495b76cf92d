"""One request and its answer as a state machine without I/O (RFC 9112).

A driver asks what to send (``outgoing``) and reports how much went (``sent``), asks where the next bytes go
(``room``) and reports how many came (``received``). The exchange frames the request, parses the head, follows the
body into its sink and knows when it is done and whether the connection can serve again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from s3dlio.errors import OutOfMemoryError, ProtocolError, S3dlioError
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.pool import SMALL
from s3dlio.net.chunked import ChunkReader
from s3dlio.net.faults import ConnectionDropped, words_of
from s3dlio.net.file_body import SPLICE_FROM, FileBody
from s3dlio.net.framing import IS_CHUNKED, NO_BODY, body_length, keeps_alive, parse_status
from s3dlio.net.message import Request
from s3dlio.net.response import Response

#: Larger heads are an attack or a mistake; S3 sends at most 8 KiB of metadata.
MAX_HEAD = 64 * 1024
#: What one receive may take before the body has its place: a whole small object comes with its head.
SCRATCH = 64 * 1024
#: What the first receive takes where a body for memory of SMALL or more is expected, or one that is spliced: the rest
#: is not copied.
FIRST = 2048
#: Seconds that a body waits for ``100 Continue`` (RFC 9110, 10.1.1: a client should not wait without a limit).
CONTINUE_SECONDS = 1.0
#: A body of which so much is still to come is large: others should not wait for it.
LARGE = 256 * 1024
#: Interim answers (1xx) before the final one; servers that mean well send a handful.
MAX_INTERIM = 100
#: Bodies that are collected (listings, results) are never as large as the first; of an error's, the second is read.
MAX_COLLECTED, MAX_ERROR = 64 * 1024 * 1024, 1024 * 1024

_HEAD, _LENGTH, _CHUNKED, _CLOSE, _DONE = range(5)


class Exchange(FileBody):
    """A request and its answer.

    Args:
        request: what to send.
        scratch: where bytes go whose place is not known yet; this exchange's alone within a call of ``received``.
        view: a memoryview of ``scratch``.
        patient: as of Outgoing.
        splices: as of FileBody.
    """

    __slots__ = (
        "_chunks", "_collected", "_due", "_held", "_interim", "_limited", "_room", "_state", "done", "more", "response",
        "reusable", "scratch",
    )  # fmt: skip

    #: What the drivers make: this class, or one that is traced (``net.tracing``).
    kind: type[Exchange]

    def __init__(
        self, request: Request, scratch: bytearray, view: memoryview, patient: bool = False, splices: bool = False
    ) -> None:
        FileBody.__init__(self, request, patient)
        self.scratch = scratch
        self._view = view
        self.splices = splices
        self.splicing = False
        sink, last = request.sink, request.service.pool.last_body
        expects_much = last >= SMALL and sink is not None and (sink.in_memory or (splices and last >= SPLICE_FROM))
        self._room = view[:FIRST] if expects_much else view
        self.response: Response | None = None
        #: Requests that the head of this answer asks for, to run beside it.
        self.more: Sequence[Request] = ()
        #: The answer is complete.
        self.done = False
        #: The connection may serve again.
        self.reusable = False
        self._held: bytearray | None = None
        self._state = _HEAD
        self._left = 0
        self._total = 0
        self._limited = False
        self._due: int | None = None
        self._interim = 0
        self._place: memoryview | None = None
        self._stage: memoryview | None = None
        self._write: Callable[[memoryview], None] | None = None
        self._collected: bytearray | None = None
        self._chunks: ChunkReader | None = None

    # -- receiving

    def room(self) -> memoryview:
        """Where the next bytes go."""
        return self._place if self._place is not None else self._room

    @property
    def wanted(self) -> int:
        """How many bytes the place of the body still takes, where they go straight to it; else 0."""
        return len(self._place) if self._place is not None else 0

    @property
    def is_large(self) -> bool:
        """Much of the body is still to come, or the head has asked for more requests."""
        return self._left >= LARGE or bool(self.more)

    def use_scratch(self, scratch: bytearray) -> None:
        """Go on in other scratch memory: with another driver."""
        self.scratch = scratch
        self._view = self._room = memoryview(scratch)

    @property
    def remaining(self) -> int:
        """Bytes of bodies that are still to be sent and received, as far as that is known."""
        return self._left + self.unsent

    def receive(self, into: Callable[[memoryview, int], int]) -> bool:
        """Have ``into`` receive bytes (``Connection.receive``), and take them; see ``received``. Returns whether there
        may be more: the place for them was filled, and the body goes on."""
        place = self._place
        room = self._room if place is None else place
        size = len(room)
        count = into(room, 0 if place is None else size)
        self.received(count)
        return count == size and not self.done

    def received(self, count: int) -> None:
        """``count`` bytes have come into ``room``; 0: the other end has closed.

        Raises:
            ConnectionDropped: closed before the answer was complete.
            ProtocolError: not HTTP.
        """
        place = self._place
        if count == 0:
            self._closed()
        elif place is not None:
            self._left -= count
            if count == len(place):
                self._on_full()
            else:
                self._place = place[count:]
        elif self._state != _HEAD:
            self._on_body(self._view[:count])
        elif self._held is None:
            self._parse(self.scratch, self._view, count)
        else:
            self._on_more_of_head(self._held, count)

    def drop(self, reason: str, *, timed_out: bool = False) -> ConnectionDropped:
        """The fault for a connection that failed in this state."""
        return ConnectionDropped(
            reason, response=self.response, received=self._arrived(),
            untouched=self.response is None and not self._held, timed_out=timed_out,
        )  # fmt: skip

    def fault(self, error: OSError) -> S3dlioError:
        """The fault for an error in an exchange: a typed one is the sink's or source's, others are the connection's."""
        if isinstance(error, S3dlioError):
            return error
        pool = self.request.service.pool
        if isinstance(error, (TimeoutError, BlockingIOError)):
            return self.drop(f"{pool.name} sent nothing for {pool.http.read_timeout:g} s", timed_out=True)
        return self.drop(f"the connection to {pool.name} broke: {words_of(error)}")

    def _arrived(self) -> int:
        if self._state != _LENGTH:
            return self._total
        unwritten = len(self._stage) - self.wanted if self._stage is not None else 0
        return self._total - self._left - unwritten

    def _closed(self) -> None:
        if self._state == _CLOSE:
            self._finish()
        else:
            raise self.drop("the connection was closed before the answer was complete")

    def _on_more_of_head(self, held: bytearray, count: int) -> None:
        self._held = None
        held += self._view[:count]
        self._parse(held, memoryview(held), len(held))

    def _parse(self, data: bytearray, view: memoryview, count: int) -> None:
        end = data.find(b"\r\n\r\n", 0, count)
        if 0 <= end <= MAX_HEAD:
            self._on_head(bytes(view[: end + 2]), view[end + 4 : count])
        elif end > MAX_HEAD or count > MAX_HEAD + 3:
            raise ProtocolError(f"the head of the answer is larger than {MAX_HEAD} bytes")
        elif not data.startswith(b"HTTP/1."[: min(count, 7)]):
            raise ProtocolError("the answer is not HTTP/1.1")
        else:
            self._held = bytearray(view[:count])

    def _on_head(self, head: bytes, rest: memoryview) -> None:
        usual = head[:13] == b"HTTP/1.1 200 "
        status = 200 if usual else parse_status(head)
        if status < 200:
            self._on_interim(status, rest)
            return
        lower = head.lower()
        if lower.find(b"\r\n ") >= 0 or 0 in lower or (9 in lower and lower.find(b"\r\n\t") >= 0):
            raise ProtocolError("a header field is folded or has a NUL")
        self._room = self._view
        response = self.response = Response(status, head, lower)
        request = self.request
        body = request.body
        if self.outgoing or self.expects or (body is not None and self._body_sent < body.size):
            if status < 300:  # before the body was sent: nothing more is, and the connection cannot serve again
                raise ProtocolError("the server accepted a body that it had not received")
            self.outgoing = []
            self.expects = False
        else:
            self.reusable = (usual and lower.find(b"close") < 0) or keeps_alive(head, lower)
        length = body_length(request.method, status, lower)
        if length < 0:
            self._on_unframed(length, rest)
            return
        self._state = _LENGTH
        self._left = self._total = length
        whole = self._place_body(request, response, length, rest)
        if not self._left:
            self._finish()
        if rest and not whole:
            place = self._place
            if place is not None and len(rest) < self._left:  # as _on_body does, for most bodies
                count = len(rest)
                place[:count] = rest
                self._place = place[count:]
                self._left -= count
            else:
                self._on_body(rest)

    def _on_interim(self, status: int, rest: memoryview) -> None:
        if status == 101:
            raise ProtocolError("the server switched protocols, unasked")
        if status == 100:
            self.proceed()
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise ProtocolError("the server sends interim answers without an end")
        if rest:
            held = bytearray(rest)
            self._parse(held, memoryview(held), len(held))

    def _on_unframed(self, kind: int, rest: memoryview) -> None:
        """There is no body, or none of a length that the head tells (RFC 9112, section 6.3)."""
        if kind == NO_BODY:
            self._state, self.done, self.reusable = _DONE, True, self.reusable and not rest
            return
        if kind == IS_CHUNKED:
            self._state, self._chunks = _CHUNKED, ChunkReader()
        else:
            self._state, self.reusable = _CLOSE, False
        assert self.response is not None
        self._place_body(self.request, self.response, None, rest)
        if rest:
            self._on_body(rest)

    def _place_body(self, request: Request, response: Response, length: int | None, rest: memoryview) -> bool:
        """Determine where the body goes.

        Returns:
            whether ``rest``, which came with the head, was the whole body and is delivered.
        """
        sink = request.sink
        if sink is None or response.status not in (200, 206):
            self._collected = bytearray()
            if response.status >= 300:
                self._cut_at(MAX_ERROR, length)
            return False
        if request.on_head is not None:
            limit, self.more = request.on_head(response, length)
            if limit is not None:
                length = self._cut_at(limit, length)
        elif request.begins:
            sink.begin(length)
        request.service.pool.last_body = length or 0
        if length and length == len(rest) and request.begins and not self._limited:
            try:  # a small object comes whole with its head
                sink.whole(rest)
            except S3dlioError:
                raise
            except OSError as error:
                raise from_os_error(error) from error
            self._left = 0
            return True
        try:
            place = sink.at(request.start, length)
        except MemoryError as error:
            hint = "read it in ranges, or into a file"
            raise OutOfMemoryError(f"there is no memory for {length} bytes", hint=hint) from error
        if isinstance(place, memoryview):
            self._place = place
        else:
            self._write = place
            self.splicing = self.splices and length is not None and length >= SPLICE_FROM and sink.splices
        return False

    def _cut_at(self, limit: int, length: int | None) -> int | None:
        """Read ``limit`` bytes of a body of ``length`` at most; returns what is left of the length."""
        if length is None:
            self._due = limit
        elif limit < length:
            self._left = self._total = length = limit
            self._limited = True
            self.reusable = False
        return length

    def _on_body(self, data: memoryview) -> None:
        """Bytes of the body that are in scratch (or came with the head)."""
        if self._state == _LENGTH:
            taken = min(len(data), self._left)
            if taken < len(data) and not self._limited:
                raise ProtocolError("the server sent more than the Content-Length")
            self._deliver(data[:taken])
            self._left -= taken
            if self._left == 0:
                self._finish()
            elif self._place is None and self._collected is None and not self.splicing:
                self._gather()
        elif self._state == _CLOSE:
            self._on_unmeasured(data)
        elif self._state == _CHUNKED:
            assert self._chunks is not None
            for piece in self._chunks.feed(data):
                if self._on_unmeasured(piece):
                    return
            if self._chunks.done:
                if self._chunks.extra:
                    self.reusable = False
                self._finish()
        else:
            self.reusable = False

    def _on_unmeasured(self, data: memoryview) -> bool:
        """Bytes of a body without a length; returns whether they complete what is wanted of it."""
        due = self._due
        if due is None or len(data) <= due - self._total:
            self._deliver(data)
            self._total += len(data)
            return False
        if self._is_range():
            raise ProtocolError("the body is longer than its range")
        self._deliver(data[: due - self._total])
        self._total = due
        self.reusable = False
        self._finish()
        return True

    def _is_range(self) -> bool:
        return self.response is not None and self.response.status == 206

    def _on_full(self) -> None:
        """The place is full: it was all of the body, or a stage whose bytes go to the sink now."""
        stage, self._stage = self._stage, None
        if stage is not None:
            self._place = None
            self._deliver(stage)
        if self._left == 0:
            self._finish()
        elif stage is not None:
            del stage  # so that the next one may be the same memory, still in the CPU's cache
            if self.splices and self.request.into.splices:
                self.splicing = True
            else:
                self.next_stage()

    def _deliver(self, data: memoryview) -> None:
        place = self._place
        if place is not None:
            count = len(data)
            place[:count] = data
            self._place = place[count:]
        elif self._write is not None:
            try:
                self._write(data)
            except S3dlioError:
                raise
            except OSError as error:
                raise from_os_error(error) from error
        elif (collected := self._collected) is not None:
            collected += data
            if len(collected) > MAX_COLLECTED:
                raise ProtocolError(f"the answer is larger than {MAX_COLLECTED} bytes")

    def _finish(self) -> None:
        response = self.response
        assert response is not None
        if self._due is not None and self._total < self._due and self._is_range():
            raise self.drop("the body ended before its range did")
        response.size = self._total
        if self._collected is not None:
            response.body = self._collected
        self._state = _DONE
        self.done = True
        self._place = self._stage = None


Exchange.kind = Exchange
