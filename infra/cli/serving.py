"""Commands that ask for what the product makes: categories, copy, recommendations."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any, cast

import typer

from infra.cli.session import Failed, Session, cell, command, name_of

Language = Annotated[str | None, typer.Option(help="zh or en.")]
_DONE = frozenset({"done", "failed"})


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    options = {"rich_help_panel": "Ads"}
    command(app, "recommend", **options)(recommend)
    command(app, "classify", **options)(classify)
    command(app, "copy", **options)(copy)


def recommend(
    session: Session,
    user_id: Annotated[str, typer.Argument(help="The person's id, as in your events.")],
    n: Annotated[int, typer.Option("-n", min=1, max=50, help="How many ads.")] = 5,
    domain: Annotated[str | None, typer.Option(help="Of the page: ecommerce, social, education or health.")] = None,
    language: Language = None,
    platform: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    placement: Annotated[str | None, typer.Option(help="Which place on it.")] = None,
    personalised: Annotated[
        bool, typer.Option("--personalised/--impersonal", help="Use what is known of them?")
    ] = True,
    compare: Annotated[
        bool, typer.Option("--compare", help="Beside it: the same for somebody unknown, and why it differs.")
    ] = False,
    minor: Annotated[bool, typer.Option("--minor", help="They are under age.")] = False,
) -> None:
    """The ads for a person now, each with its copy and why."""
    context = {
        name: value for name, value in (("domain", domain), ("language", language), ("platform", platform)) if value
    }
    more: dict[str, Any] = {"minor": True} if minor else {}
    found = session.client.recommend(
        user_id, n=n, placement=placement, context=context, personalised=personalised, compare=compare, **more
    )

    def show() -> None:
        _ads(
            session,
            found["ads"],
            f"decision {found['decision_id']}" + ("" if found["personalised"] else " (impersonal)"),
        )
        if not found["ads"]:
            session.print("no ad may be shown: is the catalogue empty, or all of it out of time or budget?")
        if "twin" in found:
            session.print()
            _ads(session, found["twin"]["ads"], "for somebody unknown")
            session.print()
            for one in found["twin"]["difference"]["explained"]:
                session.print(f"{one['ad_id']}: {name_of(one['text'])}")
            session.print(name_of(found["twin"]["difference"]["text"]))

    session.answer(found, show)


def _ads(session: Session, ads: Any, title: str) -> None:
    table = session.table("#", "ad", "copy", "#score", "why", title=title)
    for place, ad in enumerate(ads, start=1):
        why = "; ".join(one["text"] for one in ad["reasons"])
        table.add_row(str(place), cell(ad["ad_id"]), cell(ad["copy"]), f"{ad['score']:.4f}", cell(why))
    session.out.print(table)


def classify(
    session: Session,
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts, up to 256 and 200,000 bytes; - or nothing reads them from stdin, one a line."),
    ] = None,
    head: Annotated[str | None, typer.Option(help="adproduct, content, or a head of your own.")] = None,
    top: Annotated[int, typer.Option(min=1, max=20)] = 3,
) -> None:
    """Categories of texts, and what advertising law says of them."""
    if not texts or texts == ["-"]:
        texts = [line.strip() for line in sys.stdin if line.strip()]
    if not texts:
        raise Failed("there is no text to classify", 2)
    found = session.client.classify(texts, head=head, top=top)

    def show() -> None:
        table = session.table("text", "category", "#probability", "id")
        for text, result in zip(texts, found["results"], strict=True):
            if result["abstained"]:
                table.add_row(cell(text[:60]), "(none is good enough)", "", "")
                continue
            for place, label in enumerate(result["labels"]):
                table.add_row(
                    cell(text[:60] if not place else ""),
                    cell(name_of(label["name"])),
                    cell(label["probability"]),
                    cell(label["id"]),
                )
        session.out.print(table)
        for text, result in zip(texts, found["results"], strict=True):
            for finding in result["findings"]:
                start, end = finding["span"]
                session.print(f"{finding['severity']}: “{text[start:end]}” {finding['reason']} ({finding['citation']})")

    session.answer(found, show)


def copy(
    session: Session,
    ad_id: Annotated[str | None, typer.Argument(help="An ad of the catalogue.")] = None,
    title: Annotated[str | None, typer.Option(help="Instead of an ad: what it is.")] = None,
    description: Annotated[str | None, typer.Option(help="Its facts.")] = None,
    user_id: Annotated[str | None, typer.Option("--user", help="For one person.")] = None,
    segment: Annotated[str | None, typer.Option(help="For a taxonomy category, such as adproduct:1118.")] = None,
    channel: Annotated[str | None, typer.Option(help="Such as feed, google_search, wechat_moments.")] = None,
    language: Language = None,
    tone: Annotated[str | None, typer.Option(help="How it should sound.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=20)] = 3,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask the model even where the bank has enough.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a queued job.")] = 300,
) -> None:
    """Ad copy that was checked against the ad's facts and the law, and what was refused."""
    if (ad_id is None) == (title is None):
        raise Failed("give an ad's id, or --title", 2)
    ad = {"title": title, **({"description": description} if description else {})} if title else None
    more: dict[str, Any] = {"fresh": True} if fresh else {}
    found: Any = session.client.copy(
        ad_id,
        ad=ad,
        user_id=user_id,
        segment=segment,
        channel=channel,
        language=cast("Any", language),  # the API says which there are
        tone=tone,
        n=n,
        **more,
    )
    if "job_id" in found:
        found = _job(session, found["job_id"], timeout)

    def show() -> None:
        for one in found["copies"]:
            session.print(f"{one['served_by']:<11}{one['text']}")
            claims = [f"{claim['text']} <- {claim['support']}" for claim in one["claims"]]
            if claims:
                session.print(f"{'':<11}{', '.join(claims)}", style="dim")
        for one in found["rejected"]:
            session.print(f"{'refused':<11}{one['text']}", style="red")
            session.print(f"{'':<11}{'; '.join(one['reasons'])}", style="dim")
        if found.get("notice"):
            session.note(found["notice"])

    session.answer(found, show)


def _job(session: Session, job_id: str, timeout: float) -> Any:
    deadline = time.monotonic() + timeout
    with session.err.status("writing"):
        while (job := session.client.copy_job(job_id))["state"] not in _DONE:
            if time.monotonic() > deadline:
                raise Failed(f"job {job_id} is {job['state']} after {timeout:,.0f} s", 3, job_id=job_id)
            time.sleep(0.5)
    if job["state"] == "failed" or job["result"] is None:
        raise Failed(f"job {job_id} failed: {job['error']}", 1, job_id=job_id)
    return job["result"]
