"""Installing: once, even when asked by many; not at all when it fails; and the reason says what to do."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.servers import ServerUnavailable, install


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(install, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_many_at_once_install_once() -> None:
    calls: list[Path] = []

    def slowly(folder: Path) -> None:
        calls.append(folder)
        time.sleep(0.05)
        (folder / "program").touch()

    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(install._install_once("thing", ["thing==1"], slowly)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(found) == 8
    assert len(set(found)) == 1
    assert (found[0] / "program").exists()


def test_another_version_is_another_folder() -> None:
    def nothing(folder: Path) -> None:
        pass

    first = install._install_once("thing", ["thing==1"], nothing)
    assert install._install_once("thing", ["thing==2"], nothing) != first


@pytest.mark.parametrize("in_place", [True, False])
def test_a_failure_is_tried_again(in_place: bool) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "half").touch()
        raise ServerUnavailable("apt-get install thing")

    def succeed(folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    with pytest.raises(ServerUnavailable, match="apt-get install thing"):
        install._install_once("thing", ["thing==1"], fail, in_place=in_place)
    folder = install._install_once("thing", ["thing==1"], succeed, in_place=in_place)
    assert sorted(path.name for path in folder.iterdir()) == [".complete"]


def test_what_cannot_be_had_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ServerUnavailable, match="apt-get install npm"):
        install.npm_package("azurite@1")
    with pytest.raises(ServerUnavailable, match="install no-such-package"):
        install.debian_program("no-such-program", "no-such-package")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ServerUnavailable, match="as root: apt-get install"):
        install.debian_packages(["no-such-program"], ["no-such-package"])
