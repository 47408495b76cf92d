"""How many operations a batch has in flight: as many as pay, and fewer while the service throttles."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perf.adaptive import CEILING, SERVICES, Fixed, Service, Simulation
from s3dlio.engine.admission import Admission
from s3dlio.net import system
from s3dlio.net.adaptive import START, AdaptiveLimit, FixedLimit
from s3dlio.stores.memory import MemoryStore


class Rounds:
    """A limit with a clock of its own, and rounds of operations that succeed."""

    def __init__(self, ceiling: int, start: int = START) -> None:
        self.now = 0.0
        self.limit = AdaptiveLimit(ceiling, start, lambda: self.now)

    def round(self, rate: float | None = None) -> int:
        """One round, at a rate or of a second; the limit after it."""
        count = self.limit.left
        self.now += 1.0 if rate is None else count / rate
        self.limit.left = 0
        self.limit.round_over()
        return self.limit.limit


def test_a_burst_of_throttled_answers_counts_once_and_calm_brings_the_limit_back() -> None:
    rounds = Rounds(64)
    for _ in range(64):
        rounds.limit.throttled()
    assert rounds.limit.current == 32
    assert [rounds.round() for _ in range(5)] == [46, 53, 57, 59, 60]
    rounds.limit.throttled()
    assert rounds.limit.current == 30


def test_after_a_while_more_are_tried_up_to_the_ceiling() -> None:
    rounds = Rounds(64)
    rounds.limit.throttled()
    limits = [rounds.round() for _ in range(60)]
    assert limits[20] == 60
    assert limits[-1] == 64


def test_the_limit_never_falls_below_one() -> None:
    limit = AdaptiveLimit(1)
    for _ in range(5):
        limit.throttled()
    assert limit.current == 1


def test_it_climbs_while_that_makes_the_batch_faster() -> None:
    rounds = Rounds(512)
    assert [rounds.round(rate) for rate in (1000, 1900, 3500)] == [128, 256, 512]


def test_where_more_do_not_pay_it_goes_back_to_what_did() -> None:
    rounds = Rounds(512)
    assert [rounds.round(rate) for rate in (1000, 1900, 1950, 1950)] == [128, 256, 256, 128]
    for _ in range(100):  # and tries again, in vain
        assert rounds.round(1950) <= 256


def test_calls_that_block_take_places_of_the_lane() -> None:
    limit = AdaptiveLimit(3)
    assert [limit.take_place() for _ in range(3)] == [True, True, False]
    assert limit.current == 1
    limit.give_place_back()
    assert limit.current == 2


def test_a_fixed_limit_stays() -> None:
    limit = Admission(300, adaptive=False).limit
    assert isinstance(limit, FixedLimit)
    limit.throttled()
    assert limit.current == 300


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_batch_is_about_as_fast_as_with_the_best_fixed_number_in_flight(service: Service) -> None:
    """Of one second, its beginning included."""
    found: dict[int | str, float] = {}
    for width in (16, 40, 192, CEILING):
        found[width] = Simulation(service, lambda clock, width=width: Fixed(width)).run(1.0)

    def adaptive(clock: Callable[[], float]) -> AdaptiveLimit:
        return AdaptiveLimit(CEILING, clock=clock)

    assert Simulation(service, adaptive).run(1.0) >= 0.85 * max(found.values())


class Cloud(MemoryStore):
    is_cloud = True


def test_a_batch_begins_with_what_the_last_one_has_found() -> None:
    store = Cloud("memory://b")
    first, other, second, third = (Admission(512) for _ in range(4))
    rounds = Rounds(512)
    first.limit = rounds.limit
    for rate in (1000, 1900):
        rounds.round(rate)
    first.remember(store, "GET")
    other.recall(store, "PUT")
    second.recall(store, "GET")
    assert (other.limit.current, second.limit.current) == (START, 256)
    second.limit.throttled()
    second.remember(store, "GET")
    third.recall(store, "GET")
    assert third.limit.current == 240


def test_what_was_found_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = Cloud("memory://b"), [1000.0]
    monkeypatch.setattr(system, "monotonic", lambda: now[0])
    first, second = Admission(512), Admission(512)
    first.limit.begin_with(256)
    first.remember(store, "GET")
    now[0] += 61
    second.recall(store, "GET")
    assert second.limit.current == START
