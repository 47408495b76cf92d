"""Copies from any cloud to any other: streamed piece by piece and compared; within one service, by the service."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3dlio import errors
from s3dlio.client import Client
from s3dlio.transfer import store_routes
from s3dlio.types import Observation, PutOptions
from tests.servers import Server
from tests.servers.gcs_scripted import Fault, FullGcsServer

MIB = 1 << 20
PIECE = 1 << 20
PART = 5 * MIB
CLOUDS = {"s3": "s3://between-{}", "az": "az://devstoreaccount1/between-{}", "gs": "gs://between-{}"}
OBJECTS = {"a b%2F": 5, "deep/ü": 100_000, "empty": 0, "large": 2 * PART + 12_345}
_numbers = itertools.count(1)


@pytest.fixture
def client(
    moto_server: Server, azurite_server: Server, gcs_full_server: FullGcsServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    for server in (moto_server, azurite_server, gcs_full_server):
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(store_routes, "PIECE", PIECE)
    with Client(multipart={"threshold": PART, "part_size": PART}) as made:
        yield made


@pytest.fixture
def observed(client: Client) -> list[Observation]:
    seen: list[Observation] = []
    client.add_observer(seen.append)
    return seen


def new(client: Client, cloud: str) -> str:
    """The URI of a new container."""
    root = CLOUDS[cloud].format(next(_numbers))
    client.create_bucket(root)
    return root


def fill(client: Client, root: str) -> dict[str, bytes]:
    data = {name: random.Random(name).randbytes(size) for name, size in OBJECTS.items()}
    options = PutOptions(content_type="text/x-test", cache_control="no-cache", metadata={"colour": "blue"})
    for name, body in data.items():
        store, key = client.store_for(f"{root}/tree/{name}")
        store.put(key, body, options=options)
    return data


@pytest.mark.parametrize(("source", "target"), [*itertools.permutations(CLOUDS, 2)])
def test_from_cloud_to_cloud(client: Client, observed: list[Observation], source: str, target: str) -> None:
    there, here = new(client, source), new(client, target)
    data = fill(client, there)
    observed.clear()
    done = client.copy(f"{there}/tree/", f"{here}/copy/", recursive=True, verify=True)
    assert (done.succeeded, done.bytes) == (len(data), sum(OBJECTS.values()))
    pieces = [seen for seen in observed if seen.operation == "GET_RANGE" and seen.uri.endswith("/large")]
    assert sorted({seen.bytes for seen in pieces}) == [12_345, PIECE], "an object is never here as a whole"
    for name, body in data.items():
        assert client.get(f"{here}/copy/{name}") == body
        about = client.head(f"{here}/copy/{name}")
        assert (about.content_type, about.cache_control) == ("text/x-test", "no-cache")
        assert dict(about.metadata) == {"colour": "blue"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_within_a_service_no_byte_comes_here(client: Client, observed: list[Observation], cloud: str) -> None:
    there, here = new(client, cloud), new(client, cloud)
    data = fill(client, there)
    observed.clear()
    client.copy(f"{there}/tree/", f"{here}/copy/", recursive=True)
    assert {seen.operation for seen in observed} == {"LIST", "COPY"}
    for name, body in data.items():
        assert client.get(f"{here}/copy/{name}") == body


@pytest.mark.parametrize("source", ["s3", "az"])
def test_a_copy_that_ends_half_way_leaves_nothing(client: Client, gcs_full_server: FullGcsServer, source: str) -> None:
    there, here = new(client, source), new(client, "gs")
    client.put_bytes(f"{there}/large", random.Random(1).randbytes(OBJECTS["large"]))
    gcs_full_server.faults = [Fault("POST", "000002", status=403)]
    with pytest.raises(errors.BatchError) as caught:
        client.copy(f"{there}/large", f"{here}/large")
    assert isinstance(caught.value.__cause__, errors.PermissionDeniedError)
    assert gcs_full_server.faults == []
    assert gcs_full_server.buckets[here.removeprefix("gs://")] == {}


@pytest.mark.parametrize("verify", [False, True])
def test_damage_on_the_way_is_never_stored(client: Client, gcs_full_server: FullGcsServer, verify: bool) -> None:
    """What passes is compared with the CRC32C that the source's service tells, before the copy appears."""
    there, here = new(client, "gs"), new(client, "s3")
    client.put_bytes(f"{there}/large", random.Random(1).randbytes(OBJECTS["large"]))
    stored = gcs_full_server.buckets[there.removeprefix("gs://")]["large"]
    stored.data = stored.data[:-1] + bytes([stored.data[-1] ^ 1])
    with pytest.raises(errors.BatchError) as caught:
        client.copy(f"{there}/large", f"{here}/large", verify=verify)
    assert isinstance(caught.value.__cause__, errors.IntegrityError)
    assert not client.exists(f"{here}/large")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_times_are_kept_in_every_cloud(client: Client, tmp_path: Path, cloud: str) -> None:
    root, stamp = new(client, cloud), 1_600_000_000_123_456_789
    (tmp_path / "file").write_bytes(b"x")
    os.utime(tmp_path / "file", ns=(0, stamp))
    client.copy(tmp_path / "file", f"{root}/file", preserve_mtime=True)
    client.copy(f"{root}/file", tmp_path / "back", preserve_mtime=True)
    client.copy(f"{root}/file", f"direct://{tmp_path}/direct", preserve_mtime=True)
    assert {(tmp_path / name).stat().st_mtime_ns for name in ("file", "back", "direct")} == {stamp}


def test_metadata_go_round_all_clouds_and_come_back_as_they_were(client: Client) -> None:
    metadata = {"my-key": "1", "nom été": "ü", "1st": " padded ", "plain": "x"}
    root = new(client, "gs")
    client.put_bytes(f"{root}/k", b"data", options=PutOptions(metadata=metadata, content_disposition='name="é"'))
    places = [root]
    for cloud in ("az", "s3", "az", "gs"):
        places.append(new(client, cloud))
        assert client.copy(f"{places[-2]}/k", f"{places[-1]}/k").succeeded == 1
    assert client.stat(f"{places[1]}/k")["metadata"]["rename_key_my_key"] == "my-key"
    assert client.stat(f"{places[2]}/k")["metadata"]["my-key"] == "1"
    assert client.stat(f"{places[-1]}/k")["metadata"] == metadata
    assert client.stat(f"{places[-1]}/k")["content_disposition"] is None


def test_metadata_that_are_too_long_are_left_out_with_a_warning(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    there, here = new(client, "gs"), new(client, "s3")
    client.put_bytes(f"{there}/k", b"data", options=PutOptions(metadata={"long": "x" * 4000, "short": "y"}))
    client.copy(f"{there}/k", f"{here}/k")
    assert client.stat(f"{here}/k")["metadata"] == {"short": "y"}
    assert "long" in caplog.text
