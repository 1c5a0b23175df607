"""What every command shares: connection options, answers as tables or JSON, problems as one line."""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Literal, ParamSpec, cast, get_args
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.cli.examples import epilog

if TYPE_CHECKING:
    from infra.cli.place import Place
    from infra.client import Client

Parameters = ParamSpec("Parameters")
LOCAL_URL = "http://127.0.0.1:8080"
REFUSED, UNREACHABLE, REJECTED = 1, 3, 4
_AUTH = Literal["auto", "iam", "token", "none"]
_PANEL = "Connection"

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="ADTAILOR_URL", help=f"Of the API; {LOCAL_URL} by default.", rich_help_panel=_PANEL),
]
Stack = Annotated[
    str | None,
    typer.Option(
        "--stack", envvar="ADTAILOR_STACK", help="On AWS: the stack that says where all is.", rich_help_panel=_PANEL
    ),
]
Auth = Annotated[
    str,
    typer.Option(
        "--auth", envvar="ADTAILOR_AUTH", help=f"Signs requests: {', '.join(get_args(_AUTH))}.", rich_help_panel=_PANEL
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="ADTAILOR_TOKEN", help="A JWT of your issuer.", rich_help_panel=_PANEL, show_envvar=True
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]


_SIGN_IN = " (sign in again, such as by `aws sso login`)"
_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRetrievalError", "SSOTokenLoadError"}
    | {"UnauthorizedSSOTokenError", "InvalidClientTokenId", "UnrecognizedClientException"}
)
_NOT_LET = frozenset({"AccessDenied", "AccessDeniedException", "403", "Forbidden", "SignatureDoesNotMatch"})
_HINTS = {
    401: " (who asks? --token or ADTAILOR_TOKEN, a token that has not expired, or --auth iam)",
    403: " (has your role execute-api:Invoke, or your token the scope? infra/guides/deploy.md says what is needed)",
    429: " (the tenant's limit of requests; wait, or raise it: infra/guides/operate.md)",
}


class Failed(Exception):
    """A command cannot be done; the message is one line, `code` the exit status, `more` goes into the JSON."""

    def __init__(self, message: str, code: int = REFUSED, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.more = more


@dataclass
class Session:
    """One run of a command. `out`: what it answers; `err`: progress and problems. so_far: what is done already, which
    the JSON of a problem has beside it."""

    given_url: str | None = None
    stack: str | None = None
    auth: str = "auto"
    token: str | None = None
    json: bool = False
    so_far: dict[str, Any] = field(default_factory=dict)
    out: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))

    def __post_init__(self) -> None:
        self.token = (self.token or "").strip() or None  # what a file or a pipe leaves at its end

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """What the stack says of itself: its outputs and parameters; nothing without a stack."""
        from infra.cli.place import outputs_of

        return outputs_of(self.stack) if self.stack else {}

    @cached_property
    def url(self) -> str:
        found = self.given_url or self.outputs.get("ApiUrl") or LOCAL_URL
        if not found.startswith(("http://", "https://")):
            raise Failed(f"--url: {found} must begin with http:// or https://", 2)
        try:
            parts = urlsplit(found)
            known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            known = False
        if not known:
            raise Failed(f"--url: {found} is no address", 2)
        return found

    @cached_property
    def client(self) -> Client:
        from infra.client import Client

        if self.auth not in get_args(_AUTH):
            raise Failed(f"--auth: use {', '.join(get_args(_AUTH))}, not {self.auth}", 2)
        return Client(self.url, auth=cast("_AUTH", self.auth), token=self.token)

    @property
    def by_token(self) -> bool:
        """Whether a token stands for the caller: there may be no credentials of AWS then."""
        return self.auth == "token" or (self.auth == "auto" and self.token is not None)

    @cached_property
    def place(self) -> Place:
        from infra.cli.place import place_of

        return place_of(self.url, self.outputs)

    def answer(self, body: Mapping[str, Any], show: Callable[[], None]) -> None:
        """Prints the body as JSON, or what `show` prints."""
        if self.json:
            sys.stdout.write(json.dumps(body, ensure_ascii=False, default=str) + "\n")
        else:
            show()

    def print(self, text: str = "", *, style: str | None = None) -> None:
        """A line of the answer, without markup."""
        self.out.print(text, style=style, markup=False)

    def note(self, text: str) -> None:
        """A line beside the answer; nothing with ``--json``."""
        if not self.json:
            self.err.print(text, markup=False, style="dim")

    def table(self, *columns: str, title: str | None = None) -> Table:
        """A plain table; columns whose name begins with # are numbers."""
        made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            made.add_column(column.removeprefix("#"), justify="right" if column.startswith("#") else "left")
        return made

    def close(self) -> None:
        if "client" in self.__dict__:
            self.client.close()


def cell(value: object) -> str:
    """A value in a table, without markup of its own."""
    return escape(f"{value:.2f}" if isinstance(value, float) else "" if value is None else str(value))


def name_of(names: Mapping[Any, str] | None) -> str:
    """A name in both languages, once where they are the same."""
    return " / ".join(dict.fromkeys((names or {}).values()))


def command(
    app: typer.Typer, name: str, **options: Any
) -> Callable[[Callable[Concatenate[Session, Parameters], None]], Callable[..., None]]:
    """Registers a command whose function gets a `Session` first; the connection's options are added to its own."""

    def register(function: Callable[Concatenate[Session, Parameters], None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [
            inspect.Parameter("json_", keyword, default=False, annotation=Json),
            inspect.Parameter("url", keyword, default=None, annotation=Url),
            inspect.Parameter("stack", keyword, default=None, annotation=Stack),
            inspect.Parameter("auth", keyword, default="auto", annotation=Auth),
            inspect.Parameter("token", keyword, default=None, annotation=Token),
        ]

        def run(**given: Any) -> None:
            session = Session(
                given.pop("url"), given.pop("stack"), given.pop("auth"), given.pop("token"), given.pop("json_")
            )
            perform(session, lambda: cast("Callable[..., None]", function)(session, **given))

        parameters = [one.replace(kind=keyword) for one in own] + shared
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__doc__ = function.__doc__
        run.__name__ = function.__name__
        group = app.info.name if isinstance(app.info.name, str) else ""
        app.command(name, **({"epilog": epilog(f"{group} {name}".strip())} | options))(run)
        return run

    return register


def perform(session: Session, work: Callable[[], None]) -> None:
    """Does the work; a problem ends it with one line on stderr, an object on stdout where JSON is wanted, and its
    status."""
    try:
        work()
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        code, line, body = _explained(session, error)
        session.err.print(f"[bold red]error[/] {escape(' '.join(line.split()))}")
        if session.json:
            print_problem(body, session.so_far)
        raise typer.Exit(code) from None
    finally:
        session.close()


def print_problem(body: Mapping[str, Any], so_far: Mapping[str, Any] | None = None) -> None:
    """A problem as the JSON object of a command."""
    sys.stdout.write(json.dumps({"error": body, **(so_far or {})}, ensure_ascii=False, default=str) + "\n")


def _explained(session: Session, error: Exception) -> tuple[int, str, Mapping[str, Any]]:
    """Exit status, line and JSON of a problem. What nobody foresaw says where it is, to be reported."""
    from botocore.exceptions import BotoCoreError, ClientError

    from infra.client import ApiError
    from infra.importers.mapping import MappingError
    from infra.importers.tables import TableError
    from infra.signing import SigningError, TokenError
    from shared.errors import AdTailorError, Unavailable

    if isinstance(error, Failed):
        return error.code, str(error), {"title": str(error), **error.more}
    if isinstance(error, ApiError):
        hint = " (is it running? `make run`, or give --url)" if error.status == 0 and session.url == LOCAL_URL else ""
        hint = hint or _HINTS.get(error.status, "")
        body = error.problem or {"status": error.status, "title": error.title, "detail": error.detail}
        return REFUSED if 400 <= error.status < 500 else UNREACHABLE, f"{error}{hint}", body
    if isinstance(error, Unavailable):
        local = "place" in session.__dict__ and session.place.aws
        hint = f" (asked at {local}; where the local system says otherwise, set ADTAILOR_AWS_URL)" if local else ""
        return UNREACHABLE, f"{error}{hint}", {"title": str(error)}
    if isinstance(error, TokenError):
        return 2, str(error), {"title": str(error)}
    if isinstance(error, (MappingError, TableError, SigningError, AdTailorError)):
        return REFUSED, str(error), {"title": str(error)}
    if isinstance(error, (BotoCoreError, ClientError)):
        code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
        refused = code in _NOT_LET or code in _EXPIRED
        hint = _SIGN_IN if code in _EXPIRED or type(error).__name__ in _EXPIRED else ""
        return REFUSED if refused or hint else UNREACHABLE, f"AWS: {error}{hint}", {"title": str(error)}
    if isinstance(error, OSError):
        return REFUSED, f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), {"title": str(error)}
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = f"a defect of adtailor, please report it: {type(error).__name__}: {error}"
    return REFUSED, f"{line} ({Path(frame.filename).name}:{frame.lineno})", {"title": line}


def environment(name: str, fallback: str = "") -> str:
    """A variable of the environment; `fallback` where it is not set or empty."""
    return os.environ.get(name) or fallback
