"""What new objects carry besides their bytes, in the words of commands and keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3dlio.errors import ConfigError
from s3dlio.records import replace
from s3dlio.types import NO_OPTIONS, PutOptions

if TYPE_CHECKING:
    from datetime import date, datetime

_ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
#: Other names of fields of PutOptions.
_NAMES = {"sse": "server_side_encryption", "sse_kms_key_id": "ssekms_key_id"}


def object_options(options: PutOptions = NO_OPTIONS, **given: Any) -> PutOptions:
    """``options`` with what is given (not None) in place of theirs.

    Args:
        options: all else.
        given: fields of :class:`PutOptions`; ``sse`` and ``sse_kms_key_id`` stand for ``server_side_encryption`` and
            ``ssekms_key_id``; ``expires`` may also be a ``datetime`` or a date.

    Raises:
        ConfigError: an encryption that there is not, or no date.
        TypeError: a value of another type.
    """
    fields = {_NAMES.get(name, name): value for name, value in given.items() if value is not None}
    encryption = fields.get("server_side_encryption")
    if encryption is not None and encryption not in _ENCRYPTIONS:
        raise ConfigError(f"there is no server-side encryption {encryption!r}", hint=f"use {', '.join(_ENCRYPTIONS)}")
    if "expires" in fields:
        fields["expires"] = http_date(fields["expires"])
    return replace(options, **fields) if fields else options


def http_date(value: str | date | datetime) -> str:
    """A date as a header field has it (RFC 9110, section 5.6.7); text that is one already stays as it is.

    Raises:
        ConfigError: it is no date.
    """
    if isinstance(value, str):
        from s3dlio.net.dates import moment_of

        if "," in value and moment_of(value) is not None:
            return value
    from datetime import UTC, datetime

    from s3dlio.config.durations import parse_moment

    moment = datetime.fromtimestamp(parse_moment(value, name="expires") / 1e9, UTC)
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
