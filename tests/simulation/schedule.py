"""One schedule: a world from one seed, what the client does in it, and whether everything was as it must be."""

from __future__ import annotations

import bisect
import contextlib
import gc
import logging
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from s3dlio.config.endpoint_list import LEAST_CONNECTIONS, ROUND_ROBIN, SHORTEST_EXPECTED_WAIT
from s3dlio.config.settings import Settings
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import AwaitToken, CancelToken
from s3dlio.engine.executor import InlineExecutor
from s3dlio.errors import TransferCancelledError
from s3dlio.memory.pool import default_pool
from s3dlio.net import file_body, pool
from s3dlio.net.cancellation import GRACE_SECONDS, cancel_scope
from s3dlio.net.spreading import Spread
from s3dlio.stores.call import Call
from s3dlio.stores.cloud import part_size
from s3dlio.stores.cloud import writer as cloud_writer
from s3dlio.stores.s3 import S3Account, S3Store, orphaned_uploads
from s3dlio.stores.s3 import store as s3_store
from s3dlio.types import ObjectMetadata
from tests.simulation import faults as faults_module
from tests.simulation import lanes, operations, sockets
from tests.simulation.faults import RESET, Fault
from tests.simulation.network import SLACK, Network
from tests.simulation.operations import Operation
from tests.simulation.servers import Servers
from tests.simulation.service import BUCKET, Service, Version
from tests.simulation.world import Hang, World, in_place_of_the_system

log = logging.getLogger("s3dlio")

#: Seconds for which operations wait between looks at what they may have left behind.
_PAUSES = sum((*orphaned_uploads._PAUSES, *orphaned_uploads._LATE))


class Result(NamedTuple):
    """What came of a schedule."""

    seed: int
    violations: list[str]
    digest: str
    trace: list[tuple[Any, ...]]
    operations: int
    requests: int
    faults: list[str]


class Warnings(logging.Handler):
    """What the client says that it could not do."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class Scope(AwaitToken):
    """An awaited call's token, whose sleep passes time of the world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def sleep(self, seconds: float) -> None:
        self._world.step()
        self._world.wait(lambda: self.cancelled, seconds)


@lru_cache(maxsize=1)
def _plain_settings() -> Settings:
    keys = {"region": "us-east-1", "access_key_id": "AKIATEST", "secret_access_key": "secret"}
    return Settings.resolve({}, s3={"endpoint_url": "http://10.0.0.1:9000", **keys})


def _with(settings: Any, **values: Any) -> Any:
    """The same with other values, also such as no user may set: small parts and ranges."""
    changed = object.__new__(type(settings))
    for name, value in {**vars(settings), **values}.items():
        object.__setattr__(changed, name, value)
    return changed


class Schedule:
    """One world with a client, a network and a service.

    Args:
        seed: all of it comes from this.
        streams: most operations are streaming writes.
        paced: so many bytes a second go and come at most.
        servers: there are several, each of which may be down for a while.
    """

    def __init__(
        self, seed: int, *, streams: bool = False, paced: int | None = None, servers: bool = False
    ) -> None:
        self.world = world = World(seed)
        self._paced = paced
        self._streams = streams
        chance = world.chance
        self.faults = faults_module.drawn(world)
        checks = chance.random() < 0.5
        self.service = Service(world, sends_crc=checks)
        if not checks:
            self.faults.kinds = tuple(kind for kind in self.faults.kinds if kind != "damaged")
        self.settings = self._settings(checks)
        http = self.settings.http
        self.operation_timeout = http.operation_timeout
        self.network = Network(world, self.faults, self.service.handle, http.connect_timeout, http.read_timeout)
        if servers:
            self._several()
        self.running: list[Operation] = []
        self.cancelled = self.interrupted = False
        self.cancelled_at = math.inf
        #: Keys that are replaced while they may be read, and those for which it is planned.
        self.replaced: set[str] = set()
        self.to_be_replaced: set[str] = set()
        self.warnings = Warnings()
        self.store: S3Store
        self._keys: list[str] = []
        self._count = 0
        #: Operations run beside each other, and not by the driver for single ones.
        self._together = False

    def _several(self) -> None:
        """Several servers, by the address of each."""
        chance = self.world.chance
        limit = chance.choice((None, None, 1, 2, 5))
        servers = Servers(self.world, self.faults, chance.choice((2, 3)), limit)
        self.network.servers = servers
        self.network._deaf = set()
        urls = tuple(f"http://{host}:9000" for host in servers.hosts)
        s3 = _with(
            self.settings.s3, endpoints=urls, endpoint_max_in_flight=limit,
            load_balance_strategy=chance.choice((ROUND_ROBIN, LEAST_CONNECTIONS, SHORTEST_EXPECTED_WAIT)),
        )  # fmt: skip
        self.settings = _with(self.settings, s3=s3)

    def _probe(self, spread: Spread, index: int) -> None:
        """Find out whether a server answers, as a thread of the client does."""
        servers, world = self.network.servers, self.world
        assert servers is not None

        def answered() -> None:
            spread.choice.probed(index, servers.way(servers.hosts[index]) or None)

        world.after(2 * self.network.delay(), answered)

    def _settings(self, checks: bool) -> Any:
        chance, plain = self.world.chance, _plain_settings()
        read_timeout = chance.choice((2.0, 10.0))
        when = "when_supported" if checks else "when_required"
        return _with(
            plain,
            s3=_with(
                plain.s3, request_checksum_calculation=when, response_checksum_validation=when,
                anonymous=chance.random() < 0.5,
            ),
            http=_with(
                plain.http, read_timeout=read_timeout, connect_timeout=chance.choice((1.0, 5.0)),
                operation_timeout=chance.choice((None, None, None, 0.5, 5.0)),
                pool_idle_seconds=chance.choice((0.5, 30.0)), max_connections=chance.choice((1, 4, 256)),
                bwlimit=None if self._paced is None else str(self._paced),
            ),
            retry=_with(
                plain.retry, max_attempts=chance.choice((1, 3, 5)), base_delay=chance.choice((0.0, 0.1, 1.0))
            ),
            range=_with(
                plain.range, threshold=1, chunk=chance.choice((3_000, 20_000, 64_000)),
                concurrency=chance.choice((1, 3, 32)),
            ),
            multipart=_with(
                plain.multipart, threshold=chance.choice((1, 20_000, 100_000)), max_in_flight=chance.choice((1, 3, 8)),
                part_size=chance.choice((2_000, 10_000, 100_000)),
            ),
        )  # fmt: skip

    # -- what operations ask of it

    @property
    def may_fail(self) -> bool:
        """Enough went wrong for a request to have no attempt left."""
        return bool(self.faults.harmful + self.network.crowded >= self.settings.retry.max_attempts)

    def work(self, seconds: float) -> None:
        """The client computes, or writes to a slow disk: it cannot look at the network meanwhile."""
        seconds = self.world.chance.uniform(0.0, seconds)
        self.network.absent += seconds
        self.world.pass_time(seconds)

    def replace(self, key: str) -> None:
        """Another client writes the object."""
        self.replaced.add(key)
        self.service.store(key, self.world.chance.randbytes(self.world.chance.choice(operations.SIZES)))

    def known(self, version: Version) -> ObjectMetadata:
        return ObjectMetadata(size=len(version.data), etag=version.etag, crc32c=version.crc)

    # -- running

    def run(self) -> Result:
        world = self.world
        before = default_pool().stats()
        uploads = set(orphaned_uploads.known)
        collecting = gc.isenabled()
        gc.disable()
        log.addHandler(self.warnings)
        spreads, log.propagate = log.propagate, False  # who keeps records keeps errors, with all that these refer to
        try:
            with in_place_of_the_system(world, **self._functions()), self._small_sizes():
                self.store = S3Store(S3Account(self.settings), BUCKET)
                self._fill()
                try:
                    self._scenario()
                except Hang as hang:
                    world.violate(f"hang: {hang}")
                self._check_end(before.leased, uploads)
        finally:
            log.removeHandler(self.warnings)
            log.propagate = spreads
            if collecting:
                gc.enable()
        requests = sum(entry[1] == "request" for entry in world.trace)
        return Result(
            world.seed, world.violations, world.digest(), list(world.trace), self._count, requests, self.faults.happened
        )

    def _functions(self) -> dict[str, Any]:
        network = self.network
        return {**sockets.functions(self.world, network), **lanes.functions(self.world, network.descriptors)}

    @contextlib.contextmanager
    def _small_sizes(self) -> Iterator[None]:
        """What is large is small here: parts, stages, and bodies that wait for a go-ahead."""
        chance = self.world.chance
        names: list[tuple[Any, str, Any]] = [
            (part_size, "_MIB", 1),
            (cloud_writer, "finalize_elsewhere", str),  # on a real thread
            (s3_store, "EXPECT_CONTINUE", chance.choice((5_000, 8 << 20))),
            (file_body, "STAGE", chance.choice((16_384, 1 << 20))),
            (file_body, "STAGE_FROM", chance.choice((0.02, 1))),
            (Spread, "_probe", lambda spread, index: self._probe(spread, index)),
        ]
        before = [(module, name, getattr(module, name)) for module, name, _ in names]
        for module, name, value in names:
            setattr(module, name, value)
        try:
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)

    def _fill(self) -> None:
        chance = self.world.chance
        for number in range(chance.randint(1, 8)):
            key = f"k{number}"
            self._keys.append(key)
            self.service.store(key, chance.randbytes(chance.choice(operations.SIZES)))
        self.world.now += 1.0
        for key in self._keys:
            if chance.random() < 0.1:
                self.to_be_replaced.add(key)
                self.world.after(chance.choice((0.001, 0.02, 0.2, 2.0)), lambda key=key: self.replace(key))  # type: ignore[misc]

    def _operation(self, number: int, *, alone: bool) -> Operation:
        """One operation, as chance has it."""
        chance = self.world.chance
        if self._streams and chance.random() < 0.8:
            if (condition := chance.choice(("", "", "create", "replace"))) == "replace":
                self.service.store(f"n{number}", b"before")
            return operations.Stream(self, f"n{number}", chance.choice(operations.SIZES), condition=condition)
        kind = chance.choice((
            "get", "get", "get", "range", "tail", "known", "into", "drop", "head", "put", "put", "put", "create",
            "replace", "broken", "delete", "delete_many", "list", "copy",
        ))  # fmt: skip
        key = chance.choice([*self._keys, *self._keys, "missing"])
        size = chance.choice(operations.SIZES)
        new = f"n{number}"
        if kind == "range":
            return operations.Get(self, key, chance.choice((0, 1, 5_000, 90_000)), chance.choice((None, 1, 50_000)))
        if kind == "tail":
            return operations.Tail(self, key, 0, chance.choice((1, 700, 80_000)))
        simple: dict[str, type[Operation]] = {
            "get": operations.Get, "known": operations.GetKnown, "into": operations.GetInto,
            "drop": operations.Drop, "head": operations.Head,
        }  # fmt: skip
        if kind in simple:
            return simple[kind](self, key)
        if kind in ("put", "create"):
            return operations.Put(self, new, size, condition="create" if kind == "create" else "")
        if kind == "replace":
            self.service.store(new, b"before")
            return operations.Put(self, new, size, condition="replace")
        if kind == "broken":
            return operations.Put(self, new, max(1, size), breaks=True)
        if kind == "list":
            return operations.Listing(self, chance.choice(("k", "")))
        if kind == "copy":
            return operations.Copy(self, self._keys[0], new)
        self.service.store(new, b"to be deleted")
        return operations.Delete(self, new) if kind == "delete" else operations.DeleteMany(self, [new, "not-there"])

    def _scenario(self) -> None:
        chance = self.world.chance
        kind = chance.choice(("alone", "alone", "batch", "batch", "batch", "awaited"))
        if chance.random() < 0.03 and self.network.servers is None:  # of several, each gets what another has failed
            kind = "storm"
        if self._streams:
            kind = "alone"
        carriers = chance.choice((0, 0, 1, 3)) if kind != "awaited" else chance.choice((1, 1, 2))
        self.world.note("scenario", kind, carriers)
        self._together = kind != "alone"
        if not self._together:
            self.network.read_timeout *= 2  # a receive that waits for all of a body ends with a part of it, and another
        with lanes.lending(self.world, carriers) as residents:
            self.store.spare = lambda taken: residents[taken].lane if taken < len(residents) else None
            if kind == "alone":
                self._alone()
            elif kind == "batch":
                self._batch()
            elif kind == "storm":
                self._storm()
            else:
                self._awaited(residents)

    # -- one after another, by the driver for single calls

    def _alone(self) -> None:
        chance, world = self.world.chance, self.world
        settings = self.settings
        self.network.window = max(settings.range.concurrency, settings.multipart.max_in_flight, 2 * self._streams)
        scope = Scope(world) if chance.random() < 0.3 else None
        self._plan_end(scope)
        token = cancel_scope.set(scope)
        try:
            for number in range(chance.randint(1, 6)):
                operation = self._operation(number, alone=True)
                try:
                    operation.settle(operation.run(), None)
                except (Exception, KeyboardInterrupt) as error:
                    operation.settle(None, error)
                    if isinstance(error, KeyboardInterrupt):
                        break
                self._check_time(operation)
                self._check_uploads()
                if scope is not None and scope.cancelled:
                    break
                if chance.random() < 0.2:
                    world.pass_time(chance.choice((0.01, 1.0, 40.0)))
        finally:
            cancel_scope.reset(token)

    def _plan_end(self, token: CancelToken | None) -> None:
        """Perhaps a cancellation, or Ctrl-C, at some step or moment."""
        chance, world = self.world.chance, self.world

        def cancel() -> None:
            assert token is not None
            world.note("cancel")
            if not self.cancelled:
                self.cancelled, self.cancelled_at = True, world.now
            token.cancel("as planned")

        def interrupt() -> None:
            world.note("interrupt")
            self.interrupted = self.cancelled = self.network.interrupted = True
            self.cancelled_at = world.now
            raise KeyboardInterrupt

        fate = chance.random()
        if fate < 0.6:
            return
        event = cancel if token is not None and fate < 0.85 else interrupt
        if event is cancel and chance.random() < 0.3:
            world.after(chance.choice((0.0, 0.01, 0.5, 3.0)), event)
        else:
            world.at_step[int(2 ** chance.uniform(0, 9))] = event

    def _check_time(self, operation: Operation) -> None:
        """An operation keeps its time, or that for its end."""
        limit = self.operation_timeout
        requests = 1
        if isinstance(operation, operations.Stream):  # each has the time of an operation
            requests = 3 + operation.size // self.settings.multipart.part_size
        took = operation.ended - operation.began - self.network.absent
        most = math.inf if limit is None else 2 * requests * (limit + SLACK) + _PAUSES  # the end has it again
        if self._together and limit is not None:  # from its first request on, which may wait for those of others
            most += limit * len(self.running) / self.network.window
        if not self.cancelled and took > most:
            operation.violate(f"it took {took:.2f} s, where an operation has {limit or 0:g} s")
        cancelled_at = self.cancelled_at if operation.cancelled_at is None else operation.cancelled_at
        late = operation.ended - max(cancelled_at, operation.began) - self.network.absent
        # A read has nothing to clean up; but a connection that is only being made is not ended.
        alone = 0.0 if self._together else self.settings.http.connect_timeout
        grace = alone if isinstance(operation, operations.Reading) else GRACE_SECONDS
        if requests > 1:
            grace *= 2  # what it was doing cleans up, and then its upload is aborted
        if cancelled_at < math.inf and late > grace + SLACK:
            operation.violate(f"it ended {late:.2f} s after it was cancelled")

    # -- many at once, on a lane

    def _batch(self) -> None:
        chance = self.world.chance
        width = chance.choice((1, 2, 4, 16))
        wanted = [self._operation(number, alone=False) for number in range(chance.randint(1, 20))]
        budget = chance.choice((1, 50_000, 1 << 30)) if chance.random() < 0.5 else None
        self._run_batch(wanted, Admission(width, budget, adaptive=chance.random() < 0.5))

    def _run_batch(self, wanted: list[Operation], admission: Admission, *, whole: bool = False) -> None:
        self.network.window = admission.width
        token = CancelToken()
        if not whole:
            self._plan_end(token)
        started: list[Operation] = []

        def calls() -> Iterator[Call[Any]]:
            for operation in wanted:
                started.append(operation)
                yield operation.call()

        def done(index: int, result: Any, error: BaseException | None) -> None:
            wanted[index].settle(result, error)
            self._check_time(wanted[index])

        try:
            run_calls(calls(), admission=admission, on_done=done, cancel=token, executor=InlineExecutor())
        except KeyboardInterrupt:
            if not self.interrupted:
                raise
        except TransferCancelledError:
            if not self.cancelled:
                raise
        else:
            for operation in started:
                if operation.settled != 1 and not self.cancelled:
                    operation.violate(f"it was started, and ended {operation.settled} times")
            if len(started) < len(wanted) and not self.cancelled:
                self.world.violate(f"{len(wanted) - len(started)} calls were never started")
        late = self.world.now - self.cancelled_at - self.network.absent
        if late > (2 if self.interrupted else 1) * GRACE_SECONDS + SLACK:  # the lane that cleans up is cancelled, too
            self.world.violate(f"the batch ended {late:.2f} s after it was cancelled")
        budget = admission.budget
        if budget is not None and budget.in_flight and not self.cancelled:
            self.world.violate(f"{budget.in_flight} bytes of the budget are still taken")

    def _storm(self) -> None:
        """Many requests fail in the same way at the same time: they do not come again all at once."""
        chance, world, faults = self.world.chance, self.world, self.faults
        retry = self.settings.retry
        object.__setattr__(retry, "base_delay", 1.0)
        object.__setattr__(retry, "max_attempts", 5)
        object.__setattr__(self.settings.http, "max_connections", 256)
        self.network.latency, self.network.most_sockets = 0.0001, 1_000_000
        faults.rate, faults.idle = 0.0, 0.0
        if self.operation_timeout is not None or not all(self.service.objects.values()):
            return
        faults.outage = world.now, world.now + 0.3
        refused = Fault("refused", status=503, retry_after=chance.choice((None, 1, 3)))
        faults.outage_fault = chance.choice((refused, refused, Fault("lost", how=RESET), Fault("request", how=RESET)))
        self.to_be_replaced.clear()
        wanted = [operations.Head(self, chance.choice(self._keys)) for _ in range(40)]
        began, before = world.now, len(self.network.begun)
        self._run_batch(list(wanted), Admission(40, None, adaptive=False), whole=True)
        again = sorted(moment for moment in self.network.begun[before:] if moment > began + 0.05)
        most = max((bisect.bisect(again, moment + 0.1) - place for place, moment in enumerate(again)), default=0)
        if len(again) >= 30 and most > 20:
            world.violate(f"{most} of {len(again)} requests come again within 0.1 s, where pauses are up to 1 s")

    # -- many at once, on lanes of their own

    def _awaited(self, residents: list[lanes.Resident]) -> None:
        chance, world = self.world.chance, self.world
        wanted = [self._operation(number, alone=False) for number in range(chance.randint(1, 20))]
        for resident in residents:
            resident.lane.window = chance.choice((1, 4, 16))
        self.network.window = sum(resident.lane.window for resident in residents)
        submitted: list[lanes.Awaited] = []
        for operation in wanted:
            awaited = lanes.Awaited(operation, chance.choice((1, 3, 32)))
            if not chance.choice(residents).lane.submit(awaited):
                operation.violate("a lane that nobody has closed takes it no more")
            submitted.append(awaited)
            if chance.random() < 0.2:
                world.after(chance.choice((0.0, 0.001, 0.02, 0.5, 3.0)), awaited.cancel)
        if not world.wait(lambda: all(awaited.over for awaited in submitted), 3000.0):
            world.violate(f"{sum(not awaited.over for awaited in submitted)} operations do not end")
        for operation in wanted:
            if operation.settled != 1:
                operation.violate(f"it was submitted, and ended {operation.settled} times")
            self._check_time(operation)

    # -- what must be at the end

    def _check_end(self, leased: int, uploads: set[str]) -> None:
        world, network = self.world, self.network
        self._check_uploads()
        if network.descriptors.selectors:
            world.violate(f"{len(network.descriptors.selectors)} selectors are open")
        if self.interrupted or self._together:
            # Frames of the interrupt may keep a connection that it met between two places; those of one operation's
            # error, what others had in flight with it.
            self._let_go()
        idle = {connection.sock.stream for made in pool._registry.values() for connection in made._idle}
        for sock in list(network.descriptors.open.values()):
            if isinstance(sock, lanes.Flag):
                continue
            if sock not in idle:
                world.violate(f"connection {sock.number} is neither idle nor closed")
            elif sock.link is None or (sock.link.busy and not sock.link.broken):
                world.violate(f"connection {sock.number} is idle in the middle of an exchange")
        if len(idle) > self.settings.http.max_connections * len(pool._registry):
            world.violate(f"{len(idle)} idle connections are kept")
        if orphaned_uploads.known - uploads and not (self._streams and self.interrupted):
            world.violate(f"uploads that are over are still known: {orphaned_uploads.known - uploads}")
            orphaned_uploads.known -= orphaned_uploads.known - uploads
        for operation in self.running:
            operation.release()
        self._check_leases(leased)
        self._check_servers()

    def _let_go(self) -> None:
        for operation in self.running:
            operation.error = None

    def _check_leases(self, before: int) -> None:
        self._let_go()
        self._count, self.running = len(self.running), []
        left = default_pool().stats().leased - before
        if left:
            gc.collect()
            still = default_pool().stats().leased - before
            self.world.violate(f"{left} buffers are leased, {still} after a collection")
        if self._wakers():
            gc.collect()  # errors in the result of a batch delete are in a cycle with it
            if self._wakers():
                self.world.violate("the waker of a lane that has ended is open")

    def _check_servers(self) -> None:
        """No request is counted at a server any more, and nobody waits for room at one."""
        if (choice := self.store.service.account.choice) is None:
            return
        if any(endpoint.active_requests for endpoint in choice.endpoints):
            gc.collect()  # of requests that an interrupt met
        for endpoint in choice.endpoints:
            if endpoint.active_requests:
                self.world.violate(f"{endpoint.active_requests} requests are still counted at {endpoint.name}")
        if choice._waiters and not self.interrupted:
            self.world.violate(f"{len(choice._waiters)} requests still wait for room at a server")

    def _wakers(self) -> int:
        """How many lanes that have ended could still be woken; resident ones are kept until they are collected."""
        found = list(self.network.descriptors.open.values())
        return sum(isinstance(flag, lanes.Flag) and not flag.resident for flag in found)

    def _check_uploads(self) -> None:
        """No upload is left, unless the client has said so."""
        told = [said for said in self.warnings.said if "upload" in said]
        fails = self.faults.happened or self.operation_timeout is not None
        fails = fails or any(getattr(operation, "breaks", False) for operation in self.running)
        while_cleaning = self.interrupted and fails  # perhaps an operation that had failed
        if self.service.uploads and not told and not while_cleaning:
            self.world.violate(f"uploads are left: {sorted(self.service.uploads)}")


def run(seed: int, *, streams: bool = False, paced: int | None = None, servers: bool = False) -> Result:
    """Run the schedule of a seed."""
    return Schedule(seed, streams=streams, paced=paced, servers=servers).run()
