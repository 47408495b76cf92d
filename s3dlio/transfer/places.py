"""What users name as the source or the destination of a transfer: URIs and local paths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from s3dlio.errors import InvalidURIError
from s3dlio.stores.base import ObjectStore
from s3dlio.uri import LOCAL_SCHEMES, SCHEMES, has_scheme, likely_meant

Places = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


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


def place_list(places: Places) -> list[str | os.PathLike[str]]:
    """What the user named, one or several, as a list."""
    return [places] if isinstance(places, (str, os.PathLike)) else list(places)


def name_places(places: Sequence[str | os.PathLike[str]]) -> str:
    """``places`` for messages and journals: the first by their URIs, the others by their number."""
    named = ", ".join(place_uri(place) for place in places[:3])
    return f"{named} and {len(places) - 3} more" if len(places) > 3 else named


def as_directory(key: str) -> str:
    """``key`` with a ``/`` at its end, unless it is the root."""
    return key if not key or key.endswith("/") else key + "/"


def any_uri(store: ObjectStore) -> str:
    """A URI by which another process finds the same store."""
    return f"{store.scheme}:///x" if store.scheme in LOCAL_SCHEMES else store.uri("x")
