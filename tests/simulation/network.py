"""Connections between the client and the simulated service: latency, partial sends, windows, and what cuts them."""

from __future__ import annotations

import errno
import math
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.faults import END, RESET, STALL, Fault, Faults
from tests.simulation.http import Answer, Message, Parser
from tests.simulation.sockets import Descriptors, Stream
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.servers import Servers

Handler = Callable[[Message], Answer]
#: Slack of a check of deadlines: drivers look ten times a second, and set a deadline when they look.
SLACK = 0.5


class Network:
    """All connections of a world, and the service at their other end.

    Args:
        world: in which they are.
        faults: what goes wrong with them.
        handle: the service.
        connect_timeout, read_timeout: how long the client may wait, in seconds.
    """

    def __init__(
        self, world: World, faults: Faults, handle: Handler, connect_timeout: float, read_timeout: float
    ) -> None:
        chance = world.chance
        self.world = world
        self.faults = faults
        self.handle = handle
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self.descriptors = Descriptors()
        self.links: list[Link] = []
        #: Time that the client has spent in sinks and sources, when it could not look at deadlines.
        self.absent = 0.0
        #: The client was interrupted, perhaps when it had a connection in its hand.
        self.interrupted = False
        #: Requests that the client may have in flight.
        self.window = 1_000_000
        self.most_busy = 0
        self.latency = chance.choice((0.0001, 0.001, 0.01, 0.05))
        self.send_room = chance.choice((2_000, 20_000, 200_000, 2_000_000))
        self.receive_room = chance.choice((2_000, 60_000, 400_000))
        self.segment = chance.choice((700, 8_000, 64_000, 1_000_000))
        self._hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"][: chance.choice((1, 1, 1, 2, 3))]
        self._deaf = {"10.0.0.1"} if len(self._hosts) > 1 and chance.random() < 0.3 else set()
        #: So many sockets the client may have open; and how often it wanted one more.
        self.most_sockets = chance.choice((1_000_000,) * 12 + (1, 2, 5))
        self.crowded = 0
        self._numbers = 0
        #: When requests, and connections, were begun.
        self.begun: list[float] = []
        #: Several servers, of which some fail; None: one.
        self.servers: Servers | None = None

    def numbered(self) -> int:
        self._numbers += 1
        return self._numbers

    def addresses(self, host: str | bytes, port: int, **how: Any) -> list[tuple[Any, ...]]:
        names = self._hosts if self.servers is None else [host.decode() if isinstance(host, bytes) else host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, port)) for name in names]

    def delay(self) -> float:
        """Seconds for one way."""
        return self.latency * self.world.chance.uniform(0.5, 2.0)

    def connect(self, sock: Stream, place: Any) -> int:
        world = self.world
        fault = self.faults.of_connection()
        sock.last_byte = world.now
        host = place[0]
        way = self.servers.refuses(host) if self.servers is not None else ""
        if way == "silent":
            return errno.EINPROGRESS
        if way or host in self._deaf or (fault is not None and fault.kind == "refuses"):
            if world.chance.random() < 0.3:
                return errno.ECONNREFUSED
            world.after(self.delay(), lambda: self._refuse(sock))
        elif fault is None or fault.kind == "sluggish":
            seconds = fault.seconds if fault is not None else 0.0
            world.after(2 * self.delay() + seconds, lambda: self._established(sock, host))
        return errno.EINPROGRESS

    def _refuse(self, sock: Stream) -> None:
        if not sock.closed:
            sock.error = errno.ECONNREFUSED

    def _established(self, sock: Stream, host: str) -> None:
        if not sock.closed:
            sock.link = Link(self, sock, host)
            sock.connected = True
            self.links.append(sock.link)

    def on_close(self, sock: Stream) -> None:
        """The client closes a connection: it has not waited for it for too long."""
        if sock.forgotten:
            return
        link = sock.link
        limit = self.connect_timeout if link is None else self.read_timeout
        waited = self.world.now - sock.last_byte - self.absent
        waits = link is None or (link.busy and not sock.received)  # not for its turn, where bandwidth is limited
        if waits and waited > limit + SLACK:
            self.world.violate(f"connection {sock.number}: nothing came for {waited:.2f} s, the limit is {limit:g} s")

    def count_busy(self) -> None:
        """How many requests are in flight."""
        busy = sum(link.busy for link in self.links if not link.gone)
        self.most_busy = max(self.most_busy, busy)
        if busy > self.window and not self.interrupted:
            self.world.violate(f"{busy} requests in flight where {self.window} are allowed")
        servers = self.servers
        if servers is None or servers.limit is None or servers.was_down or self.faults.happened or self.interrupted:
            return
        at = Counter(link.host for link in self.links if link.busy and not link.gone)
        if at and max(at.values()) > servers.limit:
            self.world.violate(f"{max(at.values())} requests in flight at a server that may have {servers.limit}")


class Link:
    """One connection, and the service's end of it."""

    def __init__(self, network: Network, sock: Stream, host: str) -> None:
        self.network = network
        self.host = host
        self.world = network.world
        self.sock = sock
        self.number = sock.number
        #: The client has learned that nothing goes out any more.
        self.broken = False
        #: The client has left.
        self.gone = False
        #: A request is on its way, or its answer.
        self.busy = False
        self._ended = False  # the service has closed it, or died
        self._on_the_way = 0  # bytes of the client that have not been read
        self._last_up = self._last_down = self.world.now
        self._unread = 0
        self._blocked: deque[memoryview | str] = deque()
        self._stalled = False
        self._waiting: deque[bytes] = deque()  # what came while the service did not read
        self._fault: Fault | None = None
        self._got = 0
        self._answers = 0
        self._sent = self._taken = 0  # bytes to the client
        self._answer_ends: float = math.inf  # of those
        self._serving = False
        self._parser = Parser(self._on_head, self._on_message, network.world.violate)

    # -- up

    def room(self) -> int:
        return max(0, self.network.send_room - self._on_the_way)

    def send(self, data: memoryview) -> int:
        """As many of the client's bytes as there is room for leave."""
        network, world = self.network, self.world
        count = min(len(data), self.room())
        if not count:
            return 0
        if not self.busy:
            self._begin()
        if count > 1 and world.chance.random() < 0.2:
            count = world.chance.randint(1, count)
        self._on_the_way += count
        self._last_up = max(self._last_up, world.now + network.delay())
        sent = bytes(data[:count])
        world.at(self._last_up, lambda: self._arrive(sent))
        return count

    def _begin(self) -> None:
        """The first bytes of a request."""
        self.busy = True
        self._got = 0
        self._fault = self.network.faults.of_request()
        self._answer_ends = math.inf
        self.network.begun.append(self.world.now)
        self.network.count_busy()

    def _arrive(self, data: bytes) -> None:
        if self.gone:
            return
        if self._ended:
            self._reset_client()
            return
        if self._stalled:
            self._waiting.append(data)
            return
        self._on_the_way -= len(data)
        fault = self._fault
        if fault is not None and fault.kind == "request":
            # The share is of the first 2 KB, which most requests are, or of all that has come at once.
            cut = int(fault.at * max(2000, len(data)))
            if self._got + len(data) >= cut:
                self._fault = None
                early = max(0, cut - self._got)
                self._feed(data[:early])
                self._cut_off(fault, data[early:])
                return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._got += len(data)
        if data:
            if self._serving:
                self.world.violate(f"connection {self.number}: a request is sent before the last one was answered")
            self._parser.feed(data)

    def _cut_off(self, fault: Fault, rest: bytes) -> None:
        self.world.note("cut", self.number, fault.how)
        if fault.how != STALL:
            self._end(fault.how)
            return
        self._stalled = True
        self._waiting.appendleft(rest)  # before what came while an earlier silence lasted
        self._on_the_way += len(rest)
        if fault.seconds < math.inf:
            self.world.after(fault.seconds, self._go_on)

    def _go_on(self) -> None:
        self._stalled = False
        while self._waiting and not (self._stalled or self.gone or self._ended):
            self._arrive(self._waiting.popleft())

    # -- requests

    def _on_head(self, message: Message) -> bool:
        """The head of a request has come; whether its body is wanted."""
        fault = self._fault
        if fault is not None and fault.kind == "early" and message.length:
            self._fault = None
            self._answer(refusal(fault), fault, closes=True)
            return False
        if message.expects:
            self._transmit(b"HTTP/1.1 100 Continue\r\n\r\n", 1)
        return True

    def _on_message(self, message: Message) -> None:
        """A whole request has come."""
        world = self.world
        fault, self._fault = self._fault, None
        if self.network.servers is not None:
            fault = self.network.servers.fails(self.host) or fault
        kind = fault.kind if fault is not None else ""
        world.note("request", self.number, message.method, message.target, message.length, kind)
        self._serving = True
        seconds = world.chance.choice((0.0, 0.0002, 0.003, 0.02))
        if kind == "late":
            assert fault is not None
            seconds += fault.seconds
        world.after(seconds, lambda: self._act(message, fault))

    def _act(self, message: Message, fault: Fault | None) -> None:
        """The service does what was asked for, and answers."""
        kind = fault.kind if fault is not None else ""
        # It may have noticed that nobody is there any more. Uploads that were begun long after that nobody could find.
        if self.gone and (self.world.chance.random() < 0.5 or (message.begins_upload and kind == "late")):
            return
        if fault is not None and kind in ("refused", "early"):
            self._answer(refusal(fault), fault)
            return
        if fault is not None and kind == "lost":
            if fault.acts:
                self.network.handle(message)
            self._cut_off(fault._replace(seconds=math.inf), b"")
            return
        answer = error_200() if kind == "error200" and message.hides_errors else self.network.handle(message)
        self._answer(answer, fault, head_only=message.method == "HEAD")

    def _answer(self, answer: Answer, fault: Fault | None, *, head_only: bool = False, closes: bool = False) -> None:
        kind = fault.kind if fault is not None else ""
        closes = closes or self.world.chance.random() < 0.03
        data, body_at = answer.render(head_only=head_only, closes=closes, world=self.world)
        self._answers += 1
        self._serving = False
        self._answer_ends = self._sent + len(data)
        if fault is not None and kind == "damaged" and answer.checked and len(data) > body_at:
            spot = body_at + int(fault.at * (len(data) - body_at - 1))
            data = data[:spot] + bytes([data[spot] ^ 0x20]) + data[spot + 1 :]
        if fault is not None and kind == "answer":
            cut = int(fault.at * len(data))
            self._transmit(data[:cut], 0)
            self._later(lambda: self._cut_short(fault, data[cut:]))
            return
        self._transmit(data + (b"what nobody asked for" if kind == "extra" else b""), 12 if kind == "slow" else 0)
        if closes or kind == "closing":
            self._later(lambda: self._end(END))
        elif self.world.chance.random() < self.network.faults.idle:
            number = self._answers
            seconds = self.world.chance.choice((0.0, 0.002, 0.1, 1.0, 5.0))
            self.world.at(self._last_down + seconds, lambda: self._end_if_idle(number))

    def _cut_short(self, fault: Fault, rest: bytes) -> None:
        self.world.note("cut", self.number, fault.how)
        if fault.how != STALL:
            self._end(fault.how)
        elif fault.seconds < math.inf:
            self.world.after(fault.seconds, lambda: self._transmit(rest, 0))

    def _end_if_idle(self, number: int) -> None:
        if self._answers == number and not (self._serving or self._parser.begun):
            self.world.note("idle end", self.number)
            self._end(END)

    # -- down

    def _transmit(self, data: bytes, pieces: int) -> None:
        """Send bytes to the client, in segments; ``pieces``: so many of them, slowly."""
        chance, network = self.world.chance, self.network
        view = memoryview(data)
        self._sent += len(view)
        size = -(-len(data) // pieces) if pieces else max(network.segment, len(data) // 40)
        while view:
            count = size if chance.random() < 0.5 else chance.randint(1, size)
            piece, view = view[:count], view[count:]
            pause = chance.uniform(0.0, network.read_timeout / 3) if pieces > 1 else 0.0
            self._last_down = max(self._last_down, self.world.now + network.delay()) + pause
            self.world.at(self._last_down, lambda piece=piece: self._deliver(piece))  # type: ignore[misc]

    def _later(self, event: Callable[[], None]) -> None:
        """After all that was transmitted."""
        self.world.at(self._last_down, event)

    def _deliver(self, what: memoryview | str) -> None:
        if self.gone:
            return
        if what == RESET:
            self._blocked.clear()  # what the service's side had not sent yet
        if self._blocked or (not isinstance(what, str) and self._unread >= self.network.receive_room):
            self._blocked.append(what)
            return
        self._into(what)

    def _into(self, what: memoryview | str) -> None:
        sock = self.sock
        if what == RESET:
            sock.error = errno.ECONNRESET
            self.broken = True
            if self.world.chance.random() < 0.3:
                sock.received.clear()
        elif what == END:
            sock.ended = True
        else:
            assert isinstance(what, memoryview)
            sock.received.append(what)
            self._unread += len(what)
            sock.last_byte = self.world.now

    def taken(self, count: int) -> None:
        """The client has read bytes."""
        self._unread -= count
        self._taken += count
        if self._taken >= self._answer_ends:
            self.busy = False
        if self._blocked and self._unread < self.network.receive_room:
            self.world.after(self.network.delay(), self._drain)

    def _drain(self) -> None:
        """There is room in the window again."""
        while self._blocked and self._unread < self.network.receive_room and not self.gone:
            self._into(self._blocked.popleft())

    # -- the end

    def _end(self, how: str) -> None:
        if not self._ended:
            self._ended = True
            self._last_down = max(self._last_down, self.world.now + self.network.delay())
            self.world.at(self._last_down, lambda: self._deliver(how))

    def _reset_client(self) -> None:
        """The client's bytes came to where nobody is."""
        self.world.after(self.network.delay(), lambda: self._deliver(RESET))

    def left(self) -> None:
        """The client has closed its end, or shut it down."""
        self.gone = True


_CODES = {503: "SlowDown", 429: "TooManyRequests", 500: "InternalError", 408: "RequestTimeout"}


def refusal(fault: Fault) -> Answer:
    code = _CODES.get(fault.status, "Busy")
    fields = [] if fault.retry_after is None else [("Retry-After", str(fault.retry_after))]
    body = f"<Error><Code>{code}</Code><Message>not now</Message></Error>".encode()
    return Answer(fault.status, body, fields)


def error_200() -> Answer:
    return Answer(200, b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>sorry</Message></Error>')
