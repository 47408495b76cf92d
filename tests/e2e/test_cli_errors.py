"""What goes wrong is one line, whoever raised it; where, is told with -vv only."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SSO = (
    "[profile s]\nsso_session = my\nsso_account_id = 1\nsso_role_name = r\n"
    "[sso-session my]\nsso_region = x\nsso_start_url = https://x.example\nsso_registration_scopes = a\n"
)
ROLE = (
    "[profile r]\nrole_arn = x\nsource_profile = b\nmfa_serial = m\n"
    "[profile b]\naws_access_key_id = A\naws_secret_access_key = S\n"
)


def run(home: Path, *words: str, config: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (home / ".aws" / "config").write_text(config)
    (cache / f"{hashlib.sha1(b'my').hexdigest()}.json").write_text("{")
    with socket.create_server(("127.0.0.1", 0)) as listening:  # who looks for keys has a connection already
        environ = {
            "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path),
            "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listening.getsockname()[1]}", **variables,
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "s3dlio", *words], env=environ, cwd=home, stdin=subprocess.DEVNULL,
            start_new_session=True, capture_output=True, text=True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "variables", "says"),
    [
        ("region = x\n[default]\n", {}, "the AWS profiles cannot be read"),
        (SSO, {"AWS_PROFILE": "s"}, "no credentials for S3"),
        (ROLE, {"AWS_PROFILE": "r"}, "there is no terminal to ask for it"),
        ("", {"http_proxy": "socks5://127.0.0.1:1"}, "is no HTTP proxy"),
    ],
    ids=["damaged profiles", "damaged login", "code without a terminal", "proxy"],
)
def test_an_error_is_one_line(tmp_path: Path, config: str, variables: dict[str, str], says: str) -> None:
    ended = run(tmp_path, "cat", "s3://b/k", config=config, **variables)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: ")
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr


def test_where_it_happened_is_told_when_asked_for(tmp_path: Path) -> None:
    ended = run(tmp_path, "-vv", "cat", "s3://b/k", config="region = x\n")
    assert "Traceback" in ended.stderr
    assert "ConfigParseError" in ended.stderr
