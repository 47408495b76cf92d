"""The stores that the suite runs on. To add one: a function that yields a `Case`, and its name in `CASES`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.registry import open_store
from s3dlio.uri import parse
from tests.servers import Server


@dataclass(frozen=True)
class Case:
    """A store to test, and what sets it apart where the contract leaves it free.

    Args:
        store: over a container that this test has for itself, or shares under ``base``.
        base: what every key of this test starts with: empty, or ending in ``/``.
        new_container: makes the store of a container that does not exist yet; None where containers are directories.
        is_local: keys are paths, so ``..`` and ``//`` mean what they mean to the system, and there are directories.
        keeps_metadata: content type and metadata come back.
        creates_only: ``if_none_match='*'`` is honoured.
        replaces_if_match: writes honour ``if_match``.
        page_size: how many names a page of a listing has.
        refuses: characters that keys cannot hold there.
        resolves_dots: ``.`` and ``..`` are not taken literally in keys, and therefore refused.
        lacks: what the server is too simple for: "pages" (and positions in them), "conditions" of reads, "versions"
            told by reads, "literal" keys, "properties" that a copy gets.
    """

    store: ObjectStore
    base: str
    new_container: Callable[[], ObjectStore] | None = None
    is_local: bool = False
    keeps_metadata: bool = True
    creates_only: bool = True
    replaces_if_match: bool = True
    page_size: int = 1000
    refuses: str = ""
    resolves_dots: bool = False
    lacks: frozenset[str] = frozenset()

    def needs(self, feature: str) -> None:
        """Skip the test where the server is too simple for it."""
        if feature in self.lacks:
            pytest.skip(f"the server has no {feature}")

    def key(self, name: str) -> str:
        return self.base + name

    def names(self, prefix: str = "", *, recursive: bool = True, start_after: str | None = None) -> list[str]:
        """The keys (without ``recursive`` also the prefixes) of a listing, relative to the base, as they came."""
        after = None if start_after is None else self.key(start_after)
        found = []
        for page in self.store.list(self.key(prefix), recursive=recursive, start_after=after):
            found += [*page.keys, *page.prefixes]
        return [name.removeprefix(self.base) for name in found]


_numbers = itertools.count(1)


def _named(root: str) -> ObjectStore:
    return open_store(parse(root), Settings.resolve())


def memory(request: pytest.FixtureRequest) -> Iterator[Case]:
    def new() -> ObjectStore:
        return _named(f"memory://conformance-{next(_numbers)}/")

    yield Case(new(), "", new)


def _files(scheme: str, request: pytest.FixtureRequest) -> Iterator[Case]:
    folder = request.getfixturevalue("tmp_path")
    store = _named(f"{scheme}://{folder}/")
    yield Case(store, f"{folder}/", is_local=True, keeps_metadata=False, replaces_if_match=False)


def file(request: pytest.FixtureRequest) -> Iterator[Case]:
    yield from _files("file", request)


def direct(request: pytest.FixtureRequest) -> Iterator[Case]:
    yield from _files("direct", request)


def _cloud(request: pytest.FixtureRequest, server: str, root: str, **features: Any) -> Iterator[Case]:
    """A store on one of the test servers; ``root`` has a ``{}`` where the container's number goes."""
    running: Server = request.getfixturevalue(server)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in running.env.items():
        monkeypatch.setenv(name, value)

    def new() -> ObjectStore:
        return _named(root.format(next(_numbers)) + "/")

    shared: dict[str, ObjectStore] = request.getfixturevalue("shared_containers")
    name = f"{server} {root}"
    if name not in shared:
        shared[name] = new()
        shared[name].create_container()
    yield Case(shared[name], f"test-{next(_numbers)}/", new, **features)


def s3_moto(request: pytest.FixtureRequest) -> Iterator[Case]:
    yield from _cloud(request, "moto_server", "s3://conformance-{}", refuses="\n")


def s3_boto3(request: pytest.FixtureRequest) -> Iterator[Case]:
    request.getfixturevalue("monkeypatch").setenv("S3DLIO_BACKEND", "boto3")
    yield from _cloud(request, "moto_server", "s3://conformance-boto3-{}", refuses="\n")


def s3_arrow(request: pytest.FixtureRequest) -> Iterator[Case]:
    request.getfixturevalue("monkeypatch").setenv("S3DLIO_BACKEND", "arrow")
    yield from _cloud(request, "moto_server", "s3://conformance-arrow-{}", refuses="\n")


def s3_ceph(request: pytest.FixtureRequest) -> Iterator[Case]:
    # Ceph 16 refuses the quotes of an ETag in If-Match on writes.
    yield from _cloud(request, "radosgw_server", "s3://conformance-{}", replaces_if_match=False)


def s3_swift_tls(request: pytest.FixtureRequest) -> Iterator[Case]:
    features = {"creates_only": False, "replaces_if_match": False, "page_size": 100}
    yield from _cloud(request, "swift_tls_server", "s3://conformance-{}", **features)


def s3_swift(request: pytest.FixtureRequest) -> Iterator[Case]:
    # Small pages, because it writes no more than 75 objects a second.
    features = {"creates_only": False, "replaces_if_match": False, "page_size": 100}
    yield from _cloud(request, "swift_server", "s3://conformance-{}", **features)


def _paged(cases: Iterator[Case]) -> Iterator[Case]:
    """The store asks for pages of the size that the case tells."""
    for case in cases:
        case.store.page_size = case.page_size  # type: ignore[attr-defined]
        yield case


def _azure(request: pytest.FixtureRequest, backend: str) -> Iterator[Case]:
    request.getfixturevalue("monkeypatch").setenv("S3DLIO_AZURE_BACKEND", backend)
    root = f"az://devstoreaccount1/conformance-{backend}-{{}}"
    # Azure takes a backslash for a slash; Azurite cannot list control characters. Azure's pages have 5,000 names.
    features = {"page_size": 100, "refuses": "\\\x01", "resolves_dots": backend == "sdk"}
    yield from _paged(_cloud(request, "azurite_server", root, **features))


def _gcs_emulator(request: pytest.FixtureRequest, backend: str) -> Iterator[Case]:
    request.getfixturevalue("monkeypatch").setenv("S3DLIO_GCS_BACKEND", backend)
    features = {"creates_only": False, "replaces_if_match": False, "refuses": "\\"}
    lacks = frozenset({"pages", "conditions", "versions", "literal", "properties"})
    yield from _cloud(request, "gcs_server", f"gs://conformance-{backend}-{{}}", lacks=lacks, **features)


def _gcs(request: pytest.FixtureRequest, backend: str) -> Iterator[Case]:
    request.getfixturevalue("monkeypatch").setenv("S3DLIO_GCS_BACKEND", backend)
    root = f"gs://conformance-{backend}-{{}}"
    yield from _paged(_cloud(request, "gcs_full_server", root, page_size=100, refuses="\r\n"))


CASES: dict[str, Callable[[pytest.FixtureRequest], Iterator[Case]]] = {
    "memory": memory,
    "file": file,
    "direct": direct,
    "s3-moto": s3_moto,
    "s3-boto3": s3_boto3,
    "s3-arrow": s3_arrow,
    "s3-swift": s3_swift,
    "s3-swift-tls": s3_swift_tls,
    "s3-ceph": s3_ceph,
    "azure": functools.partial(_azure, backend="native"),
    "azure-sdk": functools.partial(_azure, backend="sdk"),
    "gcs-emulator": functools.partial(_gcs_emulator, backend="native"),
    "gcs-sdk-emulator": functools.partial(_gcs_emulator, backend="sdk"),
    "gcs": functools.partial(_gcs, backend="native"),
    "gcs-sdk": functools.partial(_gcs, backend="sdk"),
}

#: One store for each way to write a key, on the server that is strictest about it.
ENCODERS = frozenset({"memory", "file", "s3-swift", "s3-ceph", "azure", "gcs"})
