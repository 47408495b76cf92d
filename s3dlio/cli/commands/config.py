"""``config``: every setting, its value and where it comes from."""

from __future__ import annotations

from s3dlio.cli.context import Context
from s3dlio.settings import unknown_variables
from s3dlio.sources import ignored_variables


def run(context: Context) -> None:
    """Settings as a table, then the variables that are set but have no effect here."""
    settings = list(context.settings.describe())
    names = max(len(shown.name) for shown in settings)
    values = max(len(shown.value) for shown in settings)
    context.out.results(
        (
            {"name": shown.name, "value": shown.value, "origin": shown.origin, "description": shown.doc}
            for shown in settings
        ),
        (f"{shown.name:<{names}}  {shown.value:<{values}}  {shown.origin}" for shown in settings),
    )
    for variable, reason in ignored_variables().items():
        context.out.result({"ignored": variable, "reason": reason}, f"{variable} is ignored: {reason}")
    for variable, reason in unknown_variables().items():
        text = f"{context.out.name(variable)} is unknown: {reason}"
        context.out.result({"unknown": variable, "reason": reason}, text)
