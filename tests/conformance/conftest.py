"""The fixture `case`: each store in turn; and the check that every test gives the pool its buffers back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3dlio.engine.lanes import Lanes
from s3dlio.memory.pool import default_pool
from s3dlio.stores.base import ObjectStore
from tests.conformance.stores import CASES, ENCODERS, Case
from tests.leases import assert_returned


@pytest.fixture(scope="session")
def shared_containers() -> dict[str, ObjectStore]:
    """One container for each server: making one for each test would be most of the time."""
    return {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "per_encoder(name, values, elsewhere): fewer values elsewhere")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test on every store; on Ceph only where `--ceph` asks for it.

    Stores that share an encoder of keys, or a way to cut bodies, fail together: with ``per_encoder`` one of them has
    all ``values``, and the others those ``elsewhere``.
    """
    if "case" not in metafunc.fixturenames:
        return
    cases = [name for name in CASES if name != "s3-ceph" or metafunc.config.getoption("--ceph")]
    marker = metafunc.definition.get_closest_marker("per_encoder")
    if marker is None:
        metafunc.parametrize("case", cases, indirect=True)
        return
    name, values, elsewhere = marker.args
    pairs = [(case, value) for case in cases for value in (values if case in ENCODERS else elsewhere)]
    metafunc.parametrize(("case", name), pairs, indirect=["case"])


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    yield from CASES[request.param](request)


@pytest.fixture(autouse=True)
def _no_buffer_is_lost(case: Case) -> Iterator[None]:
    before = default_pool().stats().leased
    yield
    assert_returned(before)


@pytest.fixture(scope="session")
def lanes() -> Iterator[Lanes]:
    made = Lanes(64)
    yield made
    made.close()


@pytest.fixture
def store(case: Case, lanes: Lanes) -> ObjectStore:
    """As a client has it: with resident lanes."""
    case.store.spare = lanes.spare
    return case.store
