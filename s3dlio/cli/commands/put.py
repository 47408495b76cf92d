"""``put``: generated objects, as many as asked for."""

from __future__ import annotations

from s3dlio.cli.context import Context
from s3dlio.cli.keywords import given_keywords
from s3dlio.cli.summary import finish
from s3dlio.transfer.actions import Action
from s3dlio.transfer.generate import put_generated
from s3dlio.transfer.object_options import object_options
from s3dlio.transfer.progress import reporting
from s3dlio.verbs.keywords import OBJECT

DEFAULT_TEMPLATE = "object_{}_of_{}.dat"


def run(context: Context) -> None:
    """Write them, then the summary; any that failed make the command fail."""
    args = context.args
    template = args.template
    if template is not None and "{}" in args.uri:
        context.refuse("'{}' is in both the URI and -t/--template: leave one of them out")
    if template is None and "{}" not in args.uri:
        template = DEFAULT_TEMPLATE
    with reporting(context.bar("PUT")) as progress:
        summary = put_generated(
            context.client,
            args.uri,
            args.num,
            template=template,
            size=args.size,
            max_in_flight=args.jobs,
            create_bucket=args.create_bucket,
            object_type=args.object_type,
            elements=args.elements,
            dedup=args.dedup,
            compress=args.compress,
            algorithm=args.data_gen_algorithm,
            mode=args.data_gen_mode,
            chunk_size=args.chunk_size,
            seed=args.seed,
            continue_on_error=args.continue_on_error,
            progress=progress,
            procs=args.procs,
            options=object_options(**given_keywords(args, OBJECT)),
            dry_run=args.dry_run,
            on_action=lambda action: _would(context, action),
        )
    finish(context.out, "PUT", summary, dry_run=args.dry_run, done="written")


def _would(context: Context, action: Action) -> None:
    record = {"verb": action.verb, "target": action.target, "size": action.size}
    context.would(record, f"{action.verb} {action.target}")
