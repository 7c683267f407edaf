"""A verb whose options are given once."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from bench.errors import BenchError


class Verb(TyperCommand):
    """A command that refuses an option given twice, where the parser would take the last one without a word.

    Options that take several values, flags and counts are as they were.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line; ``ctx`` is a context of the click that typer brings, whose type differs by version.

        Raises:
            BenchError: if an option of one value is given twice.
        """
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        seen = set[str]()
        for parameter in given:
            flag = getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)
            if parameter.param_type_name != "option" or parameter.multiple or flag:
                continue
            if str(parameter.name) in seen:
                name = max(parameter.opts, key=len)
                joined = f"; all that it asks for stands in one: {name} A=1,B=2" if name == "--only" else ""
                raise BenchError(f"{ctx.command_path}: {name} is given twice{joined}")
            seen.add(str(parameter.name))
        return super().parse_args(ctx, args)
