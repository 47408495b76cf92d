"""``config``: every setting, its value and where it comes from, and how bodies cross TLS here."""

from __future__ import annotations

import ssl

from s3dlio.cli.context import Context
from s3dlio.config.environment import ignored_variables, variable_layers
from s3dlio.config.layers import Problem
from s3dlio.config.settings import Settings, Shown, unknown_variables
from s3dlio.errors import ConfigError
from s3dlio.net.tls_chain import refusal


def run(context: Context) -> None:
    """Settings as a table, then what is set but has no effect here, then what cannot be used."""
    settings, problems = Settings.inspect(**context.given)
    settings, keys = _with_profile(settings, problems)
    shown = [
        line._replace(value="***", origin=keys) if keys and line.name == "s3.access_key_id" else line
        for line in settings.describe()
    ]
    if context.args.changed:
        _show_changed(context, settings, shown)
        return
    wrong = {problem.name: problem for problem in problems}
    shown = [_wrong(line, wrong.pop(line.name)) if line.name in wrong else line for line in shown]
    names = max(len(line.name) for line in shown)
    values = max(len(line.value) for line in shown)
    context.out.results(
        ({"name": line.name, "value": line.value, "origin": line.origin, "description": line.doc} for line in shown),
        (f"{line.name:<{names}}  {context.out.name(line.value):<{values}}  {context.out.name(line.origin)}"
         for line in shown),
    )  # fmt: skip
    _show_tls(context, settings)
    for variable, reason in _without_effect(settings).items():
        context.out.result({"ignored": variable, "reason": reason}, f"{variable} is ignored: {reason}")
    for variable, reason in _unknown().items():
        text = f"{context.out.name(variable)} is unknown: {reason}"
        context.out.result({"unknown": variable, "reason": reason}, text)
    for problem in problems:
        text = f"{context.out.name(problem.name)} cannot be used: {problem.reason}"
        context.out.result({"invalid": problem.name, "origin": problem.origin, "reason": problem.reason}, text)


def _show_changed(context: Context, settings: Settings, shown: list[Shown]) -> None:
    """What a figure depends on; a benchmark has the same in its result."""
    from s3dlio.bench.environment import environment, lines

    found = environment(settings, shown)
    context.out.result(found, "\n".join(map(context.out.name, lines(found))))


def _show_tls(context: Context, settings: Settings) -> None:
    reason = refusal() if settings.http.tls_direct else "http.tls_direct is off"
    if reason:
        context.out.result({"tls": "ssl", "reason": reason}, f"TLS: record by record, by Python's ssl: {reason}")
        return
    context.out.result({"tls": "direct", "reason": ssl.OPENSSL_VERSION},
                       f"TLS: large bodies many records a call, by {ssl.OPENSSL_VERSION} itself")  # fmt: skip


def _with_profile(settings: Settings, problems: list[Problem]) -> tuple[Settings, str | None]:
    """The settings with what the profile in ``~/.aws`` gives, and where that gets its keys, if they are the ones in
    force."""
    from s3dlio.stores.s3 import profile

    name = settings.s3.profile or "default"
    try:
        if not profile.has_files(settings.s3):
            return settings, None
        session = profile.open_session(settings)
        settings = profile.filled(settings, session)
        wins = settings.origin("s3.profile") == "argument" or not settings.s3.access_key_id
        return settings, profile.key_source(settings, session) if wins else None
    except ConfigError as error:
        problems.append(Problem(f"profile {name}", name, settings.origin("s3.profile"), str(error)))
        return settings, None


def _wrong(line: Shown, problem: Problem) -> Shown:
    return line._replace(value=problem.value, origin=f"{problem.origin} (cannot be used)")


def _without_effect(settings: Settings) -> dict[str, str]:
    try:
        found = ignored_variables()
    except ConfigError:  # reported already
        return {}
    if settings.s3.backend != "arrow":
        for name in ("s3.h2c", "s3.https_h2"):
            origin, _, variable = settings.origin(name).rpartition(" ")
            if origin:
                found[variable] = f"the {settings.s3.backend} transport speaks HTTP/1.1; s3.backend=arrow speaks HTTP/2"
    return found


def _unknown() -> dict[str, str]:
    try:
        return unknown_variables(list(variable_layers()))
    except ConfigError:  # reported already
        return {}
