"""The command line itself: with ``--json`` a call that cannot be understood is an object on stdout, too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer import rich_utils
from typer.core import TyperGroup

from infra.cli.session import print_problem


class Commands(TyperGroup):
    """Commands that answer with one JSON object where JSON is wanted, whatever is wrong with the call."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        answers = standalone_mode and "--json" in given
        try:
            done = super().main(given, prog_name, complete_var, standalone_mode and not answers, **extra)
        except typer.Abort:
            if not answers:
                raise
            print_problem({"title": "broken off"})
            sys.exit(1)
        except Exception as error:
            # Typer keeps click's exceptions in a private module: one about usage has a status and formats itself.
            status, said = getattr(error, "exit_code", None), getattr(error, "format_message", None)
            if not answers or status is None or said is None:
                raise
            rich_utils.rich_format_error(error)  # type: ignore[arg-type]
            print_problem({"title": said()})
            sys.exit(status)
        if answers:
            sys.exit(done if isinstance(done, int) else 0)
        return done
