"""What several tests here have in common: a client, and a place on every kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from s3dlio.client import Client
from s3dlio.config.settings import Settings
from tests.servers import Server

CLOUDS = {
    "s3": ("moto_server", "s3://"), "az": ("azurite_server", "az://devstoreaccount1/"), "gs": ("gcs_full_server", "gs://"),
}  # fmt: skip


@pytest.fixture(params=["file", "memory", *CLOUDS])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Client, str]]:
    """A client, and a prefix of a test's own: on every kind of store, in a container of the module's."""
    container = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    if request.param in CLOUDS:
        fixture, scheme = CLOUDS[request.param]
        server: Server = request.getfixturevalue(fixture)
        with Client(Settings.resolve(server.env)) as client:
            client.create_bucket(scheme + container)
            yield client, f"{scheme}{container}/{request.node.name}"
    else:
        with Client() as client:
            scheme = f"file://{tmp_path}" if request.param == "file" else f"memory://{container}-{id(client)}"
            yield client, f"{scheme}/at"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client
