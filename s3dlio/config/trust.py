"""What a ``.env`` file may decide. The file is found in the current directory, so it may be a stranger's: where it says
where requests go, it must also hold the credentials that they carry."""

from __future__ import annotations

from collections.abc import Iterable

from s3dlio.config.environment import TRUST_DOTENV
from s3dlio.config.settings import Settings
from s3dlio.errors import ConfigError


def check(settings: Settings, steering: Iterable[str], credentials: Iterable[str] = ()) -> None:
    """Refuse to send credentials where an untrusted ``.env`` file says, unless they stand in that file too.

    Args:
        settings: all of them.
        steering: the names of those that say where requests go, or which servers are believed.
        credentials: the names of those that hold what is sent; none where a profile or an identity gives it.

    Raises:
        ConfigError: the file steers the credentials of somebody else; it says what to do.
    """
    steered = next((name for name in steering if settings.from_dotenv(name)), None)
    if steered is None:
        return
    sent = list(credentials)
    # What a table of the configuration file holds for one endpoint goes nowhere else.
    if sent and all(settings.from_dotenv(name) or settings.origin(name).startswith("endpoint.") for name in sent):
        return
    raise ConfigError(
        f"{steered} comes from the {settings.origin(steered)}, but the credentials do not, and are not sent there",
        hint="set the credentials in that file too, set the other in the environment instead, or, if the file is "
        f"yours, set {TRUST_DOTENV}=1 in the environment",
    )
