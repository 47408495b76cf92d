"""Which hosts go past the proxy, as curl and botocore read ``no_proxy``; and what is no proxy."""

from __future__ import annotations

import pytest

from s3dlio.errors import ConfigError
from s3dlio.net.proxies import bypasses, proxy_for


@pytest.mark.parametrize(
    ("host", "no_proxy", "past"),
    [
        ("minio.lab", "minio.lab", True),
        ("MINIO.lab", "x,Minio.Lab.", True),
        ("minio.lab", "minio.lab:9000", True),
        ("minio.lab", "minio.lab:9001", False),
        ("a.minio.lab", "minio.lab", True),
        ("a.minio.lab", ".minio.lab", True),
        ("a.minio.lab", "*.minio.lab", True),
        ("a.minio.lab", "*minio.lab:9000", True),
        ("aminio.lab", "minio.lab", False),
        ("aminio.lab", "*.minio.lab", False),
        ("minio.lab", "lab.minio", False),
        ("minio.lab", "", False),
        ("minio.lab", ", ,", False),
        ("minio.lab", "*", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.1/8 ", True),
        ("10.1.2.3", "11.0.0.0/8 10.1.2.3", True),
        ("10.1.2.3", "10.0.0.0/33", False),
        ("10.1.2.3", "10.1.2.3:9000", True),
        ("10.1.2.3", "10.1.2.3:9", False),
        ("10.1.2.3", "fe80::/10", False),
        ("::1", "::1", True),
        ("::1", "[::1]:9000", True),
        ("::1", "[::1]:9", False),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("fe80::5", "fe80::/10", True),
    ],
)
def test_no_proxy(host: str, no_proxy: str, past: bool) -> None:
    assert bypasses(host, 9000, no_proxy) is past


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://x:99999", "http://[::1", "ftp://x"])
def test_what_is_no_http_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConfigError, match="https_proxy"):
        proxy_for("https", "minio.lab", 9000)
    monkeypatch.setenv("no_proxy", "minio.lab")
    assert proxy_for("https", "minio.lab", 9000) is None
