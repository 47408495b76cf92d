"""A bounded number of schedules; ``SIMULATION_SEEDS=100000`` in the environment runs more of them."""

from __future__ import annotations

import os

import pytest

from tests.simulation import schedule
from tests.simulation.run import replay_command

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "300"))
_STRETCHES = 10
#: Seeds that have shown a fault of the product, or of the simulation.
FOUND = (
    31, 66, 89, 101, 102, 110, 133, 181, 447, 455, 591, 639, 742, 933, 1114, 1156, 1187, 1362, 1486, 2194, 4066, 5607,
)  # fmt: skip
FOUND_STREAMING = (422, 838, 961, 2521, 3292, 4870, 5618)


def check(seeds: range | tuple[int, ...]) -> None:
    for seed in seeds:
        result = schedule.run(seed)
        assert not result.violations, "\n".join([*result.violations, replay_command(seed)])


@pytest.mark.parametrize("stretch", range(_STRETCHES))
def test_whatever_happens_between_client_and_service(stretch: int) -> None:
    check(range(stretch * SEEDS // _STRETCHES, (stretch + 1) * SEEDS // _STRETCHES))


def test_what_was_found_before() -> None:
    check(FOUND)


def test_whatever_happens_to_streaming_writes() -> None:
    for seed in (*range(SEEDS // 3), *FOUND_STREAMING):
        result = schedule.run(seed, streams=True)
        assert not result.violations, "\n".join([*result.violations, replay_command(seed, streams=True)])


#: Likewise, with several servers.
FOUND_SERVERS = (692, 1053, 1640, 1943, 2393, 2838, 2840, 2952, 3391, 3809)


def test_whatever_happens_to_several_servers() -> None:
    for seed in (*range(SEEDS // 2), *FOUND_SERVERS):
        streams = not seed % 5
        result = schedule.run(seed, streams=streams, servers=True)
        assert not result.violations, "\n".join(
            [*result.violations, replay_command(seed, streams=streams, servers=True)]
        )


#: Likewise, with 100,000 bytes a second.
FOUND_PACED = (15, 27, 562, 1147, 1481)


@pytest.mark.parametrize("rate", [100_000, 5_000_000])
def test_whatever_happens_under_a_limit_of_bandwidth(rate: int) -> None:
    for seed in (*range(SEEDS // 10), *FOUND_PACED):
        streams = not seed % 3
        result = schedule.run(seed, streams=streams, paced=rate)
        assert not result.violations, "\n".join([*result.violations, replay_command(seed, streams=streams, paced=rate)])


@pytest.mark.parametrize("seed", [3, 8, 57, 101])
def test_a_seed_replays_exactly(seed: int) -> None:
    first, second = schedule.run(seed), schedule.run(seed)
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert len(first.trace) > 2
