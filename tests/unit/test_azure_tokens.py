"""Tokens of Microsoft Entra ID: fetched once, renewed ahead of time in the background, never shown."""

from __future__ import annotations

import threading
import time
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy

from s3dlio import errors
from s3dlio.stores.azure.credentials import entra_tokens
from s3dlio.stores.cloud.tokens import Token
from s3dlio.stores.sdk.azure_objects import TokenCredential

AccessToken = namedtuple("AccessToken", "token expires_on")


class Credential:
    """Hands out tokens ``t1``, ``t2``, ... each good for so many seconds; fails where an exception stands."""

    def __init__(self, *lives: float | Exception) -> None:
        self.lives = list(lives)
        self.asked = 0
        self.renewed = threading.Event()

    def get_token(self, scope: str) -> AccessToken:
        assert scope == "https://storage.azure.com/.default"
        self.asked += 1
        life = self.lives.pop(0)
        if self.asked > 1:
            self.renewed.set()
        if isinstance(life, Exception):
            raise life
        return AccessToken(f"t{self.asked}", int(time.time() + life))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_token_is_kept() -> None:
    credential = Credential(3600)
    source = entra_tokens(lambda: credential)
    assert [source() for _ in range(5)] == ["t1"] * 5


def test_the_credential_is_made_when_it_is_needed() -> None:
    made: list[int] = []
    source = entra_tokens(lambda: made.append(1) or Credential(3600))
    assert not made
    source()
    assert made == [1]


def test_threads_fetch_it_once() -> None:
    credential = Credential(3600)
    source = entra_tokens(lambda: credential)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: source(), range(64))) == {"t1"}
    assert credential.asked == 1


def test_it_is_renewed_ahead_of_its_end_beside_the_requests() -> None:
    credential = Credential(300, 3600)
    source = entra_tokens(lambda: credential)
    assert source() == "t1"
    assert source() == "t1"  # still good; its successor is on the way
    assert credential.renewed.wait(10)
    until(lambda: source() == "t2")
    assert credential.asked == 2


def test_a_renewal_that_fails_waits_before_the_next(caplog: pytest.LogCaptureFixture) -> None:
    credential = Credential(300, RuntimeError("secret-detail"), 3600)
    source = entra_tokens(lambda: credential)
    source(), source()
    assert credential.renewed.wait(10)
    until(lambda: not source._renewing)
    assert [source() for _ in range(5)] == ["t1"] * 5
    assert credential.asked == 2
    assert "could not be renewed" in caplog.text
    assert "secret-detail" not in caplog.text


def test_one_that_has_ended_is_renewed_before_the_request() -> None:
    credential = Credential(5, 3600)
    source = entra_tokens(lambda: credential)
    assert (source(), source()) == ("t1", "t2")


def test_one_that_the_service_refused_is_forgotten() -> None:
    credential = Credential(3600, 3600)
    source = entra_tokens(lambda: credential)
    source()
    source.forget()
    assert source() == "t2"


def test_many_that_are_refused_have_one_new_one_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("s3dlio.stores.cloud.tokens.time.monotonic", lambda: now[0])
    credential = Credential(3600, 3600, 3600)
    source = entra_tokens(lambda: credential)
    source()
    for _ in range(5):
        source.forget()
        assert source() == "t2"
    now[0] += 6
    source.forget()
    assert source() == "t3"


def test_the_sdk_gets_a_new_one_when_the_service_has_refused_its() -> None:
    credential = Credential(3600, 3600)
    for_sdk = TokenCredential(entra_tokens(lambda: credential))
    assert [for_sdk.get_token("scope").token for _ in range(2)] == ["t1", "t1"]
    assert for_sdk.get_token("scope", tenant_id="told by the service").token == "t2"


def test_nobody_is_logged_in() -> None:
    source = entra_tokens(lambda: Credential(ClientAuthenticationError(message="nobody\nlong\nstory")))
    with pytest.raises(errors.PermissionDeniedError, match="nobody") as caught:
        source()
    assert "long" not in str(caught.value)
    assert "az login" in str(caught.value)


def test_tokens_are_not_shown() -> None:
    credential = Credential(3600)
    source = entra_tokens(lambda: credential)
    token = source()
    assert token not in repr(source)
    assert token not in repr(Token(token, 0.0))


def test_the_sdk_asks_for_each_request() -> None:
    source = entra_tokens(lambda: Credential(5, 3600))
    credential = TokenCredential(source)
    assert [credential.get_token("scope").token for _ in range(3)] == ["t1", "t2", "t2"]
    policy: Any = BearerTokenCredentialPolicy(credential, "scope")  # type: ignore[no-untyped-call]
    policy._request_token("scope")
    assert policy._need_new_token, "it keeps none"
