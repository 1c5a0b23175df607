"""What each command's help ends with: how it is called. By the command's name, as one types it."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "import": (
        "adtailor import shop.csv --guess --domain ecommerce",
        "adtailor import shop.csv -m shop.mapping.yaml --dry-run",
        "adtailor import shop.csv -m shop.mapping.yaml --upload",
    ),
    "upload": ("adtailor upload events.jsonl.gz ads.csv", "adtailor upload export.csv --kind events --strict"),
    "profile": ("adtailor profile m001", "adtailor profile m001 --json"),
    "consent": ('adtailor consent m001 --personalisation --source "newsletter form"',),
    "export": ("adtailor export m001 --out m001.json",),
    "erase": ("adtailor erase m001 --yes --wait",),
    "recommend": ("adtailor recommend m001 -n 3 --compare", "adtailor recommend m001 --domain social --language en"),
    "classify": ('adtailor classify "a phone with 8 GB"', "adtailor classify --head topics - < texts.txt"),
    "copy": (
        "adtailor copy P301 --user m001",
        'adtailor copy --title "Enamel mug" --description "Holds 350 ml." --language en',
    ),
    "train head": ("adtailor train head labels.csv --name topics",),
    "train status": ("adtailor train status",),
    "promote": ("adtailor promote ranker --judge-only", "adtailor promote ranker"),
}
STATUSES = (
    "Exit status: 0 done; 1 refused, or a file that cannot be used; 2 wrong arguments; 3 nothing answers; "
    "4 lines were rejected (--strict)."
)


def epilog(name: str) -> str | None:
    """The end of a command's help; None where it has no examples."""
    lines = EXAMPLES.get(name)
    if lines is None:
        return None
    statuses = () if name == "promote" else (STATUSES,)  # that has the gate's
    return "\n\n".join(("Examples:", *(one.replace("[", r"\[") for one in lines), *statuses))
