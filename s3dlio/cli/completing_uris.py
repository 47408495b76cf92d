"""Buckets and keys for the shell's completion: asked for at once, and remembered for some seconds.

A shell waits for the answer, so a request is sent once, and the one who asks ends after a second in any case.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from s3dlio.cli.context import Context
from s3dlio.cli.output import Output
from s3dlio.client import Client
from s3dlio.config.settings import Settings

#: So long (seconds) an answer is good for; files older than the second are removed.
FRESH, _OLD = 15.0, 3600.0
#: Options of the command that lead to other services, or to other accounts.
_OPTIONS = (
    "endpoint_url", "endpoints", "load_balance", "no_sign_request", "ca_bundle", "bwlimit", "region", "profile",
)  # fmt: skip
#: Variables that do so.
_VARIABLES = ("AWS_", "AZURE_", "GCS_", "GOOGLE_", "S3", "STORAGE_EMULATOR")


def uris(word: str, values: Mapping[str, str | bool]) -> list[str]:
    """The URIs that begin with ``word``: buckets (``s3://bucket/``), directories (which end in ``/``), objects.

    Args:
        word: what was typed, a scheme at least.
        values: of the options on the command line.

    Raises:
        S3dlioError: the service does not answer.
    """
    logging.disable()
    parent = word[: word.rindex("/") + 1]
    about = [values.get(name) for name in _OPTIONS]
    named = remembered(parent, about)
    if named is None:
        client = _client(values)
        is_service = parent.count("/") == 2 or (parent.startswith("az://") and parent.count("/") == 3)
        try:
            named, whole = (_buckets(client, parent), True) if parent.count("/") == 2 else _keys(client, word)
        except Exception:
            if not is_service:
                raise
            named, whole = _buckets(client, parent), True  # az://account/
        if whole:
            remember(parent, about, named)
    return [uri for uri in named if uri.startswith(word)]


def _client(values: Mapping[str, str | bool]) -> Client:
    args = argparse.Namespace(**{name: values.get(name) for name in _OPTIONS})
    given = Context(args, Output()).given
    given["retry"] = {"max_attempts": 1}
    return Client(Settings.resolve(**given))


def _buckets(client: Client, parent: str) -> list[str]:
    return [f"{str(found['uri']).rstrip('/')}/" for found in client.list_containers(parent)]


def _keys(client: Client, word: str) -> tuple[list[str], bool]:
    """One page of what is below the word; and whether that is all that its directory has."""
    store, key = client.store_for(word)
    pages = list(islice(store.list(key, recursive=False), 1))
    found = sorted(store.uri(name) for page in pages for name in (*page.prefixes, *page.keys) if name != key)
    return found, word.endswith("/") and len(found) < 1000


def remembered(parent: str, about: object) -> list[str] | None:
    """What was found in a directory just before; None: nothing that is still good."""
    with contextlib.suppress(OSError, ValueError):
        path = _path(parent, about)
        if 0 <= time.time() - path.stat().st_mtime < FRESH:
            found: list[str] = json.loads(path.read_text())
            return found
    return None


def remember(parent: str, about: object, found: list[str]) -> None:
    """Keep it for the next Tab, where there is a place for that."""
    with contextlib.suppress(OSError):
        path = _path(parent, about)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in path.parent.iterdir():
            if time.time() - other.stat().st_mtime > _OLD:
                other.unlink()
        new = path.with_suffix(f".{os.getpid()}")
        new.touch(0o600)
        new.write_text(json.dumps(found))
        new.rename(path)


def _path(parent: str, about: object) -> Path:
    """Where the names of a directory are kept, for this service and these credentials."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    surroundings = sorted(item for item in os.environ.items() if item[0].startswith(_VARIABLES))
    name = hashlib.sha256(repr((parent, about, surroundings)).encode("utf-8", "surrogateescape")).hexdigest()
    return Path(home, "s3dlio", "completion", name)
