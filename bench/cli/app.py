"""The verbs, put together."""

from __future__ import annotations

from collections.abc import Callable

import typer

from bench import streams
from bench.cli import (
    check,
    data,
    grids,
    inspect,
    listing,
    memory,
    page,
    prune,
    reports,
    share,
    speed,
    splits,
    take,
    track,
    tune,
)
from bench.cli.backend import backends
from bench.cli.once import Verb

app = typer.Typer(
    name="bench.py",
    help="A reproducibility benchmark harness for semi-supervised semantic segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS: tuple[Callable[..., None], ...] = (
    *(grids.plan, grids.run, grids.status),
    *(verb for backend in backends() for verb in backend.verbs),
    *(
        reports.table,
        reports.plot,
        page.report,
        page.serve,
        tune.tune,
        track.track,
        prune.prune,
        share.describe,
        share.bundle,
        share.merge,
        memory.memory,
        speed.speed,
    ),
    *(
        listing.list_entries,
        splits.split,
        check.check,
        inspect.evaluate,
        take.export,
        take.predict,
        take.frame,
        inspect.doctor,
    ),
)
for verb in VERBS:
    app.command("list" if verb is listing.list_entries else None, cls=Verb)(verb)
app.add_typer(data.data_app, name="data")
app.add_typer(inspect.weights_app, name="weights")

# What typer raises for a command line that it can't read; it brings its own copy of click in some versions.
_USAGE: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")


def run(verbs: typer.Typer) -> int:
    """Run the verb that the command line names; return the exit code.

    A command line that can't be read is one line, as all bad input is; one without a verb gets the usage. Both exit with 2.
    """
    try:
        return int(verbs(prog_name="bench.py", standalone_mode=False) or 0)
    except typer.Abort:  # the answer to a question was the end of input
        streams.say_error("nothing was answered, so nothing is done")
        return 1
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            return 2
        context = getattr(error, "ctx", None)
        verb = context.command_path if context is not None else "bench.py"
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        streams.say_error(f"{verb}: {message}; '{verb} -h' says more")
        return 2
