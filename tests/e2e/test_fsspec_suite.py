"""fsspec's own suite for file systems, on each kind of store."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec")

from fsspec.tests import abstract

from s3dlio.client import Client
from s3dlio.fsspec import (
    AzureFileSystem,
    DirectFileSystem,
    FileFileSystem,
    GcsFileSystem,
    S3dlioFileSystem,
    S3FileSystem,
)
from tests.servers import Server

_numbers = itertools.count(1)
_made: set[str] = set()
_clients: dict[str, Client] = {}


class _Cloud(abstract.AbstractFixtures):
    """A file system over a container of a test server."""

    kind: type[S3dlioFileSystem]
    server: str
    container: str

    @pytest.fixture
    def fs(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3dlioFileSystem:
        server: Server = request.getfixturevalue(self.server)
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        if self.server not in _clients:
            _clients[self.server] = Client()
        fs = self.kind.of(_clients[self.server])
        if (place := f"{self.server} {self.container}") not in _made:
            fs.mkdir(self.container)
            _made.add(place)
        return fs

    @pytest.fixture
    def fs_join(self) -> Any:
        return lambda *args: "/".join(args)

    @pytest.fixture
    def fs_path(self) -> str:
        return f"{self.container}/test-{next(_numbers)}"

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class _Local(abstract.AbstractFixtures):
    kind: type[S3dlioFileSystem]
    base = ""

    @pytest.fixture
    def fs(self) -> S3dlioFileSystem:
        return self.kind()

    @pytest.fixture
    def fs_path(self, tmp_path: Path) -> str:
        return f"{self.base}{tmp_path}/remote"


class _S3(_Cloud):
    kind = S3FileSystem
    server = "moto_server"
    container = "fsspec-suite"


class _Fewer:
    """Leaves out the long tables of globs: what they mean is the same on every store."""

    test_copy_glob_edge_cases = test_get_glob_edge_cases = test_put_glob_edge_cases = None


class _Azure(_Fewer, _Cloud):
    kind = AzureFileSystem
    server = "azurite_server"
    container = "devstoreaccount1/fsspec-suite"


class _Gcs(_Fewer, _Cloud):
    kind = GcsFileSystem
    server = "gcs_full_server"
    container = "fsspec-suite"


class _Named(_S3):
    kind = S3dlioFileSystem
    container = "s3/fsspec-suite-named"


class _File(_Local):
    kind = FileFileSystem


class _Direct(_Fewer, _Local):
    kind = DirectFileSystem


class _NamedFile(_Local):
    kind = S3dlioFileSystem
    base = "file"


class TestCopyS3(_Fewer, _S3, abstract.AbstractCopyTests):
    pass


class TestGetS3(_S3, abstract.AbstractGetTests):
    pass


class TestPutS3(_Fewer, _S3, abstract.AbstractPutTests):
    pass


class TestPipeS3(_S3, abstract.AbstractPipeTests):
    pass


class TestOpenS3(_S3, abstract.AbstractOpenTests):
    pass


class TestCopyAzure(_Azure, abstract.AbstractCopyTests):
    pass


class TestGetAzure(_Azure, abstract.AbstractGetTests):
    pass


class TestPutAzure(_Azure, abstract.AbstractPutTests):
    pass


class TestPipeAzure(_Azure, abstract.AbstractPipeTests):
    pass


class TestOpenAzure(_Azure, abstract.AbstractOpenTests):
    pass


class TestCopyGcs(_Gcs, abstract.AbstractCopyTests):
    pass


class TestGetGcs(_Gcs, abstract.AbstractGetTests):
    pass


class TestPutGcs(_Gcs, abstract.AbstractPutTests):
    pass


class TestPipeGcs(_Gcs, abstract.AbstractPipeTests):
    pass


class TestOpenGcs(_Gcs, abstract.AbstractOpenTests):
    pass


class TestCopyFile(_File, abstract.AbstractCopyTests):
    pass


class TestGetFile(_File, abstract.AbstractGetTests):
    pass


class TestPutFile(_File, abstract.AbstractPutTests):
    pass


class TestPipeFile(_File, abstract.AbstractPipeTests):
    pass


class TestOpenFile(_File, abstract.AbstractOpenTests):
    pass


class TestCopyDirect(_Direct, abstract.AbstractCopyTests):
    pass


class TestGetDirect(_Direct, abstract.AbstractGetTests):
    pass


class TestPutDirect(_Direct, abstract.AbstractPutTests):
    pass


class TestPipeDirect(_Direct, abstract.AbstractPipeTests):
    pass


class TestOpenDirect(_Direct, abstract.AbstractOpenTests):
    pass


class TestPipeNamed(_Named, abstract.AbstractPipeTests):
    pass


class TestOpenNamed(_Named, abstract.AbstractOpenTests):
    pass


class TestPipeNamedFile(_NamedFile, abstract.AbstractPipeTests):
    pass


class TestOpenNamedFile(_NamedFile, abstract.AbstractOpenTests):
    pass
