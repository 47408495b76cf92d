"""An S3 store over a scripted server."""

from __future__ import annotations

import itertools
from typing import Any

from s3dlio.config.settings import Settings
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.executor import InlineExecutor
from s3dlio.memory.sinks import Sink
from s3dlio.stores.s3 import S3Account, S3Store
from tests.servers.scripted import Send, respond

SECRET = "wJalrXUtnFEMI/K7MDENG/verysecret"
_turn = itertools.count(1)


def settings_of(endpoint: str | None, **sections: dict[str, Any]) -> Settings:
    """Settings of a store at ``endpoint``, with quick retries and connections that no other test has used."""
    s3: dict[str, Any] = {"endpoint_url": endpoint, "region": "us-east-1", "access_key_id": "AKIATEST"}
    s3 |= {"secret_access_key": SECRET} | sections.pop("s3", {})
    http = {"read_timeout": 10.0 + next(_turn) / 1000} | sections.pop("http", {})
    retry = {"max_attempts": 3, "base_delay": 0.001, "max_delay": 0.002, "retry_after_cap": 0.01}
    return Settings.resolve({}, s3=s3, http=http, retry=retry | sections.pop("retry", {}), **sections)


def store_of(endpoint: str | None, bucket: str = "b", **sections: dict[str, Any]) -> S3Store:
    settings = settings_of(endpoint, **sections)
    return S3Store(S3Account(settings), bucket)


def read(store: S3Store, key: str, sink: Sink, *, lane: bool, width: int = 8, **options: Any) -> None:
    """Read by the driver for one call, or by the one for batches, ``width`` requests at a time."""
    call = store.read_call(key, sink, **options)
    if not lane:
        store.execute(call)
        return
    failures: list[BaseException] = []

    def done(index: int, result: Any, error: BaseException | None) -> None:
        if error is not None:
            failures.append(error)

    run_calls([call], admission=Admission(width), on_done=done, cancel=CancelToken(), executor=InlineExecutor())
    if failures:
        raise failures.pop()


def error(status: str, code: str, **more: str) -> Send:
    """An answer with an error document."""
    details = "".join(f"<{name}>{value}</{name}>" for name, value in more.items())
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message>{details}</Error>'
    return respond(status, body=body.encode(), headers=[("x-amz-request-id", "RID")])
