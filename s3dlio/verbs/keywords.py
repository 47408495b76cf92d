"""Keyword arguments that the verbs for trees share: what is selected, how it is carried, what new objects carry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from datetime import date, datetime, timedelta

    from s3dlio.engine.session import Session
    from s3dlio.transfer.actions import Act
    from s3dlio.transfer.options import TransferOptions
    from s3dlio.transfer.pattern_file import PatternFiles

    Age = str | int | float | timedelta | date | datetime


class SelectionKeywords(TypedDict, total=False):
    """Which objects.

    Keywords:
        include_from, exclude_from: files of globs, one a line, as of ``include`` and ``exclude``; one or several.
        min_size, max_size: bytes, also as text: ``"64KiB"``.
        min_age, max_age: changed at least, or at most, so long ago: seconds, ``"12h"``, ``"7d"``; or at a date:
            ``"2026-11-28"``, a ``datetime``.
    """

    include_from: PatternFiles
    exclude_from: PatternFiles
    min_size: int | str | None
    max_size: int | str | None
    min_age: Age | None
    max_age: Age | None


class DownloadKeywords(SelectionKeywords, total=False):
    """How they are carried.

    Keywords:
        dry_run: do nothing; ``on_action`` is called with what would be done, and ``attempted`` and ``bytes`` of the
            summary tell how much it would be.
        no_clobber: leave alone what is at its destination already; it counts as skipped. New objects are written on
            the condition that nothing is there, where the store knows that.
        bwlimit: bytes a second over the network, at most, for this call alone, as of the setting ``http.bwlimit``:
            ``"10MiB"``, ``"10MB:1MB"`` (up:down), ``"08:00,512k 19:00,off"``.
        on_action: see ``dry_run``; a sync calls it always, before it does something.
        on_done: called with every object that is at its destination, one call at a time.
    """

    dry_run: bool
    no_clobber: bool
    bwlimit: str | int | None
    on_action: Act | None
    on_done: Act | None


class ObjectKeywords(TypedDict, total=False):
    """What new objects carry besides their bytes; of those that are copied inside a service, what is not given stays.
    A local file keeps none of it: to ask for it there is an UnsupportedOperationError.

    Keywords:
        content_type, cache_control, content_disposition, content_encoding, content_language: header fields.
        expires: the header field Expires, of S3 only: a ``datetime``, a date, or the text of the field.
        metadata: of the user; replaces what a copied object has.
        storage_class: ``STANDARD_IA``, ``GLACIER``, ...; on Azure the access tier: ``Hot``, ``Cool``, ``Cold``,
            ``Archive``; on Google ``NEARLINE``, ...
        sse: ``AES256``, ``aws:kms`` or ``aws:kms:dsse``, of S3.
        sse_kms_key_id: the key of KMS, on S3 and Google.
        sse_customer_key: the raw 32 bytes of a key of one's own, on S3 and Google.
        tags: of the object, on S3 and Azure: ten at most.
    """

    content_type: str | None
    cache_control: str | None
    content_disposition: str | None
    content_encoding: str | None
    content_language: str | None
    expires: str | date | datetime | None
    metadata: Mapping[str, str] | None
    storage_class: str | None
    sse: str | None
    sse_kms_key_id: str | None
    sse_customer_key: bytes | None
    tags: Mapping[str, str] | None


class UploadKeywords(DownloadKeywords, ObjectKeywords, total=False):
    """Both, and what names tell.

    Keywords:
        guess_content_type: files get the content type that the end of their name tells, where none is given; default:
            as the setting ``transfer.guess_content_type`` says.
    """

    guess_content_type: bool | None


OBJECT = ObjectKeywords.__optional_keys__
UPLOAD = UploadKeywords.__optional_keys__

_LIMITS = ("min_size", "max_size", "min_age", "max_age")


@contextlib.contextmanager
def limited(session: Session, more: DownloadKeywords | UploadKeywords) -> Iterator[Session]:
    """The session that a call runs in: one with a limit of bandwidth, if it has one of its own.

    Raises:
        ConfigError: the limit cannot be understood.
    """
    limit = more.pop("bwlimit", None)
    if limit is None:
        yield session
        return
    from s3dlio.engine.session import Session

    own = Session(session.settings.replace(http={"bwlimit": limit}), session.stores.observers)
    try:
        yield own
    finally:
        own.executor.shutdown()
        own.stores.close_lanes()
        own.close_processes()


def transfer_options(more: Mapping[str, Any], **known: Any) -> TransferOptions:
    """The options of a transfer: those of the verb, and the keywords that all share.

    Raises:
        ConfigError: a value that cannot be meant.
    """
    from s3dlio.transfer.limits import limits
    from s3dlio.transfer.object_options import object_options
    from s3dlio.transfer.options import TransferOptions

    if given := {name: more[name] for name in more if name in OBJECT}:
        known["options"] = object_options(known["options"], **given)
    bounds = limits(**{name: more[name] for name in _LIMITS if name in more})
    rest = {name: value for name, value in more.items() if name not in OBJECT and name not in _LIMITS}
    return TransferOptions(**known, **rest, limits=bounds)
