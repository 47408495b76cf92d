"""The command line, run within the test's own process: quick, and what it prints is at hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from s3dlio.cli.main import main
from s3dlio.client import Client
from tests.servers import Server


@dataclass(frozen=True)
class Run:
    """How one command line ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The JSON objects on standard error, one a line."""
        return [json.loads(line) for line in self.err.splitlines()]


Cli = Callable[..., Run]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs ``s3-cli`` with the given words; ``code`` is the exit code expected."""

    def run(*words: object, code: int = 0) -> Run:
        capsys.readouterr()
        ended = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert ended == code, err
        return Run(ended, out, err)

    return run


@pytest.fixture
def bucket(moto_server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URI of a new bucket, with a ``/``; its service is in the environment."""
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]
    Client().create_bucket(name)
    return f"s3://{name}/"
