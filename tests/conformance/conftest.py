"""The fixture `case`: each store in turn; and the check that every test gives the pool its buffers back."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from s3dlio.memory.pool import default_pool
from s3dlio.stores.base import ObjectStore
from tests.conformance.stores import CASES, Case


@pytest.fixture(scope="session")
def shared_containers() -> dict[str, ObjectStore]:
    """One container for each server: making one for each test would be most of the time."""
    return {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test on every store; on Ceph only where `--ceph` asks for it."""
    if "case" in metafunc.fixturenames:
        ceph = metafunc.config.getoption("--ceph")
        metafunc.parametrize("case", [name for name in CASES if ceph or name != "s3-ceph"], indirect=True)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    yield from CASES[request.param](request)


@pytest.fixture(autouse=True)
def _no_buffer_is_lost(case: Case) -> Iterator[None]:
    before = default_pool().stats().leased
    yield
    if default_pool().stats().leased > before:
        gc.collect()  # tracebacks of expected errors are cycles
        assert default_pool().stats().leased <= before


@pytest.fixture
def store(case: Case) -> ObjectStore:
    return case.store
