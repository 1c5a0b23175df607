"""Copy that people approved, as the rows that `train_copywriter` learns from: ``python -m infra.training.approved_copy
--tenant demo --out approved.jsonl``.

What was approved through ``POST /v1/copy/reviews`` is kept with the facts of its ad (at most `MAX_APPROVED` texts of a
language, the latest). The table is that of the environment (``TABLE_NAME``, AWS's own variables).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from shared.errors import AdTailorError
from shared.stores.copies import MAX_APPROVED, Approved


def rows(approved: Iterable[Approved]) -> Iterator[dict[str, Any]]:
    """One row a text, in the format of `infra.training.copywriter_pairs`."""
    for one in approved:
        ad = {name: value for name, value in one.ad.items() if value is not None}
        yield {"ad": ad, "copy": one.text} | ({"audience": list(one.audience)} if one.audience else {})


def command(
    tenant: Annotated[str, typer.Option(help="Whose copy")],
    out: Annotated[Path, typer.Option(help="JSON Lines for train_copywriter --pairs")],
) -> None:
    """Writes a tenant's approved copy as training rows."""
    console = Console(stderr=True)
    from shared.wiring import system

    try:
        lines = [orjson.dumps(row) for row in rows(system().stores.copies.approved(tenant))]
        if lines:
            out.write_bytes(b"".join(line + b"\n" for line in lines))
    except (AdTailorError, OSError) as error:
        console.print(f"approved copy: {error}", style="bold red", highlight=False, markup=False)
        raise typer.Exit(1) from None
    if not lines:
        console.print(f"nobody has approved any copy of {tenant}", style="bold red", highlight=False, markup=False)
        raise typer.Exit(1)
    kept = f"; the latest {MAX_APPROVED:,} of a language are kept" if len(lines) >= MAX_APPROVED else ""
    console.print(f"{len(lines):,} texts in {out}{kept}", highlight=False, markup=False)


if __name__ == "__main__":
    typer.run(command)
