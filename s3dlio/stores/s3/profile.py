"""What a profile in ``~/.aws`` gives: the settings that nobody else has set, and whom to ask for keys.

botocore reads the files. It is imported (150 ms) only where there is one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from s3dlio.config.fields import fields_of
from s3dlio.config.sections import S3Settings
from s3dlio.config.settings import SECTIONS, Settings
from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.records import replace
from s3dlio.stores.s3.sigv4 import Credentials

_FILES = {
    "config_file": ("AWS_CONFIG_FILE", "~/.aws/config"),
    "credentials_file": ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
}
#: Settings that stand in a profile under the same name, in it or in its section ``s3``.
_SAME = (
    "s3.region", "s3.request_checksum_calculation", "s3.response_checksum_validation", "s3.use_fips_endpoint",
    "s3.use_dualstack_endpoint", "s3.use_accelerate_endpoint", "s3.use_arn_region",
    "s3.ignore_configured_endpoint_urls", "http.ca_bundle", "retry.max_attempts",
)  # fmt: skip
#: Settings that its section ``s3`` calls otherwise.
_OTHERWISE = {
    "s3.addressing": "addressing_style", "s3.payload_signing": "payload_signing_enabled",
    "s3.disable_multiregion_access_points": "s3_disable_multiregion_access_points",
}  # fmt: skip
#: Settings that the profile itself calls otherwise.
_OUTSIDE = {
    "s3.use_arn_region": "s3_use_arn_region", "s3.disable_express_session_auth": "s3_disable_express_session_auth",
}  # fmt: skip
#: What says how a profile comes to its keys, in botocore's order.
_KEYS = ("role_arn", "web_identity_token_file", "sso_session", "sso_start_url", "aws_access_key_id",
         "credential_process")  # fmt: skip


def has_files(s3: S3Settings) -> bool:
    """Whether there is anything for botocore to find besides the variables that the settings read."""
    paths = (os.environ.get(variable) or default for variable, default in _FILES.values())
    return s3.profile is not None or any(_holds_something(os.path.expanduser(path)) for path in paths)


def _holds_something(path: str) -> bool:
    """Whether there is a file that is not known to be empty, as ``/dev/null`` is, which keeps the user's away."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return False
    return path != os.devnull and (about.st_size > 0 or not stat.S_ISREG(about.st_mode))


def open_session(settings: Settings) -> Any:
    """A botocore session of the profile, whose requests (to STS, say) use the region and the CA bundle of the settings.

    Raises:
        ConfigError: there is no such profile, or a file cannot be read.
    """
    import botocore.session

    s3 = settings.s3
    # An empty AWS_PROFILE is none; the settings read the variable.
    session = botocore.session.Session(session_vars={"profile": (None, [], None, None)}, profile=s3.profile)
    for name, (variable, default) in _FILES.items():
        if not os.environ.get(variable, "").strip():
            session.set_config_variable(name, default)
    for name, value in (("region", s3.region), ("ca_bundle", settings.http.ca_bundle)):
        if value is not None:
            session.set_config_variable(name, value)
    with profile_errors():
        session.get_scoped_config()
    return session


@contextlib.contextmanager
def profile_errors() -> Iterator[None]:
    """Turn what botocore raises about its files into a ConfigError.

    Raises:
        ConfigError: there is no such profile, or a file cannot be read.
    """
    try:
        yield
    except S3dlioError:
        raise
    except Exception as error:  # botocore's own, of configparser, of decoding
        from botocore.exceptions import ProfileNotFound

        if isinstance(error, ProfileNotFound):
            raise ConfigError(
                str(error), hint="see 'aws configure list-profiles', or correct AWS_PROFILE"
            ) from error
        raise ConfigError(
            f"the AWS profiles cannot be read: {error}", hint="correct ~/.aws/config and ~/.aws/credentials"
        ) from error


def filled(settings: Settings, session: Any) -> Settings:
    """The settings, with what the profile says where nobody has said anything.

    Raises:
        ConfigError: a value of the wrong type.
    """
    with profile_errors():
        profile = session.get_scoped_config()
        found = _of_profile(profile)
        ignores = settings.s3.ignore_configured_endpoint_urls
        if ignores is None:
            ignores = str(found.get("s3.ignore_configured_endpoint_urls", "")).strip().lower() == "true"
        if not ignores and (endpoint := _endpoint(session, profile)):
            found["s3.endpoint_url"] = endpoint
    origins = dict(settings.origins)
    sections: dict[str, dict[str, Any]] = {}
    origin = f"profile {settings.s3.profile or 'default'}"
    for full, value in found.items():
        section, _, name = full.partition(".")
        if _is_unset(settings, section, name):
            read = next(entry.read for known, entry, _ in fields_of(SECTIONS[section]) if known == name)
            sections.setdefault(section, {})[name] = read(f"{name} of the profile", value)
            origins[full] = origin
    if ignores and _from_variable(settings):
        sections.setdefault("s3", {})["endpoint_url"] = None
        origins.pop("s3.endpoint_url")
    changed: dict[str, Any] = {
        section: replace(getattr(settings, section), **values) for section, values in sections.items()
    }
    return replace(settings, **changed, origins=origins)


def key_source(settings: Settings, session: Any) -> str | None:
    """How the profile comes to its keys, as ``s3-cli config`` shows it; None where it has none."""
    profile = session.get_scoped_config()
    found = next((name for name in _KEYS if profile.get(name)), None)
    return found and f"profile {settings.s3.profile or 'default'} ({found})"


def keys_of(session: Any) -> Any:
    """What botocore finds, or None. It may ask for a code (multi-factor authentication), where there is a terminal."""
    provider = session.get_component("credential_provider").get_provider("assume-role")
    if hasattr(provider, "_prompter"):
        provider._prompter = _ask_for_code
    return session.get_credentials()


def _ask_for_code(prompt: str) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise ConfigError(
            "the role wants a code of multi-factor authentication, and there is no terminal to ask for it",
            hint="get keys of a session before ('aws sts get-session-token'), or use a profile with credential_process",
        ) from error
    import getpass

    return getpass.getpass(prompt)


def resolver_of(credentials: Callable[[], Credentials]) -> Any:
    """Keys for a session of botocore, from the function that gives the keys in force."""
    from botocore.credentials import CredentialProvider, CredentialResolver, ReadOnlyCredentials
    from botocore.credentials import Credentials as Found

    class Ours(Found):
        def get_frozen_credentials(self) -> Any:
            keys = credentials()
            return ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token)

    class Provider(CredentialProvider):
        METHOD = "s3dlio"

        def load(self) -> Any:
            return Ours("", "", method=self.METHOD)

    return CredentialResolver([Provider()])


def _of_profile(profile: Mapping[str, Any]) -> dict[str, Any]:
    own = profile.get("s3")
    own = own if isinstance(own, Mapping) else {}
    found: dict[str, Any] = {}
    for full in _SAME:
        name = full.partition(".")[2]
        found[full] = own.get(name, profile.get(name))
    found |= {full: own.get(name) for full, name in _OTHERWISE.items()}
    found |= {full: profile[name] for full, name in _OUTSIDE.items() if name in profile}
    return {full: value for full, value in found.items() if value not in (None, "")}


def _endpoint(session: Any, profile: Mapping[str, Any]) -> str | None:
    from botocore.configprovider import ConfiguredEndpointProvider

    return ConfiguredEndpointProvider(session.full_config, profile, "s3", environ={}).provide() or None


def _is_unset(settings: Settings, section: str, name: str) -> bool:
    full, default = f"{section}.{name}", getattr(SECTIONS[section](), name)
    unsaid = settings.origin(full) == "default" or full == "s3.addressing"  # "auto" leaves it to the profile
    return unsaid and getattr(getattr(settings, section), name) == default


def _from_variable(settings: Settings) -> bool:
    origin = settings.origin("s3.endpoint_url").partition(" ")[0]
    return origin in ("environment", "dotenv", "trusted")
