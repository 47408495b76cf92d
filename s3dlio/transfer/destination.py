"""The destination of a transfer: a store and a prefix of keys, or a local directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from s3dlio.errors import InvalidURIError
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.local.store import LocalStore
from s3dlio.transfer.destination_directory import Landing
from s3dlio.transfer.file_routes import Care, FileToStore, Route, StoreToFile
from s3dlio.transfer.glob import Glob, is_glob
from s3dlio.transfer.select_local import Root
from s3dlio.transfer.store_routes import Relay, ServerCopy
from s3dlio.uri import LOCAL_SCHEMES, SCHEMES, has_scheme, is_directory_like, likely_meant


def place_uri(place: str | os.PathLike[str]) -> str:
    """The URI of what the user named as a source or destination: a URI, or a local path."""
    text = os.fspath(place)
    if not isinstance(text, str):
        raise TypeError(f"a place is a str or a PathLike of str, not {type(place).__name__}")
    if not text:
        raise InvalidURIError("the source or destination is empty", hint="write a URI or a local path")
    if has_scheme(text) or "://" in text:  # of an unknown scheme: the store's parser says so
        return text
    head, colon, rest = text.partition(":/")
    if colon and head.lower() in SCHEMES:
        raise InvalidURIError(
            "a URI has two slashes behind its scheme", uri=text, hint=f"write {head}://{rest.lstrip('/')}, or ./{text}"
        )
    return "file://" + os.path.abspath(text) + ("/" if text.endswith("/") and text.strip("/") else "")


def destination_uri(place: str | os.PathLike[str], *, of_upload: bool = False) -> str:
    """:func:`place_uri` for a destination: it need not exist, so a mistyped URI would become a local directory.

    Args:
        place: what the user named; a PathLike is a local path whatever it is called.
        of_upload: a local destination is unlikely: a bare name that is not there is refused, too.

    Raises:
        InvalidURIError: it looks like a URI with a mistake in it; ``./`` before it makes it a path.
    """
    if isinstance(place, str) and (meant := likely_meant(place)):
        raise InvalidURIError(
            "the destination looks like a URI with a mistake in it, and was not taken for a local path",
            uri=place, hint=f"write {meant}, or ./{place} for a local directory",
        )  # fmt: skip
    uri = place_uri(place)
    if of_upload and isinstance(place, str) and "://" not in place and place[:1] not in ("/", ".", "~"):
        first = place.partition("/")[0]
        if not os.path.lexists(first):
            raise InvalidURIError(
                f"the destination is no URI, and there is no local '{first}' here",
                uri=place, hint=f"write s3://{place}, or ./{place} for a new local directory",
            )  # fmt: skip
    return uri


Places = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def place_list(places: Places) -> list[str | os.PathLike[str]]:
    """What the user named, one or several, as a list."""
    return [places] if isinstance(places, (str, os.PathLike)) else list(places)


def name_places(places: Sequence[str | os.PathLike[str]]) -> str:
    """``places`` for messages and journals: the first by their URIs, the others by their number."""
    named = ", ".join(place_uri(place) for place in places[:3])
    return f"{named} and {len(places) - 3} more" if len(places) > 3 else named


@dataclass(frozen=True, slots=True)
class Target:
    """Where objects go: keys are ``prefix`` and the name of the item. Local directories come with their landing."""

    store: ObjectStore
    prefix: str
    landing: Landing | None

    def route_from(self, source: ObjectStore, care: Care) -> Route:
        """The way from ``source`` to here."""
        return choose_route(source, self.store, self.prefix, care, self.landing)


@contextlib.contextmanager
def target_at(store: ObjectStore, prefix: str, *, create: bool = False) -> Iterator[Target]:
    """The directory ``prefix`` of ``store`` as a destination; made if it is local.

    Args:
        store: where.
        prefix: gets a ``/`` at the end if it has none.
        create: make the bucket (container) first.
    """
    prefix = as_directory(prefix)
    if store.scheme in LOCAL_SCHEMES:
        with Landing(prefix) as landing:
            yield Target(store, prefix, landing)
        return
    if create:
        store.create_container()
    yield Target(store, prefix, None)


def as_directory(key: str) -> str:
    """``key`` with a ``/`` at its end, unless it is the root."""
    return key if not key or key.endswith("/") else key + "/"


def check_apart(source: ObjectStore, source_key: str, target: ObjectStore, prefix: str) -> None:
    """Refuse a directory that is copied into itself or onto itself: it would never end, or lose data.

    Raises:
        InvalidURIError: it is.
    """
    if source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES:
        inner, outer = _real(prefix), _real(source_key)
    elif source.root == target.root:
        inner, outer = prefix, as_directory(source_key)
    else:
        return
    if inner.startswith(outer):
        itself = "the destination is the source itself"
        raise InvalidURIError(
            itself if inner == outer else f"it is inside {source.uri(as_directory(source_key))}, the other side",
            uri=target.uri(prefix), hint="name another destination; nothing was transferred",
        )  # fmt: skip


def check_glob_apart(source: ObjectStore, glob: str, target: ObjectStore, prefix: str) -> None:
    """Refuse a glob whose matches are copied to where they match again: that would copy copies, too.

    Raises:
        InvalidURIError: they are.
    """
    if source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES:
        if os.path.lexists(glob):
            return
        glob, prefix = os.path.abspath(glob), as_directory(os.path.abspath(prefix))
    elif source.root != target.root:
        return
    if glob and not is_directory_like(glob) and is_glob(glob) and Glob.of(glob).may_match_beneath(prefix):
        raise InvalidURIError(
            f"the glob {source.uri(glob)} matches what would be copied there",
            uri=target.uri(prefix), hint="name another destination; nothing was transferred",
        )  # fmt: skip


def check_not_itself(source: ObjectStore, source_key: str, target: ObjectStore, key: str) -> None:
    """Refuse an object that is copied onto itself.

    Raises:
        InvalidURIError: it is.
    """
    if source.scheme in LOCAL_SCHEMES and target.scheme in LOCAL_SCHEMES:
        same = os.path.realpath(source_key) == os.path.realpath(key)
    else:
        same = (source.root, source_key) == (target.root, key)
    if same:
        raise InvalidURIError("the destination is the source itself", uri=target.uri(key))


def check_roots_apart(roots: Sequence[Root], source: ObjectStore, target: ObjectStore, prefix: str) -> None:
    """:func:`check_apart` for local sources, files among them.

    Raises:
        InvalidURIError: a directory is copied into itself, or a file onto itself.
    """
    for root in roots:
        if root.is_directory:
            check_apart(source, root.path, target, prefix)
        else:
            check_not_itself(source, root.path, target, prefix + root.name)


def _real(path: str) -> str:
    return as_directory(os.path.realpath(path or "."))


def choose_route(
    source: ObjectStore, target: ObjectStore, prefix: str, care: Care, landing: Landing | None = None
) -> Route:
    """The shortest route between two stores.

    Args:
        source: where the items are.
        target: where they go.
        prefix: what their keys begin with there.
        care: see :class:`Care`.
        landing: the directory of ``prefix``, where ``target`` is a local store.
    """
    if isinstance(target, LocalStore) and target.settings.durable:
        care = replace(care, options=replace(care.options, durable=True))
    if landing is not None:
        return (
            StoreToFile(source, landing, care)
            if target.scheme == "file"
            else Relay(source, target, prefix, care, landing)
        )
    if target.can_copy_from(source):
        return ServerCopy(source, target, prefix, care)
    if source.scheme == "file":
        return FileToStore(target, prefix, care)
    return Relay(source, target, prefix, care)
