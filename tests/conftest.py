"""What every test shares: an environment without the user's accounts, servers started once, fast tests first."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from s3dlio import api
from s3dlio.config import settings
from s3dlio.memory.pool import default_pool
from tests.servers import Server, ServerUnavailable, reaper
from tests.servers.azurite import AzuriteServer
from tests.servers.certs import Authority, make_authority
from tests.servers.gcs import GcsServer
from tests.servers.gcs_scripted import FullGcsServer
from tests.servers.moto_server import MotoServer
from tests.servers.nginx import NginxServer
from tests.servers.radosgw import RadosgwServer
from tests.servers.swift import SwiftServer

ORDER = ("unit", "wire", "properties", "simulation", "servers", "conformance", "faults", "security", "e2e")
FOREIGN = (
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GCS_",
    "GCLOUD_",
    "CLOUDSDK_",
    "STORAGE_EMULATOR_HOST",
    "S3DLIO_",
    "BOTO",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_",
    "REQUESTS_CA_BUNDLE",
)

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

USER_ENVIRON = dict(os.environ)
"""The environment as it was, for tests against real accounts, which run only where the user gave credentials."""


def _leave_user_accounts_alone() -> None:
    """Take the user's cloud settings out of the environment, and point HOME at an empty folder."""
    for name in list(os.environ):
        if name.upper().startswith(FOREIGN):
            del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="s3dlio-home-"))
    reaper.watch(home)
    os.environ.update(
        HOME=str(home),
        AWS_CONFIG_FILE=str(home / "aws-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(home / "aws-credentials"),
        AWS_EC2_METADATA_DISABLED="true",
        CLOUDSDK_CONFIG=str(home / "gcloud"),
        NO_GCE_CHECK="true",
        S3DLIO_LOAD_DOTENV="0",
    )


_leave_user_accounts_alone()

# A shell's background job ignores Ctrl-C, and all that it starts does: the tests that send one would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ceph", action="store_true", help="also run on Ceph radosgw (root: installs Debian packages)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        part = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
        return ORDER.index(part) if part in ORDER else len(ORDER)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _same_environment_after() -> Iterator[None]:
    """No test leaves variables or another working folder behind."""
    before, folder = dict(os.environ), os.getcwd()
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)
    os.chdir(folder)


@pytest.fixture(scope="session")
def user_environ() -> dict[str, str]:
    """The environment that pytest was started with: for tests against real accounts only."""
    return dict(USER_ENVIRON)


@pytest.fixture(scope="module", autouse=True)
def _quick_collections() -> None:
    """Collections look at what the tests of a file have made; all that the suite imports would take them a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is configured, the default client is made again, and the pool of buffers stays as large as it was."""
    settings.reset_configured()
    monkeypatch.setattr(default_pool(), "max_idle_bytes", default_pool().max_idle_bytes)
    monkeypatch.setattr(api, "_default", None)
    yield
    settings.reset_configured()


@pytest.fixture
def faulty_gcs_server() -> Iterator[FullGcsServer]:
    """Our own Google Cloud Storage with one bucket; a test uses every fault that it plans."""
    with FullGcsServer() as server:
        server.buckets["bucket"] = {}
        yield server
        assert server.faults == [], "a fault was not used"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private certificate authority with a certificate for localhost."""
    return make_authority(tmp_path_factory.mktemp("authority"))


def _running(make: Callable[[], Server]) -> Iterator[Server]:
    server = make()
    try:
        server.start()
    except ServerUnavailable as error:
        if isinstance(server, SwiftServer):  # needs nothing but PyPI: never skipped
            raise
        pytest.skip(f"{server.name}: {error}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Server]:
    """moto's S3: no signatures checked; counts requests."""
    yield from _running(MotoServer)


@pytest.fixture(scope="session")
def swift_server() -> Iterator[Server]:
    """OpenStack Swift's S3: signatures enforced."""
    yield from _running(SwiftServer)


@pytest.fixture(scope="session")
def swift_tls_server(authority: Authority) -> Iterator[Server]:
    """OpenStack Swift's S3 over TLS with a private authority."""
    yield from _running(lambda: SwiftServer(tls=authority))


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[Server]:
    """Azure Blob: signatures enforced."""
    yield from _running(AzuriteServer)


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[Server]:
    """Google Cloud Storage's JSON API."""
    yield from _running(GcsServer)


@pytest.fixture(scope="session")
def gcs_full_server() -> Iterator[FullGcsServer]:
    """Our own Google Cloud Storage, which follows its documents."""
    with FullGcsServer() as server:
        yield server


@pytest.fixture(scope="session")
def nginx_server() -> Iterator[Server]:
    """nginx with dav, reading back what was put."""
    yield from _running(lambda: NginxServer(cache=False))


@pytest.fixture(scope="session")
def radosgw_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Ceph's S3, with --ceph only."""
    if not request.config.getoption("--ceph"):
        pytest.skip("radosgw: only with --ceph (make test-ceph)")
    yield from _running(RadosgwServer)
