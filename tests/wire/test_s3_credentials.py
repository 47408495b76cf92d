"""Every source of credentials that botocore knows, and their renewal in the middle of a batch."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import s3dlio as api
from s3dlio.client import Client
from s3dlio.config.settings import Settings
from s3dlio.errors import PermissionDeniedError
from s3dlio.stores.s3 import S3Account

Route = Callable[[], tuple[int, str]]


def later(minutes: float) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def keys_as_json(name: str, minutes: float = 60) -> str:
    """As containers and instances answer."""
    return json.dumps({
        "Code": "Success", "AccessKeyId": name, "SecretAccessKey": "secret", "Token": "token",
        "Expiration": later(minutes),
    })  # fmt: skip


class Authorities:
    """A server that plays those who give out keys: routes by path, and the Authorization fields that came."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.signed: list[str] = []
        self.headers: list[tuple[str, str]] = []
        authorities = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                path = self.path.partition("?")[0]
                authorities.signed.append(self.headers.get("Authorization", ""))
                status, text = authorities.routes.get(path, lambda: (404, ""))()
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in authorities.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def authorities() -> Iterator[Authorities]:
    made = Authorities()
    yield made
    made.stop()


def account() -> S3Account:
    return S3Account(Settings.resolve())


def profile(monkeypatch: pytest.MonkeyPatch, path: Path, lines: str) -> None:
    (path / "config").write_text(f"[profile lab]\nregion = eu-west-1\n{lines}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")


def test_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = {"Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "s", "Expiration": later(60)}
    (tmp_path / "keys.py").write_text(f"import json\nprint(json.dumps({keys!r}))\n")
    profile(monkeypatch, tmp_path, f"credential_process = {sys.executable} {tmp_path / 'keys.py'}")
    assert account().credentials() == ("AKIDPROCESS", "s", None)


def test_a_container(monkeypatch: pytest.MonkeyPatch, authorities: Authorities) -> None:
    authorities.routes["/keys"] = lambda: (200, keys_as_json("AKIDCONTAINER"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", authorities.url + "/keys")
    assert account().credentials() == ("AKIDCONTAINER", "secret", "token")


def test_an_instance(monkeypatch: pytest.MonkeyPatch, authorities: Authorities) -> None:
    role = "/latest/meta-data/iam/security-credentials/"
    authorities.routes = {
        "/latest/api/token": lambda: (200, "session"),
        role: lambda: (200, "lab"),
        role + "lab": lambda: (200, keys_as_json("AKIDINSTANCE")),
    }
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", authorities.url + "/")
    assert account().credentials() == ("AKIDINSTANCE", "secret", "token")


ASSUMED = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIDWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t</SessionToken><Expiration>{}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""
REFUSED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"""


@pytest.fixture
def web_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authorities: Authorities) -> Authorities:
    (tmp_path / "token").write_text("the token of a pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/lab")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", authorities.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return authorities


def test_web_identity(web_identity: Authorities) -> None:
    web_identity.routes["/"] = lambda: (200, ASSUMED.format(later(60)))
    assert account().credentials() == ("AKIDWEB", "s", "t")


def test_web_identity_that_is_refused(web_identity: Authorities) -> None:
    web_identity.routes["/"] = lambda: (403, REFUSED)
    with pytest.raises(PermissionDeniedError, match="not you"):
        account().credentials()


def test_single_sign_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authorities: Authorities) -> None:
    start = "https://example.awsapps.com/start"
    profile(
        monkeypatch, tmp_path,
        f"sso_start_url = {start}\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = lab",
    )  # fmt: skip
    monkeypatch.setattr("botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR", str(tmp_path))
    login = {"startUrl": start, "region": "eu-west-1", "accessToken": "login", "expiresAt": later(60)}
    (tmp_path / (hashlib.sha1(start.encode()).hexdigest() + ".json")).write_text(json.dumps(login))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", authorities.url)
    ends = int(datetime.datetime.now().timestamp() + 3600) * 1000
    keys = {"accessKeyId": "AKIDSSO", "secretAccessKey": "s", "sessionToken": "t", "expiration": ends}
    authorities.routes["/federation/credentials"] = lambda: (200, json.dumps({"roleCredentials": keys}))
    assert account().credentials() == ("AKIDSSO", "s", "t")


@pytest.mark.parametrize("command", ["/nonexistent/program", "echo no-json", "false"])
def test_a_process_that_gives_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    profile(monkeypatch, tmp_path, f"credential_process = {command}")
    with pytest.raises(PermissionDeniedError, match="no credentials for S3") as caught:
        account().credentials()
    assert getattr(caught.value.__cause__, "doc", None) is None  # what a broken program wrote may hold keys


@pytest.mark.parametrize("threads", [1, 8])
def test_a_failing_program_runs_once_for_a_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authorities: Authorities, threads: int
) -> None:
    runs = tmp_path / "runs"
    (tmp_path / "keys.py").write_text(f"open({str(runs)!r}, 'a').write('x')\nraise SystemExit('not logged in')\n")
    profile(monkeypatch, tmp_path, f"credential_process = {sys.executable} {tmp_path / 'keys.py'}")
    uris = [f"s3://b/{number}" for number in range(40)]
    lab = f"eu-lab-{threads}"  # an account of its own
    with Client(endpoint_url=authorities.url, region=lab) as client, ThreadPoolExecutor(threads) as pool:
        batches = list(pool.map(lambda _: client.get_many_outcomes(uris), range(threads)))
    for outcomes in batches:
        assert len(outcomes) == len(uris)
        assert all(isinstance(found, PermissionDeniedError) and "not logged in" in str(found) for _, found in outcomes)
    assert runs.read_text() == "x"


def test_a_failing_source_is_asked_again_in_time(monkeypatch: pytest.MonkeyPatch, authorities: Authorities) -> None:
    now, asked = 1000.0, [0]

    def keys() -> tuple[int, str]:
        asked[0] += 1
        return (400, "no") if asked[0] == 1 else (200, keys_as_json("AKIDLATER"))

    monkeypatch.setattr("s3dlio.stores.s3.credentials.time.monotonic", lambda: now)
    authorities.routes["/keys"] = keys
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.RETRY_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", authorities.url + "/keys")
    mine = account()
    for _ in range(3):
        with pytest.raises(PermissionDeniedError, match="no credentials for S3: "):
            mine.credentials()
    assert asked == [1]
    now += 6.0
    assert mine.credentials().access_key == "AKIDLATER"


@pytest.mark.parametrize("minutes", [5.0, 0.5], ids=["beside the requests", "before the next request"])
def test_keys_are_renewed_in_the_middle_of_a_batch(
    monkeypatch: pytest.MonkeyPatch, authorities: Authorities, minutes: float
) -> None:
    given: list[str] = []

    def keys() -> tuple[int, str]:
        given.append(f"AKID{len(given)}")
        return 200, keys_as_json(given[-1], minutes if len(given) == 1 else 60)

    def slowly() -> tuple[int, str]:
        threading.Event().wait(0.05)
        return 200, "data"

    authorities.routes["/keys"] = keys
    uris = [f"s3://b/{number}" for number in range(60)]
    authorities.routes |= {f"/b/{number}": slowly for number in range(60)}
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", authorities.url + "/keys")
    with Client(endpoint_url=authorities.url) as client:
        assert client.get_many_stats(uris, 2) == (60, 240)
    users = {field.partition("Credential=")[2].partition("/")[0] for field in authorities.signed}
    assert {"AKID0", "AKID1"} - users == ({"AKID0"} if minutes < 1 else set())
    assert len(given) == 2


# -- refused before their time


def refused_until(authorities: Authorities, wanted: str) -> Route:
    """The route of an object for which only the keys ``wanted`` are good."""

    def answer() -> tuple[int, str]:
        if f"Credential={wanted}/" in authorities.signed[-1]:
            return 200, "data"
        return 400, "<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>"

    return answer


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, authorities: Authorities) -> list[str]:
    """Keys of a container, new ones at each call though the old ones are far from their end; those it gave."""
    given: list[str] = []

    def keys() -> tuple[int, str]:
        given.append(f"AKID{len(given)}")
        return 200, keys_as_json(given[-1])

    authorities.routes["/keys"] = keys
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", authorities.url + "/keys")
    return given


@pytest.mark.parametrize("backend", ["native", "boto3", "arrow"])
def test_keys_that_are_refused_are_fetched_anew(authorities: Authorities, container: list[str], backend: str) -> None:
    authorities.routes["/b/k"] = refused_until(authorities, "AKID1")
    authorities.headers = [("ETag", '"e"'), ("Last-Modified", "Fri, 20 Nov 2026 23:52:48 GMT")]
    with Client(endpoint_url=authorities.url, s3={"backend": backend}, retry={"max_attempts": 1}) as client:
        assert client.get("s3://b/k") == b"data"
    assert container == ["AKID0", "AKID1"]


def test_many_that_are_refused_ask_once(authorities: Authorities, container: list[str]) -> None:
    authorities.routes |= {f"/b/{number}": refused_until(authorities, "AKID1") for number in range(20)}
    with Client(endpoint_url=authorities.url) as client, ThreadPoolExecutor(4) as pool:
        uris = [f"s3://b/{number}" for number in range(20)]
        found = list(pool.map(lambda uri: client.get(uri), uris))
    assert found == [b"data"] * 20
    assert container == ["AKID0", "AKID1"]


def test_keys_that_stay_the_same_are_not_sent_again_and_again(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorities.routes["/keys"] = lambda: (200, keys_as_json("AKIDSAME").replace(later(60), "2099-01-01T00:00:00Z"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", authorities.url + "/keys")
    authorities.routes["/b/k"] = refused_until(authorities, "OTHER")
    with Client(endpoint_url=authorities.url) as client:
        for _ in range(2):
            with pytest.raises(PermissionDeniedError, match="ExpiredToken"):
                client.get("s3://b/k")
    # The first one is sent again, with what was fetched; the second comes so soon that this is known to be no better.
    assert len([field for field in authorities.signed if "AKIDSAME" in field]) == 3


def test_the_event_loop_does_not_wait_for_keys_in_place_of_refused_ones(
    authorities: Authorities, container: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authorities.routes["/b/k"] = refused_until(authorities, "AKID1")
    asked, go_on, first = threading.Event(), threading.Event(), authorities.routes["/keys"]

    def slow() -> tuple[int, str]:
        if container:
            asked.set()
            assert go_on.wait(30)
        return first()

    authorities.routes["/keys"] = slow

    async def work() -> None:
        reading = asyncio.create_task(api.get_async("s3://b/k"))
        while not asked.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)  # the loop turns while the keys are on their way
        go_on.set()
        assert await reading == b"data"

    with Client(endpoint_url=authorities.url) as client:
        monkeypatch.setattr("s3dlio.api._default", client)
        asyncio.run(work())
    assert container == ["AKID0", "AKID1"]


def test_keys_that_another_program_writes_are_read_anew(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def write(name: str) -> None:
        (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id={name}\naws_secret_access_key=s\n")

    write("AKIDOLD")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    authorities.routes["/b/k"] = refused_until(authorities, "AKIDNEW")
    with Client(endpoint_url=authorities.url) as client:
        client.get_many_outcomes(["s3://b/k"])
        write("AKIDNEW")
        monkeypatch.setattr("s3dlio.stores.s3.credentials._LOOK_AGAIN", 0.0)
        assert client.get("s3://b/k") == b"data"


@pytest.mark.parametrize("where", ["variable", "argument", "profile"])
def test_the_region_reaches_those_who_give_roles(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    keys = "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\n"
    role = "role_arn = arn:aws:iam::123456789012:role/lab\nsource_profile = base\n"
    region = "region = eu-lab-1\n" if where == "profile" else ""
    (tmp_path / "config").write_text(f"{keys}[profile lab]\n{region}{role}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", authorities.url)
    if where == "variable":
        monkeypatch.setenv("AWS_REGION", "eu-lab-1")
    authorities.routes["/"] = lambda: (200, ASSUMED.replace("WithWebIdentity", "").format(later(60)))
    settings = Settings.resolve(s3={"region": "eu-lab-1"} if where == "argument" else {})
    assert S3Account(settings).credentials() == ("AKIDWEB", "s", "t")
    assert "/eu-lab-1/sts/aws4_request" in authorities.signed[-1]
