"""``adtailor``, also ``python -m infra.cli``."""

from __future__ import annotations

import typer

from infra.cli import importing, models, people, serving, uploads
from infra.cli.examples import STATUSES
from infra.cli.usage import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "AdTailor: behaviour and ads in, interests, copy and recommendations out.\n\n"
        "Speaks to http://127.0.0.1:8080 ([bold]make run[/]) unless ADTAILOR_URL, --url or --stack says otherwise. On "
        "AWS requests are signed with your AWS credentials, or carry ADTAILOR_TOKEN. Every command takes --json."
    ),
    epilog=f"Begin with your own data: infra/guides/own-data.md\n\n{STATUSES}",
)
for part in (importing, uploads, people, serving, models):
    part.register(app)


def main() -> None:
    """The console script."""
    app(prog_name="adtailor")


if __name__ == "__main__":
    main()
