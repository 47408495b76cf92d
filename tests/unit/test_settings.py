"""Settings: which layer wins, that every value knows its origin, and what is refused."""

from __future__ import annotations

import dataclasses
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.config import environment, settings
from s3dlio.config.fields import fields_of
from s3dlio.config.sections import HttpSettings, RangeSettings, S3Settings
from s3dlio.config.settings import SECTIONS, Settings
from s3dlio.config.sizes import format_size, parse_size
from s3dlio.errors import ConfigError

MiB = 1 << 20
EVERY = [(section, name, entry) for section, kind in SECTIONS.items() for name, entry, _ in fields_of(kind)]


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    settings.reset_configured()
    yield
    settings.reset_configured()


def resolve(environ: dict[str, str] | None = None, **arguments: Any) -> Settings:
    return Settings.resolve(environ or {}, **arguments)


# -- precedence


def test_each_layer_wins_over_the_ones_below(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[s3]\nregion = "file"\n')
    environ = {"S3DLIO_CONFIG": str(config)}

    def seen(**arguments: Any) -> tuple[str | None, str]:
        found = resolve(environ, **arguments)
        return found.s3.region, found.origin("s3.region")

    assert resolve().origin("s3.region") == "default"
    assert seen() == ("file", f"configuration file {config}")
    (tmp_path / ".env").write_text("AWS_REGION=dotenv\n")
    assert seen() == ("dotenv", "dotenv file .env AWS_REGION")
    environ["AWS_DEFAULT_REGION"] = "environment"
    assert seen() == ("environment", "environment AWS_DEFAULT_REGION")
    settings.configure("s3", {"region": "configured"})
    assert seen() == ("configured", "configure()")
    assert seen(s3={"region": "argument"}) == ("argument", "argument")
    settings.configure("s3", {"region": None})
    assert seen() == ("environment", "environment AWS_DEFAULT_REGION")


def test_the_first_variable_of_a_setting_wins_and_an_empty_one_is_unset() -> None:
    assert resolve({"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}).s3.region == "a"
    assert resolve({"AWS_REGION": "", "AWS_DEFAULT_REGION": "b"}).s3.region == "b"
    assert resolve({"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}).s3.endpoint_url == "http://b"


def test_none_as_an_argument_is_unset() -> None:
    assert resolve({"AWS_REGION": "a"}, s3={"region": None}).s3.region == "a"


def test_replace_changes_one_value_and_its_origin() -> None:
    before = resolve({"AWS_REGION": "a"})
    after = before.replace(http={"max_connections": 3})
    assert (after.http.max_connections, after.origin("http.max_connections")) == (3, "argument")
    assert (after.s3.region, after.origin("s3.region")) == ("a", "environment AWS_REGION")
    assert before.http.max_connections == 256


# -- the .env file


@pytest.mark.parametrize("switch", ["0", "false", "no", "off"])
def test_the_dotenv_file_can_be_switched_off(tmp_path: Path, switch: str) -> None:
    (tmp_path / ".env").write_text("AWS_REGION=dotenv\n")
    assert resolve({"S3DLIO_LOAD_DOTENV": switch}).s3.region is None
    assert resolve({"S3DLIO_LOAD_DOTENV": "1"}).s3.region == "dotenv"


def test_the_path_of_the_dotenv_file_is_the_systems_to_resolve(tmp_path: Path) -> None:
    """``..`` leads out of what a link leads to."""
    (tmp_path / "releases" / "5").mkdir(parents=True)
    (tmp_path / "releases" / "x.env").write_text("AWS_REGION=there\n")
    (tmp_path / "x.env").write_text("AWS_REGION=here\n")
    (tmp_path / "current").symlink_to(tmp_path / "releases" / "5")
    assert resolve({"S3DLIO_LOAD_DOTENV": f"{tmp_path}/current/../x.env"}).s3.region == "there"


def test_the_dotenv_file_can_be_another(tmp_path: Path) -> None:
    other = tmp_path / "other.env"
    other.write_text("AWS_REGION='other'\n")
    found = resolve({"S3DLIO_LOAD_DOTENV": str(other)})
    assert (found.s3.region, found.origin("s3.region")) == ("other", f"dotenv file {other} AWS_REGION")
    with pytest.raises(ConfigError, match="S3DLIO_LOAD_DOTENV"):
        resolve({"S3DLIO_LOAD_DOTENV": str(tmp_path / "missing.env")})


def test_the_environment_of_the_process_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AWS_REGION=dotenv\nS3DLIO_TEST_LEAK=1\n")
    code = "import os; from s3dlio.config.settings import Settings; print(Settings.resolve().s3.region, len([n for n in os.environ if n in ('AWS_REGION', 'S3DLIO_TEST_LEAK')]))"  # noqa: E501
    environ = {"PYTHONPATH": str(Path(settings.__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert ran.stdout.split() == ["dotenv", "0"], ran.stderr


# -- the configuration file


def test_the_configuration_file_at_its_usual_place(tmp_path: Path) -> None:
    place = tmp_path / "home" / ".config" / "s3dlio"
    place.mkdir(parents=True)
    (place / "config.toml").write_text("[range]\nthreshold = '8MiB'\nenabled = false\n")
    found = resolve({"HOME": str(tmp_path / "home")})
    assert (found.range.threshold, found.range.enabled) == (8 * MiB, False)
    assert resolve({"HOME": str(tmp_path)}).range.enabled
    assert not resolve({"XDG_CONFIG_HOME": str(tmp_path / "home" / ".config")}).range.enabled


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[nonsense]\nx = 1\n", "nonsense"),
        ("[http]\nmax_conections = 1\n", "http.max_conections"),
        ("[http]\nmax_connections = 'many'\n", "http.max_connections"),
        ("http = 3\n", "http"),
        ("[http\n", "config.toml"),
    ],
)
def test_a_bad_configuration_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        resolve({"S3DLIO_CONFIG": str(path)})
    assert "config.toml" in str(caught.value)


def test_a_missing_configuration_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        resolve({"S3DLIO_CONFIG": str(tmp_path / "none.toml")})


# -- what is refused


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("S3DLIO_MAX_HTTP_CONNECTIONS", "many"),
        ("S3DLIO_MAX_HTTP_CONNECTIONS", "-1"),
        ("S3DLIO_CONNECT_TIMEOUT_SECS", "soon"),
        ("S3DLIO_CONNECT_TIMEOUT_SECS", "-1"),
        ("S3DLIO_CONNECT_TIMEOUT_SECS", "nan"),
        ("S3DLIO_ENABLE_RANGE_OPTIMIZATION", "maybe"),
        ("S3DLIO_CHUNK_SIZE", "64 elephants"),
        ("S3DLIO_BACKEND", "curl"),
        ("AWS_ENDPOINT_URL", "localhost:9000"),
        ("AWS_ENDPOINT_URL", "http://user:secret@localhost"),
    ],
)
def test_a_variable_of_the_wrong_type_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable) as caught:
        resolve({variable: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"http": {"max_conections": 1}}, "max_connections"),
        ({"htpp": {"max_connections": 1}}, "http"),
        ({"http": {"max_connections": 2.5}}, "http.max_connections"),
        ({"http": {"max_connections": True}}, "http.max_connections"),
        ({"range": {"enabled": "perhaps"}}, "range.enabled"),
        ({"s3": {"region": 3}}, "s3.region"),
    ],
)
def test_an_unknown_or_wrong_argument_is_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolve(**arguments)


def test_configure_refuses_before_it_changes_anything() -> None:
    with pytest.raises(ConfigError, match=r"s3\.regoin"):
        settings.configure("s3", {"region": "x", "regoin": "y"})
    with pytest.raises(ConfigError, match="max_attempts"):
        settings.configure("retry", {"max_attempts": "often"})
    with pytest.raises(ConfigError, match="s4"):
        settings.configure("s4", {})
    assert settings.configured() == {}


def test_a_section_checks_what_it_is_made_of() -> None:
    assert RangeSettings(threshold="8MiB").threshold == 8 * MiB  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_connections"):
        HttpSettings(max_connections="x")  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        HttpSettings().max_connections = 3  # type: ignore[misc]


# -- every setting


def sample(section: str, name: str) -> str:
    """Text that is valid for a setting and not its default."""
    default = getattr(SECTIONS[section](), name)
    if isinstance(default, bool):
        return "false" if default else "true"
    special = {
        "addressing": "path", "backend": "sdk", "list_version": "1", "direct_fallback": "error",
        "page_cache": "auto",
        "request_checksum_calculation": "when_required", "response_checksum_validation": "when_supported",
        "endpoint_url": "http://127.0.0.1:9", "alignment": "4096", "endpoints": "http://h{1...2}:9",
        "load_balance_strategy": "rank", "endpoint_max_in_flight": "8", "source_addresses": "127.0.0.2, ::1",
        "operation_timeout": "7", "bwlimit": "1000", "tls_ports": "443,8443",
        "ignore_configured_endpoint_urls": "true",
        "credential": "none", "disable_multiregion_access_points": "true", "disable_express_session_auth": "true",
    }  # fmt: skip
    if section == "s3" and name == "backend":
        return "boto3"
    if name in special:
        return special[name]
    if default is None and name.startswith("use_"):
        return "true"
    return "text" if isinstance(default, str | None) else str(int(default) + 1)


@pytest.mark.parametrize(
    ("section", "name", "variable"),
    [(section, name, variable) for section, name, entry in EVERY for variable in entry.variables],
)
def test_every_variable_sets_its_setting_and_shows_as_origin(
    section: str, name: str, variable: str, tmp_path: Path
) -> None:
    special = {
        "S3DLIO_DISABLE_MULTIPART": "1", "S3DLIO_UNSIGNED_PAYLOAD": "0", "S3_ENDPOINT_FILE": f"{tmp_path}/endpoints"
    }  # fmt: skip
    (tmp_path / "endpoints").write_text("# one\nhttp://h:9000\n")
    found = resolve({variable: special.get(variable, sample(section, name))})
    assert getattr(getattr(found, section), name) != getattr(SECTIONS[section](), name)
    assert found.origin(f"{section}.{name}") == f"environment {variable}"
    shown = {line.name: line for line in found.describe()}[f"{section}.{name}"]
    assert variable in shown.origin


def test_one_endpoint_or_several_by_the_higher_layer() -> None:
    several = {"S3_ENDPOINT_URIS": "http://a:1, http://b:2"}
    found = resolve({**several, "AWS_ENDPOINT_URL": "http://c"})
    assert (found.s3.endpoints, found.s3.endpoint_url) == (("http://a:1", "http://b:2"), "http://a:1")
    assert found.origin("s3.endpoint_url") == "environment S3_ENDPOINT_URIS"
    for changed in (resolve(several, s3={"endpoint_url": "http://c"}), found.replace(s3={"endpoint_url": "http://c"})):
        assert (changed.s3.endpoints, changed.s3.endpoint_url) == ((), "http://c")
    changed = resolve({"AWS_ENDPOINT_URL": "http://c"}, s3={"endpoints": "d:443,e:443"})
    assert (changed.s3.endpoints, changed.s3.endpoint_url) == (("s3://d:443", "s3://e:443"), "https://d:443")
    assert changed.replace(s3={"endpoints": ["http://f"]}).s3.endpoint_url == "http://f"
    assert resolve({**several, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "1"}).s3.endpoint_url is None
    settings.configure("s3", {"endpoints": ["http://d"]})
    settings.configure("s3", {"endpoint_url": "http://e"})
    assert resolve(several).s3.endpoints == ()


def test_variables_that_name_places_beneath_servers_are_not_for_every_client() -> None:
    for uris in ("s3://bucket-1/data,s3://bucket-2/data", "file:///a,file:///b", "s3://h:9000/bucket"):
        assert resolve({"S3_ENDPOINT_URIS": uris, "AWS_ENDPOINT_URL": "http://c"}).s3.endpoint_url == "http://c"
    assert resolve({"S3_ENDPOINT_TEMPLATE": "s3://10.0.0.{08...11}:9000"}).s3.endpoints == (
        "s3://10.0.0.08:9000", "s3://10.0.0.09:9000", "s3://10.0.0.10:9000", "s3://10.0.0.11:9000",
    )  # fmt: skip


def test_no_two_settings_share_a_variable() -> None:
    variables = [variable for _, _, entry in EVERY for variable in entry.variables]
    assert len(set(variables)) == len(variables)


def test_megabytes_in_the_name_count_in_mebibytes() -> None:
    assert resolve({"S3DLIO_RANGE_THRESHOLD_MB": "8"}).range.threshold == 8 * MiB
    assert resolve({"S3DLIO_RANGE_THRESHOLD_MB": "8MB"}).range.threshold == 8_000_000


def test_the_documents_variables_are_all_known() -> None:
    """The variables that scripts of the reference set: each has a setting, or a reason why it has none."""
    known = {variable for _, _, entry in EVERY for variable in entry.variables}
    known |= set(environment.IGNORED_VARIABLES) | {environment.DOTENV_SWITCH, environment.CONFIG_FILE}
    known |= environment.OPLOG_VARIABLES
    documented = """
        AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION
        AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_CA_BUNDLE AWS_CA_BUNDLE_PATH AZURE_STORAGE_ACCOUNT
        AZURE_STORAGE_ACCOUNT_NAME AZURE_STORAGE_KEY AZURE_STORAGE_ACCOUNT_KEY AZURE_STORAGE_CONNECTION_STRING
        AZURE_STORAGE_SAS_TOKEN AZURE_STORAGE_ENDPOINT AZURE_BLOB_ENDPOINT_URL GOOGLE_APPLICATION_CREDENTIALS
        GOOGLE_CLOUD_PROJECT GCS_ENDPOINT_URL STORAGE_EMULATOR_HOST S3DLIO_BACKEND S3DLIO_USE_OPTIMIZED_HTTP
        S3DLIO_RT_THREADS S3DLIO_WORKER_THREADS S3DLIO_MAX_HTTP_CONNECTIONS S3DLIO_POOL_MAX_IDLE_PER_HOST
        S3DLIO_POOL_IDLE_TIMEOUT_SECS S3DLIO_RANGE_CONCURRENCY S3DLIO_ENABLE_RANGE_OPTIMIZATION
        S3DLIO_RANGE_THRESHOLD_MB S3DLIO_CHUNK_SIZE S3DLIO_CONNECT_TIMEOUT_SECS S3DLIO_OPERATION_TIMEOUT_SECS
        S3DLIO_MAX_RETRY_ATTEMPTS S3DLIO_PUT_VERIFY S3DLIO_FOLLOW_REDIRECTS S3DLIO_REDIRECT_MAX S3DLIO_LOAD_DOTENV
        S3DLIO_OPLOG_BUF S3DLIO_OPLOG_WBUFCAP S3DLIO_OPLOG_LEVEL S3DLIO_OPLOG_LOSSLESS S3DLIO_OPLOG_SORT
        S3_ENDPOINT_URIS S3DLIO_S3_ENDPOINT_TLS_PORTS S3DLIO_MPU_PUT_VERIFY S3DLIO_PUT_MAX_RETRIES
        S3DLIO_PUT_RETRY_DELAY_MS S3DLIO_MPU_MAX_RETRIES S3DLIO_MPU_RETRY_DELAY_S S3DLIO_MULTIPART_THRESHOLD_MB
        S3DLIO_UNSIGNED_PAYLOAD S3DLIO_DISABLE_MULTIPART S3DLIO_SIZE_CACHE_MAX_ENTRIES AWS_MAX_ATTEMPTS
        AWS_S3_ADDRESSING_STYLE AWS_IGNORE_CONFIGURED_ENDPOINT_URLS REQUESTS_CA_BUNDLE GCLOUD_PROJECT GCS_PROJECT
        S3_ENDPOINT_TEMPLATE S3_ENDPOINT_FILE S3_LOAD_BALANCE_STRATEGY S3DLIO_H2C S3DLIO_HTTPS_H2 S3DLIO_ENABLE_HTTP2
        S3DLIO_H2_ADAPTIVE_WINDOW S3DLIO_H2_STREAM_WINDOW_MB S3DLIO_H2_CONN_WINDOW_MB S3DLIO_SKIP_HEAD
        S3DLIO_CONCURRENT_THRESHOLD S3DLIO_GCS_RAPID S3DLIO_GCS_GRPC_CHANNELS S3DLIO_GRPC_INITIAL_WINDOW_MIB
        S3DLIO_GCS_READ_TIMEOUT S3DLIO_GCS_BIDI_X S3DLIO_DIRECT_IO_X S3DLIO_AZURE_DOWNLOAD_X S3DLIO_TOKIO_CONSOLE
        S3DLIO_PROFILE_FREQ S3DLIO_HTTP_IDLE_TIMEOUT_MS S3DLIO_MAX_CONCURRENCY RUST_LOG S3DLIO_AZURE_CREDENTIAL
        S3DLIO_AZURE_SAS_TOKEN
    """
    unknown = set(documented.split()) - known
    assert [name for name in unknown if environment.ignored(name) is None] == []
    assert settings.unknown_variables([environment.Layer("environment", dict.fromkeys(documented.split(), "1"))]) == {}


@pytest.mark.parametrize(
    ("variable", "written", "name", "value"),
    [
        ("S3DLIO_POOL_MAX_IDLE_PER_HOST", "0", "http.max_connections", 65536),
        ("S3DLIO_FOLLOW_REDIRECTS", "enable", "http.follow_redirects", True),
        ("S3DLIO_FOLLOW_REDIRECTS", "Disabled", "http.follow_redirects", False),
        ("S3DLIO_MAX_RETRY_ATTEMPTS", "0", "retry.max_attempts", 1),
        ("S3DLIO_PUT_VERIFY", "whatever", "transfer.put_verify", False),
        ("S3DLIO_PUT_VERIFY", "YES", "transfer.put_verify", True),
        ("S3DLIO_PUT_RETRY_DELAY_MS", "250", "transfer.verify_delay", 0.25),
        ("S3DLIO_PUT_MAX_RETRIES", "0", "transfer.verify_attempts", 3),
        ("S3DLIO_RT_THREADS", "0", "executor.threads", 64),
        ("S3DLIO_UNSIGNED_PAYLOAD", "0", "s3.payload_signing", True),
        ("S3DLIO_UNSIGNED_PAYLOAD", "1", "s3.payload_signing", False),
        ("S3DLIO_DISABLE_MULTIPART", "1", "multipart.threshold", 5000 * MiB),
        ("S3DLIO_DISABLE_MULTIPART", "0", "multipart.threshold", 32 * MiB),
        ("S3DLIO_MULTIPART_THRESHOLD_MB", "0", "multipart.threshold", 1),
        ("S3DLIO_H2C", "auto", "s3.h2c", False),
        ("S3DLIO_AZURE_CREDENTIAL", "Managed-Identity", "azure.credential", "managed-identity"),
    ],
)
def test_documented_values_are_taken(variable: str, written: str, name: str, value: object) -> None:
    section, _, setting = name.partition(".")
    assert getattr(getattr(resolve({variable: written}), section), setting) == value


def test_an_unknown_kind_of_credentials_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="auto, managed-identity, client-secret, workload-identity, sas, none"):
        resolve({"S3DLIO_AZURE_CREDENTIAL": "magic"})


def test_endpoints_of_variables_can_be_ignored() -> None:
    environ = {"AWS_ENDPOINT_URL": "http://h", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert resolve(environ).s3.endpoint_url is None
    assert resolve(environ, s3={"endpoint_url": "http://mine"}).s3.endpoint_url == "http://mine"
    assert resolve(environ | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "0"}).s3.endpoint_url == "http://h"


def test_variables_without_meaning_are_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("S3DLIO_TOKIO_CONSOLE=1\n")
    found = environment.ignored_variables({"S3DLIO_USE_OPTIMIZED_HTTP": "true", "AWS_REGION": "x"})
    assert set(found) == {"S3DLIO_USE_OPTIMIZED_HTTP", "S3DLIO_TOKIO_CONSOLE"}
    assert environment.ignored("S3DLIO_H2_STREAM_WINDOW_MB") is not None
    assert environment.ignored("S3DLIO_H2") is None


# -- secrets

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAhidden", "AWS_SECRET_ACCESS_KEY": "hidden1", "AWS_SESSION_TOKEN": "hidden2",
    "AZURE_STORAGE_KEY": "hidden3", "AZURE_STORAGE_SAS_TOKEN": "hidden4", "AZURE_STORAGE_CONNECTION_STRING": "hidden5",
}  # fmt: skip


def test_secrets_are_in_no_repr_no_description_and_no_pickle() -> None:
    found = resolve(SECRETS)
    assert found.s3.secret_access_key == "hidden1"
    assert "hidden" not in repr(found)
    assert "hidden" not in "".join(map(repr, found.describe()))
    assert b"hidden" not in pickle.dumps(found)
    assert pickle.loads(pickle.dumps(found)).s3.secret_access_key is None
    masked = [line.name for line in found.describe() if line.value == "***"]
    assert len(masked) == len(SECRETS)


def test_a_bad_secret_is_not_in_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        S3Settings(secret_access_key=b"hidden")  # type: ignore[arg-type]
    assert "hidden" not in str(caught.value)


# -- sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("17", 17), ("8MB", 8_000_000), ("8MiB", 8 * MiB), ("8m", 8_000_000), ("8mi", 8 * MiB),
        ("1k", 1000), ("1KiB", 1024), ("2g", 2_000_000_000), ("1_000", 1000), ("1,000", 1000), ("64 KiB", 65536),
        ("1.5KiB", 1536), ("1.5k", 1500), ("10b", 10), ("1TiB", 1 << 40), (12, 12), ("1,234,567.5k", 1234567500),
    ],
)  # fmt: skip
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "1.5", "8xb", "ib", "1ib", "MiB", "0x10", None, 1.5, True, "1__0k_", "1,5M", "1,00", ",100",
     "1000,000", "\u0661", "1\u212a"],
)  # fmt: skip
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ConfigError, match="size"):
        parse_size(text)


def test_sizes_are_shown_in_the_unit_that_keeps_them_whole() -> None:
    assert [format_size(n) for n in (0, 1000, 1024, 8 * MiB, 8 * MiB + 1)] == [
        "0", "1000", "1KiB", "8MiB", "8388609",
    ]  # fmt: skip


# -- the document


def rows() -> list[str]:
    """The table rows of docs/settings.md, from the settings themselves."""
    plain = Settings()
    shown = {line.name: line for line in plain.describe()}
    return [
        f"| `{section}.{name}` | {shown[f'{section}.{name}'].value} | {', '.join(f'`{v}`' for v in entry.variables)} "
        f"| {entry.doc} |"
        for section, name, entry in EVERY
    ]


def test_the_document_lists_every_setting_as_it_is() -> None:
    text = (Path(settings.__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `\w+\.\w+` \|.*$", text, re.MULTILINE)
    assert listed == rows()
    for variable in environment.IGNORED_VARIABLES:
        assert f"`{variable}`" in text


# -- misspelt


def test_a_misspelt_variable_is_told_once_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"S3DLIO_RANGE_TRESHOLD_MB": "3", "S3DLIO_XYZZY": "1", "S3DLIO_EMPTY": "", "S3DLIO_H2C": "1"}
    environ |= {"S3DLIO_REFERENCE_PYTHON": "python3"}  # of our own benchmarks
    caplog.set_level("INFO", "s3dlio.config.settings")
    resolve(environ)
    resolve(environ)
    told = [record.getMessage() for record in caplog.records if record.name == "s3dlio.config.settings"]
    assert told == [
        "the variable S3DLIO_RANGE_TRESHOLD_MB is set, but no setting has this name; did you mean "
        "S3DLIO_RANGE_THRESHOLD_MB?",
        "the variable S3DLIO_XYZZY is set, but no setting has this name",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}  # nothing on stderr of every process
    assert list(settings.unknown_variables([environment.Layer("environment", environ)])) == [*environ][:2]
