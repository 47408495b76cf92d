"""The operations of each benchmark, one after the other without an end: what clients in a closed loop ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from s3dlio.bench.payloads import Payloads
from s3dlio.bench.plan import Plan, Share
from s3dlio.memory.pool import SMALL, default_pool
from s3dlio.memory.sinks import DiscardSink, MemorySink, Sink
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call

if TYPE_CHECKING:
    import numpy as np

#: Numbers that are drawn by chance at a time.
_AT_ONCE = 4096
_PAGE = 4096
#: So often an object is drawn that is not in use, before something else is done.
_TRIES = 16

#: Key and size of an object.
Entry = tuple[str, int]


class Place(NamedTuple):
    """Where a share of a run works.

    Args:
        plan: of the benchmark.
        store: the store.
        base: what all keys begin with.
        run: the number of this run, from 0.
        share: which part of it.
        concurrent: operations in flight of this share.
    """

    plan: Plan
    store: ObjectStore
    base: str
    run: int
    share: Share
    concurrent: int

    def random(self) -> np.random.Generator:
        """What this share of this run draws from."""
        import numpy as np

        seed = self.plan.seed
        return np.random.default_rng(None if seed is None else [seed, 1 + self.run, self.share.number])

    def written(self, number: int) -> str:
        """The key of an object that this share writes while the clock runs."""
        return written_key(self.base, self.run, self.share.number, number)


def prepared_key(base: str, number: int) -> str:
    """The key of an object that is written before."""
    return f"{base}{number:08}"


def written_key(base: str, run: int, share: int, number: int) -> str:
    """The key of an object that a share of a run writes."""
    return f"{base}w{run}-{share}-{number:08}"


class Workload(ABC):
    """Calls of one kind of benchmark.

    Args:
        place: where.
        entries: the objects that are there.
    """

    #: ``done`` wants to hear of calls that have ended.
    listens = False

    def __init__(self, place: Place, entries: Sequence[Entry]) -> None:
        self.place = place
        self.plan = place.plan
        self.store = place.store
        self.entries = entries
        self.random = place.random()
        #: Objects that may have been written.
        self.written = 0

    @abstractmethod
    def calls(self) -> Iterator[Call[Any]]:
        """The calls; they are pulled from one thread at a time, when there is room for another one."""

    def done(self, call: Call[Any], result: Any, error: BaseException | None) -> Any:
        """A call has ended, on any thread; returns how many of its objects failed, and why, where it ended well."""
        return None

    def sizes(self) -> Iterator[int]:
        """Sizes of objects to write."""
        while True:
            yield from self.plan.sizes.draw(self.random, _AT_ONCE).tolist()

    def read(self) -> Callable[[Entry], Call[Any]]:
        """What makes a read of an object, or of a range of it."""
        make: Callable[[], Sink] = DiscardSink if self.plan.discard else MemorySink
        read_call, length = self.store.read_call, self.plan.range_size
        if length is None:
            return lambda entry: read_call(entry[0], make())
        places = (place for _ in iter(int, 1) for place in self.random.random(_AT_ONCE).tolist())

        def ranged(entry: Entry) -> Call[Any]:
            key, size = entry
            offset = int(next(places) * (max(0, size - length) + 1))
            return read_call(key, make(), offset=offset, length=length)

        return ranged

    def write(self) -> Callable[[], Call[Any]]:
        """What makes a write of a new object."""
        plan, place, store = self.plan, self.place, self.store
        seed = None if plan.seed is None else hash((plan.seed, place.run, place.share.number)) & (2**63 - 1)
        payloads = Payloads(plan.sizes.largest, plan.dedup, plan.compress, seed, fresh=plan.fresh)
        sizes = self.sizes()

        def write() -> Call[Any]:
            number = self.written
            self.written += 1
            return store.write_call(place.written(number), payloads.source(next(sizes), number))

        return write


class Gets(Workload):
    """Reads objects, or ranges of them."""

    def calls(self) -> Iterator[Call[Any]]:
        entries, read = self.entries, self.read()
        while True:
            for number in self.random.integers(0, len(entries), _AT_ONCE).tolist():
                yield read(entries[number])


class Puts(Workload):
    """Writes new objects."""

    def __init__(self, place: Place, entries: Sequence[Entry]) -> None:
        super().__init__(place, entries)
        self._write = self.write()  # the data are made before the clock runs

    def calls(self) -> Iterator[Call[Any]]:
        while True:
            yield self._write()


class Stats(Workload):
    """Asks for the metadata of objects."""

    def calls(self) -> Iterator[Call[Any]]:
        entries, head_call = self.entries, self.store.head_call
        while True:
            for number in self.random.integers(0, len(entries), _AT_ONCE).tolist():
                yield head_call(entries[number][0])


class Lists(Workload):
    """Lists the directory, page after page; each client begins again when it is through."""

    listens = True

    def __init__(self, place: Place, entries: Sequence[Entry]) -> None:
        super().__init__(place, entries)
        self._tokens: deque[str | None] = deque([None] * place.concurrent)

    def calls(self) -> Iterator[Call[Any]]:
        base, tokens, page_call = self.place.base, self._tokens, self.store.list_page_call
        while True:
            yield page_call(base, True, tokens.popleft() if tokens else None)

    def done(self, call: Call[Any], result: Any, error: BaseException | None) -> None:
        if error is None:
            page, token = result
            call.objects = len(page.keys) + len(page.prefixes)
            self._tokens.append(token)
        else:
            self._tokens.append(None)


class Deletes(Workload):
    """Deletes the objects, each once, alone or in batches."""

    listens = True

    def calls(self) -> Iterator[Call[Any]]:
        batch, store = self.plan.batch, self.store
        keys = (key for key, _ in self.entries)
        if batch == 1:
            yield from map(store.delete_call, keys)
            return
        while some := list(islice(keys, batch)):
            yield store.delete_many_call(some)

    def done(self, call: Call[Any], result: Any, error: BaseException | None) -> Any:
        return result or None


class Mixed(Workload):
    """Reads, asks for metadata, writes and deletes, by weights. An object that is being read is not deleted, nor one
    that was there before."""

    listens = True

    def __init__(self, place: Place, entries: Sequence[Entry]) -> None:
        super().__init__(place, entries)
        self._lock = Lock()
        self._live = list(entries)
        self._sizes: dict[str, int] = {}  # of objects that are being written
        self._users: dict[str, int] = {}  # how many operations use an object
        self._kept = frozenset() if self.plan.prepare else frozenset(key for key, _ in entries)
        self._write = self.write()

    def calls(self) -> Iterator[Call[Any]]:
        weights = self.plan.weights
        names = list(weights)
        shares = [weights[name] / sum(weights.values()) for name in names]
        make = {
            "get": self._use(self.read()), "stat": self._use(lambda entry: self.store.head_call(entry[0])),
            "put": self._put, "delete": self._delete,
        }  # fmt: skip
        while True:
            for which in self.random.choice(len(names), _AT_ONCE, p=shares).tolist():
                yield make[names[which]]() or self._put()

    def _drawn(self) -> int:
        return int(self.random.random() * len(self._live))

    def _use(self, make: Callable[[Entry], Call[Any]]) -> Callable[[], Call[Any] | None]:
        def use() -> Call[Any] | None:
            with self._lock:
                if not self._live:
                    return None
                entry = self._live[self._drawn()]
                self._users[entry[0]] = self._users.get(entry[0], 0) + 1
            return make(entry)

        return use

    def _put(self) -> Call[Any]:
        call = self._write()
        self._sizes[call.key] = call.size
        return call

    def _delete(self) -> Call[Any] | None:
        with self._lock:
            for _ in range(_TRIES if self._live else 0):
                number = self._drawn()
                key = self._live[number][0]
                if key not in self._users and key not in self._kept:
                    self._live[number] = self._live[-1]
                    self._live.pop()
                    return self.store.delete_call(key)
        return None

    def done(self, call: Call[Any], result: Any, error: BaseException | None) -> None:
        key = call.key
        with self._lock:
            if call.operation == "PUT":
                size = self._sizes.pop(key)
                if error is None:
                    self._live.append((key, size))
            elif call.operation != "DELETE":
                self._users[key] -= 1
                if not self._users[key]:
                    del self._users[key]


def touch(plan: Plan, entries: Sequence[Entry], concurrent: int) -> None:
    """Have the memory in the pool into which objects will be read: the first touch of it takes the system longer than a
    read does."""
    import numpy as np

    if plan.operation not in ("get", "mixed") or plan.discard:
        return
    size = max((size for _, size in entries), default=0)
    size, count = min(size, plan.range_size or size), concurrent + 1
    pool = default_pool()
    if size >= SMALL:
        leases = [pool.lease(size) for _ in range(min(count, pool.max_idle_bytes // size))]
        for lease in leases:
            np.frombuffer(lease, np.uint8)[::_PAGE] = 0


WORKLOADS: dict[str, type[Workload]] = {
    "get": Gets, "put": Puts, "stat": Stats, "list": Lists, "delete": Deletes, "mixed": Mixed,
}  # fmt: skip
