"""The functions of the package: one default client, reconfigured at any time, and the forms that older scripts use."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio import api
from s3dlio.config.settings import SECTIONS
from s3dlio.errors import BatchError, ConfigError, InvalidURIError, ObjectNotFoundError
from s3dlio.transfer.options import TransferOptions

pytestmark = pytest.mark.usefixtures("fresh_settings")


def test_the_functions_are_those_of_one_client(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a/x"
    assert s3dlio.put_bytes(uri, b"hello") is None
    assert s3dlio.get(uri) == s3dlio.get_object(uri) == b"hello"
    assert s3dlio.get_range(uri, 1, 2) == b"el"
    assert s3dlio.get_many([uri], workers=2) == [(uri, b"hello")]
    assert s3dlio.get_many_stats([uri, uri], concurrency=2) == (2, 10)
    assert s3dlio.stat(uri) == s3dlio.stat_object(uri) == s3dlio.stat_many([uri])[0]
    assert s3dlio.head(uri).size == 5
    assert s3dlio.list(f"file://{tmp_path}", recursive=True) == [uri]
    assert [*s3dlio.iterate(f"file://{tmp_path}", recursive=True)] == [uri]
    assert s3dlio.exists(uri)
    s3dlio.delete(uri)
    assert not s3dlio.exists(uri)


def test_a_download_by_get(tmp_path: Path) -> None:
    uri = "memory://legacy-get/dir/name.bin"
    s3dlio.put_bytes(uri, b"hello")
    assert s3dlio.get(uri, str(tmp_path / "here")) is None
    assert (tmp_path / "here").read_bytes() == b"hello"
    s3dlio.get(uri, tmp_path)
    assert (tmp_path / "name.bin").read_bytes() == b"hello"
    with pytest.raises((ObjectNotFoundError, BatchError)):
        s3dlio.get("memory://legacy-get/nope", tmp_path / "nope")
    assert not (tmp_path / "nope").exists()


def test_trees(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"a")
    (source / "sub" / "b.txt").write_bytes(b"b")
    s3dlio.upload([str(source) + "/*.txt"], "memory://trees/up/")
    s3dlio.upload(src_uri=str(source / "sub"), dest_uri="memory://trees/up/sub/")
    assert s3dlio.list_keys("memory://trees/up/", recursive=True) == ["a.txt", "sub/b.txt"]
    s3dlio.download("memory://trees/up/", str(tmp_path / "down"))
    assert (tmp_path / "down" / "sub" / "b.txt").read_bytes() == b"b"
    s3dlio.copy("memory://trees/up/", "memory://trees/copy/", recursive=True)
    assert s3dlio.list_keys("memory://trees/copy/", recursive=True) == ["a.txt", "sub/b.txt"]
    s3dlio.move("memory://trees/copy/a.txt", "memory://trees/moved")
    assert s3dlio.list("memory://trees/", pattern="moved|copy") == ["memory://trees/copy/", "memory://trees/moved"]
    with pytest.raises(TypeError, match="dest_prefix"):
        s3dlio.upload("x")
    with pytest.raises(TypeError, match="src_patterns"):
        s3dlio.upload("x", "memory://trees/", src_uri="y")


def test_put_writes_generated_objects() -> None:
    summary = s3dlio.put("memory://generated/p", num=3, template="obj-{}-of-{}", size=1000)
    assert (summary.succeeded, summary.bytes) == (3, 3000)
    assert s3dlio.list_keys("memory://generated/p/") == ["obj-0-of-3", "obj-1-of-3", "obj-2-of-3"]
    s3dlio.put("memory://generated/q-{}.bin", num=2, size=10)
    assert s3dlio.list_keys("memory://generated/", pattern="^q") == ["q-0.bin", "q-1.bin"]
    s3dlio.put("memory://generated/none", 0)
    for wrong in ({"object_type": "bogus"}, {"data_gen_mode": "bogus"}, {"data_gen_algorithm": "bogus"}, {"num": -1}):
        with pytest.raises(ConfigError):
            s3dlio.put("memory://generated/refused", **{"num": 1, "size": 10, **wrong})  # type: ignore[arg-type]
    assert s3dlio.list("memory://generated/refused/") == []


def test_configuring_works_after_the_first_call() -> None:
    s3dlio.put_bytes("memory://configured/x", b"")
    client = s3dlio.default_client()
    assert client.settings.s3.endpoint_url is None
    s3dlio.configure_s3(endpoint_url="http://127.0.0.1:1", region="r", ca_bundle="ca.pem", addressing="path")
    now = s3dlio.default_client().settings
    assert (now.s3.endpoint_url, now.s3.region, now.s3.addressing) == ("http://127.0.0.1:1", "r", "path")
    assert (now.http.ca_bundle, now.origin("http.ca_bundle")) == ("ca.pem", "configure()")
    s3dlio.configure("executor", threads=3)
    assert s3dlio.default_client().executor.threads == 3
    s3dlio.configure("executor", threads=None)
    assert s3dlio.default_client().executor.threads == 64
    assert s3dlio.get("memory://configured/x") == b""


def test_new_stores_follow_new_settings() -> None:
    first, _ = s3dlio.default_client().store_for("memory://followed/x")
    s3dlio.configure_s3(region="elsewhere")
    assert s3dlio.default_client().store_for("memory://followed/x")[0] is not first


def test_observers_stay_through_a_configuration() -> None:
    seen: list[Any] = []
    s3dlio.default_client().add_observer(seen.append)
    s3dlio.configure_s3(region="x")
    s3dlio.put_bytes("memory://observed/x", b"")
    assert len(seen) == 1


def test_configuring_reads_the_environment_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert s3dlio.default_client().settings.s3.region is None
    monkeypatch.setenv("AWS_REGION", "later")
    s3dlio.configure_s3()
    assert s3dlio.default_client().settings.s3.region == "later"


def test_a_bad_configuration_changes_nothing() -> None:
    s3dlio.configure_s3(region="before")
    for wrong in ({"endpoint_url": "nonsense"}, {"regoin": "x"}):
        with pytest.raises(ConfigError):
            s3dlio.configure_s3(region="after", **wrong)
    assert s3dlio.default_client().settings.s3.region == "before"


def test_functions_show_the_parameters_and_the_text_of_the_methods() -> None:
    assert [*inspect.signature(s3dlio.get_range).parameters] == ["uri", "offset", "length", "conditions"]
    assert "RangeNotSatisfiableError" in (s3dlio.get_range.__doc__ or "")
    assert s3dlio.get_range.__name__ == "get_range"
    with pytest.raises(TypeError):
        s3dlio.get_range()  # type: ignore[call-arg]


def test_text_in_the_place_of_bytes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot convert str to bytes: .*; a str is first encoded: text\.encode\(\)"):
        s3dlio.put_bytes(f"file://{tmp_path}/a", "text")  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


# -- logging


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    logger = logging.getLogger("s3dlio")
    level, handlers = logger.level, [*logger.handlers]
    yield
    logger.setLevel(level)
    logger.handlers = handlers


@pytest.mark.usefixtures("_logging_as_before")
def test_logging_goes_to_standard_error_and_can_be_changed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("s3dlio.test")
    s3dlio.init_logging("warn")
    logger.info("one")
    logger.warning("two")
    s3dlio.init_logging("DEBUG")
    logger.debug("three")
    s3dlio.init_logging("off")
    logger.error("four")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.rpartition(": ")[2] for line in err.splitlines()] == ["two", "three"]
    assert "\x1b" not in err


@pytest.mark.parametrize("level", ["loud", "", 3])
def test_an_unknown_level_is_refused(level: Any) -> None:
    with pytest.raises(ConfigError, match="level"):
        s3dlio.init_logging(level)


# -- older forms


def test_parts_of_an_s3_uri() -> None:
    assert s3dlio.parse_s3_uri_full("s3://192.168.100.1:9001/mybucket/data.bin") == {
        "endpoint": "192.168.100.1:9001", "bucket": "mybucket", "key": "data.bin",
    }  # fmt: skip
    assert s3dlio.parse_s3_uri_full("s3://b/k/x") == {"endpoint": None, "bucket": "b", "key": "k/x"}
    assert s3dlio.parse_s3_uri_full("s3://b/")["key"] == ""


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3://b", "must contain '/' after bucket"),
        ("s3://1.2.3.4/b/k", "add :port"),
        ("file:///x", "must start with s3://"),
        ("s3:///k", "empty"),
    ],
)
def test_what_is_no_s3_uri(uri: str, says: str) -> None:
    with pytest.raises(InvalidURIError, match=says.replace("(", r"\(")):
        s3dlio.parse_s3_uri_full(uri)


def test_capabilities() -> None:
    assert s3dlio.object_capabilities("file:///x") == {"provider": "file", "get_into": True, "head": True}


def test_functions_without_meaning_say_so() -> None:
    for call in (
        lambda: s3dlio.configure_tokio_threads(4),
        lambda: s3dlio.gcs_set_channel_count(4),
        lambda: s3dlio.gcs_set_rapid_mode(True),
    ):
        with pytest.warns(DeprecationWarning, match="has no meaning here"):
            call()
    assert s3dlio.gcs_get_channel_count() == 0
    assert s3dlio.gcs_get_rapid_mode() is None
    assert s3dlio.gcs_query_rapid_bucket("b") is False


def test_bucket_and_key_forms_warn_and_work(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(api, "get", lambda uri: asked.append(uri))
    monkeypatch.setattr(api, "stat", lambda uri: asked.append(uri))
    with pytest.warns(DeprecationWarning, match=r"get\("):
        s3dlio.get_by_key("b", "k/x")
    with pytest.warns(DeprecationWarning, match=r"stat\("):
        s3dlio.stat_key("b", "k/x")
    assert asked == ["s3://b/k/x"] * 2


def test_the_default_client_is_made_when_it_is_needed() -> None:
    assert api._default is None
    assert s3dlio.default_client() is s3dlio.default_client()
    assert sys.modules["s3dlio.api"] is api


FUNCTIONS = {
    name: getattr(s3dlio, name)
    for name in [
        "get_range", "get_into", "get_many", "get_many_outcomes", "get_many_stats", "put", "put_bytes",
        "put_many", "list", "list_keys", "list_full_uris", "iterate", "head", "stat", "stat_many", "exists", "presign",
        "get_tags", "put_tags", "pre_stat_and_cache", "delete", "delete_many", "mkdir", "rmdir", "create_bucket",
        "delete_bucket", "list_containers", "upload", "download", "copy", "move", "sync",
    ]
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_and_its_method_have_the_same_explicit_signature(name: str) -> None:
    method = inspect.signature(getattr(s3dlio.Client, name))
    function = inspect.signature(FUNCTIONS[name])
    assert [*function.parameters.values()] == [*method.parameters.values()][1:]
    assert function.return_annotation == method.return_annotation
    kinds = {parameter.kind for parameter in function.parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}


def test_transfers_share_their_options() -> None:
    """Every option of a transfer can be given to every verb that it means something to."""
    common = {each.name for each in dataclasses.fields(TransferOptions)} - {"limits"} | {"min_size", "max_age"}
    lacks = {"upload": set(), "copy": {"procs"}, "move": {"procs"}, "sync": {"recursive", "journal", "procs"},
             "download": {"create_bucket", "options", "guess_content_type"}}  # fmt: skip
    for verb, without in lacks.items():
        assert common - without <= inspect.signature(FUNCTIONS[verb]).parameters.keys(), verb


@pytest.mark.parametrize(
    ("verb", "wrong", "right"),
    [("upload", "recursiv", "recursive"), ("sync", "dryrun", "dry_run"), ("copy", "max_inflight", "max_in_flight")],
)
def test_an_unknown_argument_is_refused_with_the_near_name(verb: str, wrong: str, right: str) -> None:
    for call in (FUNCTIONS[verb], getattr(s3dlio.Client(), verb)):
        with pytest.raises(TypeError, match=rf"{verb}\(\) has no argument '{wrong}'; did you mean {right}\?"):
            call("a", "memory://b/", **{wrong: 1})


def test_a_client_has_an_argument_for_every_section_of_the_settings() -> None:
    assert set(SECTIONS) <= inspect.signature(s3dlio.Client).parameters.keys()


def test_an_endpoint_that_the_environment_gets_too_late_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Older scripts set it anywhere; loaders and classes that are given no client use the one that is there."""
    (tmp_path / "x").write_bytes(b"x")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3dlio.create_dataset(f"file://{tmp_path}/")
    assert caplog.text == ""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    s3dlio.create_dataset(f"file://{tmp_path}/")
    assert "AWS_ENDPOINT_URL changed after the first use" in caplog.text
    assert api.default_client().settings.s3.endpoint_url == "http://127.0.0.1:1"
    caplog.clear()
    s3dlio.create_dataset(f"file://{tmp_path}/")
    s3dlio.configure_s3()
    assert api.default_client().settings.s3.endpoint_url == "http://127.0.0.1:2"
    assert caplog.text == ""
