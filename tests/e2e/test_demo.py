"""The demo itself: it runs on a service that is given, leaves nothing behind, and sees every difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio.client import Client
from tests.e2e import demo
from tests.servers import Server

BUCKET = "demo-bucket"


@pytest.fixture
def tree(moto_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A small tree; the service is in the environment."""
    for name, value in moto_server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(demo, "GENERATED", 3)
    s3dlio.configure_s3()  # the default client takes up the environment of this test
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "a").write_bytes(b"alpha")
    (tmp_path / "tree" / "sub" / "empty").touch()
    return tmp_path / "tree"


def test_every_byte_is_verified_and_nothing_stays(tree: Path, capsys: pytest.CaptureFixture[str]):
    assert demo.main(["--tree", str(tree), "--bucket", BUCKET]) == 0
    out = capsys.readouterr().out
    assert "every byte verified: 9 objects" in out  # the tree three times, and the generated objects
    assert "upload  tree -> s3://" in out
    assert list(Client().list(f"s3://{BUCKET}/", recursive=True)) == []


@pytest.mark.parametrize("command", ["download", "put"])
def test_a_difference_is_found(
    tree: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    real = demo.s3_cli

    def damaging(*words: object) -> Sequence[dict[str, Any]]:
        result = real(*words)
        if words[0] == command == "download":
            (Path(str(words[3]).partition("://")[2]) / "a").write_bytes(b"alphA")
        elif words[0] == command:
            Client().put_bytes(str(words[1]) + demo.TEMPLATE.format(1, 3), b"damaged")
        return result

    monkeypatch.setattr(demo, "s3_cli", damaging)
    assert demo.main(["--tree", str(tree), "--bucket", BUCKET]) == 1
    err = capsys.readouterr().err
    assert "1 objects differ: " in err
    assert list(Client().list(f"s3://{BUCKET}/", recursive=True)) == []
