"""The command line as a language: what it accepts, what it refuses and how it says so, what it costs to load."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from s3dlio._version import __version__
from s3dlio.cli.argument_parser import UsageError
from s3dlio.cli.parser import build_parser, parse


def commands() -> dict[str, object]:
    return {command.prog: command for command in build_parser().every_command()}


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(words)
    return str(caught.value)


def test_global_options_before_and_after_the_command_mean_the_same():
    options = ["--json", "--endpoint-url", "http://h:1", "--region=eu", "--ca-bundle", "ca", "--profile", "p",
               "--no-sign-request", "--progress"]  # fmt: skip
    before = parse([*options, "stat", "s3://b/k"])
    after = parse(["stat", "s3://b/k", *options])
    assert before == after
    assert before.endpoint_url == "http://h:1"
    assert before.json is before.no_sign_request is before.progress is True
    assert (before.region, before.ca_bundle, before.profile) == ("eu", "ca", "p")


def test_global_options_default_to_nothing():
    args = parse(["stat", "s3://b/k"])
    assert (args.endpoint_url, args.region, args.ca_bundle, args.profile, args.progress) == (None,) * 5
    assert (args.json, args.no_sign_request, args.verbose) == (False, False, 0)


def test_an_option_before_the_command_is_not_reset_by_it():
    assert parse(["--region", "eu", "--no-progress", "ls", "s3://b/"]).region == "eu"
    assert parse(["--no-progress", "ls", "s3://b/"]).progress is False


def test_later_option_wins_over_earlier():
    assert parse(["--region", "a", "ls", "s3://b/", "--region", "b"]).region == "b"


@pytest.mark.parametrize("words", ["-vv ls u", "-v ls u -v", "ls -vv u", "ls u --verbose -v"])
def test_verbosity_adds_up(words: str):
    assert parse(words.split()).verbose == 2


def test_endpoint_has_a_short_name():
    assert parse(["ls", "s3://b/", "--endpoint", "http://h:1"]).endpoint_url == "http://h:1"


def test_options_may_stand_among_the_operands():
    args = parse(["upload", "a", "-j", "4", "b", "--create-bucket", "s3://b/"])
    assert (args.sources, args.dest, args.jobs, args.create_bucket) == (["a", "b"], "s3://b/", 4, True)


def test_short_options_cluster_and_take_values_in_every_way():
    for words in (["-rp", "x", "u"], ["-r", "-px", "u"], ["u", "-rpx"], ["-r", "--pattern=x", "u"]):
        args = parse(["ls", *words])
        assert (args.recursive, args.pattern, args.uris) == (True, "x", ["u"])


def test_a_value_may_begin_with_a_dash():
    assert parse(["ls", "-p", "-x$", "u"]).pattern == "-x$"


def test_everything_behind_a_double_dash_is_an_operand():
    args = parse(["upload", "-j", "2", "--", "-odd-", "--json", "s3://b/"])
    assert (args.sources, args.json) == (["-odd-", "--json"], False)


def test_a_dash_is_an_operand():
    assert parse(["get", "--keylist", "-"]).keylist == "-"


@pytest.mark.parametrize(
    ("alias", "name"), [("list", "ls"), ("delete", "rm")]
)
def test_aliases(alias: str, name: str):
    assert parse([alias, "s3://b/"]).run == parse([name, "s3://b/"]).run


def test_documented_defaults():
    put = parse(["put", "s3://b/"])
    assert (put.num, put.size, put.jobs, put.dedup, put.compress) == (1, 20971520, 32, 1, 1)
    assert (put.object_type, put.data_gen_mode, put.chunk_size) == ("RAW", "streaming", 262144)
    assert (put.template, put.create_bucket, put.seed) == (None, False, None)
    get = parse(["get", "s3://b/"])
    assert (get.jobs, get.recursive, get.offset, get.length, get.keylist) == (64, False, None, None, None)
    assert parse(["get", "u", "--concurrent", "7"]).jobs == 7
    assert parse(["upload", "a", "s3://b/"]).jobs == 32
    assert parse(["download", "s3://b/", "d"]).jobs == 64
    assert parse(["list-buckets"]).uri == "s3://"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("8MB", 8_000_000), ("8MiB", 8 << 20), ("8m", 8_000_000), ("8mi", 8 << 20), ("1k", 1000), ("1ki", 1024),
     ("2gib", 2 << 30), ("1_000", 1000), ("17b", 17), ("3g", 3 * 10**9)],
)  # fmt: skip
def test_sizes(text: str, value: int):
    assert parse(["put", "u", "-s", text]).size == value


@pytest.mark.parametrize("text", ["", "x", "8mx", "-1", "0x10", "1e3", "8 parsecs", "1,5M", str(2**63)])
def test_bad_sizes_are_named_with_their_option(text: str):
    message = refused("put", "u", "-s", text)
    assert "-s/--size" in message
    assert repr(text) in message


def test_what_is_too_large_is_told_the_limit():
    assert f"(valid range: 0 to {2**63 - 1})" in refused("put", "u", "-s", str(2**63))
    assert "(valid range: 1 or more)" in refused("put", "u", "--chunk-size", "0")
    assert f"(valid range: 0 to {2**64 - 1})" in refused("put", "u", "--seed", str(2**64))
    assert parse(["put", "u", "--seed", str(2**64 - 1)]).seed == 2**64 - 1


def test_factors_may_be_0_which_is_off():
    args = parse(["put", "u", "-d", "0", "-x", "0"])
    assert (args.dedup, args.compress) == (0, 0)


@pytest.mark.parametrize("text", ["0", "4097", "5k", "x", "-1", ""])
def test_jobs_are_1_to_4096(text: str):
    message = refused("get", "u", "-j", text)
    assert "-j/--jobs" in message
    assert f"invalid jobs value '{text}'" in message


def test_jobs_message_says_the_range():
    assert "jobs must be an integer >= 1 (valid range: 1 to 4096)" in refused("get", "u", "-j", "0")
    assert parse(["get", "u", "-j", "4ki"]).jobs == 4096


def test_a_regular_expression_that_does_not_compile_is_refused_before_anything_is_done():
    message = refused("ls", "u", "-p", "(")
    assert "-p/--pattern" in message
    assert "'('" in message


def test_a_glob_is_understood_where_it_is_no_regular_expression():
    assert parse(["ls", "u", "-p", "*.npz"]).pattern == "*.npz"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("ls u --recursve", "unknown option '--recursve'; did you mean '--recursive'?"),
        ("--jsn ls u", "unknown option '--jsn'; did you mean '--json'?"),
        ("lss u", "unknown command 'lss'; did you mean 'ls'?"),
        ("remove u", "unknown command 'remove'; did you mean 'rm'?"),
        ("copy a b", "unknown command 'copy'; did you mean 'cp'?"),
        ("zzz u", "unknown command 'zzz'; --help lists what there is"),
        ("get u --concurrency 4", "unknown option '--concurrency'; did you mean '--jobs'?"),
        ("get u --debug", "unknown option '--debug'; did you mean '-vv'?"),
        ("ls u -rZ", "unknown option '-rZ'; --help lists what there is"),
        ("ls u --rec", "unknown option '--rec'"),
        ("frobnicate", "unknown command 'frobnicate'; --help lists what there is"),
        ("pipe u", "unknown command 'pipe'; 'cp - URI' stores standard input"),
        ("uploads s3://b", "unknown command 's3://b'; did you mean 'uploads ls s3://b'?"),
        ("rcat u", "unknown command 'rcat'; 'cp - URI' stores standard input"),
        ("cp a u -R", "unknown option '-R'; did you mean '-r'?"),
        ("s3://b", "unknown command 's3://b'; did you mean 'ls s3://b'?"),
        ("bench compare a b", "unknown command 'compare'; 'analyze --compare A B' compares two runs"),
        ("find u --delete", "unknown option '--delete'; 'rm -r URI' takes --include, --min-age"),
        ("cp a u --limit-upload 1M", "unknown option '--limit-upload'; did you mean '--bwlimit'?"),
        ("cp a u --tags a=1&b=2", "invalid tag 'a=1&b=2': give the option once for each tag"),
    ],
)
def test_typos_are_named_and_corrected(words: str, hint: str):
    assert hint in refused(*words.split())


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("sync a u --dryrun", "dry_run", True),
        ("rm -r u --older-than 7d", "min_age", "7d"),
        ("download -r u a --newer-than 1d", "max_age", "1d"),
        ("presign u --expires-in 604800", "expires", 604800),
        ("presign u --expire 7d", "expires", 604800),
    ],
)
def test_options_have_the_names_of_other_tools_too(words: str, name: str, value: object):
    assert getattr(parse(words.split()), name) == value


@pytest.mark.parametrize(
    ("words", "what"),
    [("", "COMMAND"), ("stat", "URI"), ("upload a", "DEST"), ("download u", "DEST_DIR"), ("presign u extra", "extra"),
     ("put u -n", "-n/--num"), ("put u --size", "-s/--size"), ("completion tcsh", "SHELL"),
     ("put u -o CSV", "-o/--object-type"), ("ls u --recursive=yes", "--recursive"), ("put u -d -1", "-d/--dedup")],
)  # fmt: skip
def test_missing_superfluous_and_wrong_words_are_named(words: str, what: str):
    assert what in refused(*words.split())


def test_every_command_names_a_function_that_exists():
    for name, command in commands().items():
        if command.commands():  # type: ignore[attr-defined]
            continue  # a group
        module, _, function = command.get_default("run").partition(":")  # type: ignore[attr-defined]
        assert callable(getattr(importlib.import_module(f"s3dlio.cli.commands.{module}"), function)), name


def test_every_option_and_operand_says_what_it_does():
    for name, command in commands().items():
        for action in command._actions:  # type: ignore[attr-defined]
            assert action.help, (name, action.dest)


def test_ways_to_spread_requests_are_those_of_the_settings():
    from s3dlio.cli import parser
    from s3dlio.config import endpoint_list

    assert parser.STRATEGIES == endpoint_list.STRATEGIES


def test_version_and_help_exit_with_0(capsys: pytest.CaptureFixture[str]):
    for words in (["--version"], ["--help"], ["ls", "--help"]):
        with pytest.raises(SystemExit) as caught:
            parse(words)
        assert caught.value.code == 0
    assert f"s3-cli {__version__}" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    heavy = ["boto3", "botocore", "azure", "google", "numpy", "tqdm", "urllib3", "ssl", "asyncio", "s3dlio.client"]
    code = (
        "import sys; from s3dlio.cli.main import main\n"
        "try: main(['ls', '--help'])\n"
        "except SystemExit: pass\n"
        f"loaded = [name for name in {heavy} if name in sys.modules]\n"
        "sys.exit(f'imported: {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_that_are_not_named_are_listed_and_cost_nothing():
    whole, quick = build_parser(), build_parser(["ls"])
    assert quick.format_help() == whole.format_help()
    assert quick.commands().keys() == whole.commands().keys()
    assert quick.commands()["ls"].format_help() == whole.commands()["ls"].format_help()
    assert not hasattr(quick.commands()["put"], "_actions")
