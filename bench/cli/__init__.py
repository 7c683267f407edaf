"""The command line: ``python bench.py VERB``. Nothing heavy is imported before the verb that needs it."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit code 2, never a traceback."""
    from bench import streams
    from bench.errors import BenchError

    streams.make_usable()
    try:
        from bench.cli.app import app, run

        try:
            code = run(app)
        finally:
            sys.stdout.flush()  # here, where it can be said that it failed
        raise SystemExit(code)
    except BenchError as error:
        streams.say_error(error)
        raise SystemExit(2) from None
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        streams.drop()
        raise SystemExit(0) from None
    except OSError as error:
        streams.drop()
        where = error.filename or "standard output, or a file that has no name"
        streams.say_error(f"{where}: {error.strerror or error}")
        raise SystemExit(2) from None
    finally:
        # After `disable_gc`: the interpreter would search everything as it ends. Torch's own libraries need that search.
        if not gc.isenabled() and "torch" not in sys.modules:
            gc.freeze()
