"""What Azure lets a name be; checked before any request.

Source: Azure Storage documentation, "Naming and Referencing Containers, Blobs, and Metadata", "Storage account
overview".
"""

from __future__ import annotations

import re

from s3dlio.errors import ConfigError, InvalidURIError

#: Containers that the service itself makes.
_SYSTEM = frozenset({"$root", "$logs", "$web", "$blobchangefeed"})
_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*\Z")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}\Z")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DOT_SEGMENT = re.compile(r"(?:^|/)\.\.?(?:/|$)")
#: Characters of a key.
MAX_NAME = 1024


def check_container(name: str, uri: str) -> None:
    """Refuse what no container can be called.

    Raises:
        InvalidURIError: the name breaks the rule.
    """
    if name not in _SYSTEM and not _CONTAINER.match(name):
        raise InvalidURIError(
            f"'{name}' cannot be the name of an Azure container",
            uri=uri,
            hint="use 3 to 63 lower-case letters, digits and single hyphens, with a letter or digit at both ends",
        )


def check_account(name: str, uri: str) -> None:
    """Refuse what no storage account can be called: the name becomes a host name.

    Raises:
        InvalidURIError: the name breaks the rule.
    """
    if not _ACCOUNT.match(name):
        raise InvalidURIError(
            f"'{name}' cannot be the name of an Azure storage account",
            uri=uri,
            hint="use 3 to 24 lower-case letters and digits; set AZURE_STORAGE_ACCOUNT to write az://container/key",
        )


def check_blob(name: str, uri: str, operation: str, *, resolves_dots: bool) -> None:
    """Refuse a key that the service would file under another name.

    Args:
        name: the key.
        uri: for the error.
        operation: for the error.
        resolves_dots: the service resolves ``.`` and ``..`` as a web server does. Azure does, and would reach another
            blob, or another container; Azurite takes them literally.

    Raises:
        InvalidURIError: a backslash, a dot segment, or more than 1,024 characters.
    """
    if "\\" in name:
        raise InvalidURIError("Azure takes a backslash in a key for a slash", uri=uri, operation=operation)
    if resolves_dots and "." in name and _DOT_SEGMENT.search(name):
        raise InvalidURIError(
            "Azure resolves '.' and '..' in a key and would reach another object", uri=uri, operation=operation
        )
    if len(name) > MAX_NAME:
        raise InvalidURIError(f"a key on Azure has at most {MAX_NAME} characters", uri=uri, operation=operation)


def check_metadata_name(name: str) -> None:
    """Refuse a name that Azure does not take for metadata.

    Raises:
        ConfigError: the name breaks the rule.
    """
    if not _IDENTIFIER.match(name):
        raise ConfigError(
            f"'{name}' cannot be the name of metadata on Azure",
            hint="use letters, digits and underscores, and no digit first",
        )
