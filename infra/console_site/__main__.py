"""Puts the console on the web: ``python -m infra.console_site --stack adtailor``.

It makes a bucket and a CloudFront distribution (the stack ``STACK-console``), writes the page and its ``config.json``
into that bucket, and says at which address it is and what the main stack and the issuer have to know of it.

    --bucket NAME    writes into a bucket that is there already, and makes nothing
    --folder PATH    writes the files into a folder, for any other static host, and prints the headers that it must send

Exit status 1: the stack is not there, or something cannot be reached; the message says what.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import boto3
import httpx2
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from infra import sam
from infra.console_site import CACHE_CONTROL, FILES, SCOPES, Site, files, origin, policy

TEMPLATE = Path(__file__).with_name("template.yaml")
_DISCOVERY = "/.well-known/openid-configuration"
_SECONDS = 15

app = typer.Typer(add_completion=False)


class Failed(Exception):
    """It cannot be done; the message is one line."""


@app.command()
def site(
    stack: Annotated[str, typer.Option(help="The main stack.")] = "adtailor",
    client_id: Annotated[
        str,
        typer.Option(help="Of the page at the issuer. Without it: the stack's JwtAudience, which is that of Cognito."),
    ] = "",
    scope: Annotated[str, typer.Option(help="What the page asks the issuer for.")] = SCOPES,
    connect: Annotated[
        list[str] | None, typer.Option(help="A further origin that the page may speak to; may be repeated.")
    ] = None,
    bucket: Annotated[str, typer.Option(help="Write into this bucket; nothing is made.")] = "",
    folder: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write into this folder; nothing is made.")
    ] = None,
) -> None:
    """Puts the console on the web."""
    out, err = Console(), Console(stderr=True)
    try:
        if bucket and folder:
            raise Failed("--bucket and --folder: one of them")
        main = described(stack)
        made = Site(
            api=main["ApiUrl"],
            issuer=main.get("JwtIssuer", ""),
            client_id=client_id or main.get("JwtAudience", "").split(",")[0],
            scope=scope,
            uploads=uploads(main["BucketName"]),
        )
        with httpx2.Client() as client:
            found = discovered(made.issuer, client)
        address = ""
        connects = [*made.connects(found), *(origin(one) for one in connect or ())]
        if folder:
            count = write(folder, made)
        else:
            if not bucket:
                parts = deploy(f"{stack}-console", connects)
                bucket, address = parts["BucketName"], parts["Origin"]
            count = upload(boto3.client("s3"), bucket, made)
    except (Failed, ValueError, sam.Missing) as error:
        err.print(f"[red]error:[/] {error}", highlight=False)
        raise typer.Exit(1) from None
    except (BotoCoreError, ClientError) as error:
        err.print(f"[red]error:[/] AWS: {error}", highlight=False)
        raise typer.Exit(1) from None
    out.print(f"{count} files in {folder or bucket}", highlight=False, soft_wrap=True)
    for line in advice(made, connects, address, stack):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def described(stack: str) -> dict[str, str]:
    """The main stack's outputs and parameters by name.

    Raises:
        Failed: there is no such stack, or it is none of ours.
    """
    try:
        found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            raise Failed(f"there is no stack {stack!r} in this account and region") from None
        raise
    known = {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", ())}
    known |= {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", ())}
    if missing := {"ApiUrl", "BucketName"} - set(known):
        raise Failed(f"the stack {stack!r} has no output {', '.join(sorted(missing))}: is it that of template.yaml?")
    return known


def uploads(bucket: str) -> tuple[str, ...]:
    """Where presigned URLs of the bucket lead to."""
    url = boto3.client("s3").generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "x"})
    region = boto3.Session().region_name
    plain = () if "amazonaws.com" not in url else (f"https://{bucket}.s3.{region}.amazonaws.com",)
    return (origin(url), *plain)


def discovered(issuer: str, client: httpx2.Client) -> dict[str, Any]:
    """The issuer's OpenID configuration; empty without an issuer.

    Raises:
        Failed: it does not say.
    """
    if not issuer:
        return {}
    url = issuer.rstrip("/") + _DISCOVERY
    try:
        answer = client.get(url, timeout=_SECONDS, follow_redirects=True)
        answer.raise_for_status()
        found = answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise Failed(f"the issuer does not say where its endpoints are ({url}): {error}") from None
    if not isinstance(found, dict) or "token_endpoint" not in found:
        raise Failed(f"{url} names no token_endpoint")
    return found


def deploy(stack: str, connects: list[str]) -> dict[str, str]:
    """Makes or updates bucket and distribution; answers the outputs.

    Raises:
        Failed: CloudFormation refused; what it said stands above.
    """
    command = ["deploy", "--stack-name", stack, "--template-file", str(TEMPLATE), "--no-confirm-changeset"]
    command += ["--no-fail-on-empty-changeset", "--no-resolve-s3"]
    command += ["--parameter-overrides", f"ConnectSources='{' '.join(connects)}'"]
    if sam.main(command):
        raise Failed(f"the stack {stack} was not made")
    found = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}


def upload(s3: Any, bucket: str, made: Site, folder: Path = FILES) -> int:
    """Writes every file into the bucket; answers how many."""
    count = 0
    for name, body, kind in files(made.config(), folder):
        s3.put_object(Bucket=bucket, Key=name, Body=body, ContentType=kind, CacheControl=CACHE_CONTROL)
        count += 1
    return count


def write(folder: Path, made: Site) -> int:
    """Writes every file into a folder; answers how many."""
    count = 0
    for name, body, _ in files(made.config()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        count += 1
    return count


def advice(made: Site, connects: list[str], address: str, stack: str) -> list[str]:
    """What is left to do, in lines. address: of our own distribution, which sends its headers itself; empty: that of a
    host of theirs, which nothing here knows."""
    lines = [f"address       {address}/"] if address else []
    parameter = f"CorsOrigin={address}" if address else "the parameter CorsOrigin: the origin of that host"
    command = f"python -m infra.sam deploy --stack-name {stack} --parameter-overrides "
    lines.append(f"main stack    {command * bool(address)}{parameter}")
    if made.issuer:
        there = f"{address}/" if address else "that host's address with a / at its end"
        lines.append(f"issuer        client {made.client_id}, no secret, code with PKCE; callback, sign-out: {there}")
    if not made.issuer:
        lines.append("issuer        the stack has no JwtIssuer: the page cannot sign with IAM, and asks for a token")
    if not address:
        lines.append(f"header        content-security-policy: {policy(connects)}")
        lines.append("header        x-content-type-options: nosniff")
        lines.append("header        referrer-policy: no-referrer")
    return lines


if __name__ == "__main__":
    app(prog_name="python -m infra.console_site")
