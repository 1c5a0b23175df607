"""A Python client of AdTailor's HTTP API: typed answers, signed requests, problems as exceptions.

::

    with Client("http://127.0.0.1:8080") as adtailor:
        adtailor.send_events([{"user_id": "ann", "event": "view", "timestamp": time.time(), "text": "a phone"}])
        for ad in adtailor.recommend("ann", n=3)["ads"]:
            print(ad["copy"])

Answers are those of ``infra/openapi.json``, typed in `infra.answers`.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, urlencode

import httpx2

from infra.loopback import transport_to, trusted
from infra.signing import Method, authentication, is_local

if TYPE_CHECKING:
    from infra.answers import (
        AdKept,
        AdsTaken,
        AheadAnswer,
        ClassifyAnswer,
        ConsentAnswer,
        CopyAnswer,
        EventsTaken,
        FeedbackAnswer,
        HeadAnswer,
        HeadsAnswer,
        IdentitiesAnswer,
        JobAnswer,
        JobQueued,
        ProfileAnswer,
        RankerAnswer,
        ReviewsAnswer,
    )
    from infra.exports import Export
    from infra.receipts import ErasureReceipt
    from infra.reports import AdsListed, CampaignsAnswer, Kind, UploadAddress, UploadAnswer, VariantsAnswer
    from infra.twins import DecisionAnswer

EVENTS_A_CALL = 500
ADS_A_CALL = 100
_AGAIN = frozenset({409, 429, 502, 503, 504})
_USUAL_WAIT = 0.5  # seconds before the second try, twice that before the third
_LONGEST_WAIT = 20.0
_PIECE = 1 << 18  # bytes of a file that are sent at once

Language = Literal["zh", "en"]


class ApiError(Exception):
    """The API refused a request (a problem document, RFC 9457), or did not answer (`status` 0).

    field: what of the request to mend. problem: the whole document.
    """

    def __init__(
        self, status: int, title: str, detail: str = "", field: str | None = None, problem: Any = None
    ) -> None:
        super().__init__(": ".join(part for part in (title, field, detail) if part))
        self.status = status
        self.title = title
        self.detail = detail
        self.field = field
        self.problem = problem


class Client:
    """AdTailor over HTTP. Requests that met a busy or broken server are sent again, with an idempotency key where they
    change something, up to `tries` times. Every method raises `ApiError`.

    url: of the API. token, auth: see `infra.signing.authentication`. timeout: seconds of one try. transport: for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        auth: Method = "auto",
        token: str | None = None,
        timeout: float = 30.0,
        tries: int = 3,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """
        Raises:
            SigningError: there is nothing to sign with, or it would be sent in the open.
        """
        self.url = url.rstrip("/")
        self._tries = max(1, tries)
        self._timeout = timeout
        self._transport = transport
        self._http = httpx2.Client(
            base_url=self.url,
            auth=authentication(self.url, auth, token=token),
            timeout=timeout,
            transport=transport or transport_to(httpx2.URL(self.url)),
            verify=trusted(),
            trust_env=not is_local(self.url),  # a proxy does not lead to this machine
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Behaviour and people ---------------------------------------------------------------------------------------

    def send_events(self, events: Iterable[Mapping[str, Any]]) -> EventsTaken:
        """Sends events, 500 a call; `index` of a rejected one is its place among all."""
        total: Any = {"accepted": 0, "duplicates": 0, "rejected": [], "versions": {}}
        for start, chunk in _chunks(events, EVENTS_A_CALL):
            answer = self._call("POST", "/v1/events", {"events": chunk})
            total["accepted"] += answer["accepted"]
            total["duplicates"] += answer["duplicates"]
            total["rejected"] += [one | {"index": one["index"] + start} for one in answer["rejected"]]
            total["versions"] = answer["versions"]
        return cast("EventsTaken", total)

    def profile(self, user_id: str) -> ProfileAnswer:
        """A person's interests, as of now."""
        return self._call("GET", f"/v1/users/{_part(user_id)}/profile")

    def edit_interests(self, user_id: str, *, disable: Sequence[str] = (), enable: Sequence[str] = ()) -> ProfileAnswer:
        """Switches interests off or on."""
        body = {"disable": list(disable), "enable": list(enable)}
        return self._call("PATCH", f"/v1/users/{_part(user_id)}/interests", body)

    def set_consent(
        self,
        user_id: str,
        *,
        personalisation: bool,
        source: str,
        sensitive: bool = False,
        at: datetime | float | None = None,
        version: str | None = None,
        tcf: str | None = None,
        minor: bool | None = None,
    ) -> ConsentAnswer:
        """Tells what a person said; `at`: when (None: now). Answers what is in force."""
        when = datetime.now(UTC) if at is None else at
        body = {
            "personalisation": personalisation,
            "sensitive": sensitive,
            "source": source,
            "at": when.isoformat() if isinstance(when, datetime) else when,
            **_given(version=version, tcf=tcf, minor=minor),
        }
        return self._call("PUT", f"/v1/users/{_part(user_id)}/consent", body)

    def link(
        self, user_id: str, *, link: Sequence[Mapping[str, str]] = (), unlink: Sequence[Mapping[str, str]] = ()
    ) -> IdentitiesAnswer:
        """Links or unlinks ids (``{"id": …, "platform": …}``) of one person; with neither, says who is linked."""
        body = {"link": list(link), "unlink": list(unlink)}
        return self._call("PUT", f"/v1/users/{_part(user_id)}/identities", body)

    def export(self, user_id: str) -> Export:
        """All that is kept of a person, or the address of it (``complete`` false)."""
        return self._call("GET", f"/v1/users/{_part(user_id)}/export")

    def erase(self, user_id: str) -> ErasureReceipt:
        """Erases a person; follow the receipt with `erasure` until its state is done."""
        return self._call("DELETE", f"/v1/users/{_part(user_id)}")

    def erasure(self, erasure_id: str) -> ErasureReceipt:
        """The receipt of an erasure as it stands."""
        return self._call("GET", f"/v1/erasures/{_part(erasure_id)}")

    # Ads, texts and copy ----------------------------------------------------------------------------------------

    def put_ads(self, ads: Iterable[Mapping[str, Any]]) -> AdsTaken:
        """Writes ads, 100 a call; `index` of a rejected one is its place among all."""
        taken: list[Any] = []
        versions: dict[str, str] = {}
        for start, chunk in _chunks(ads, ADS_A_CALL):
            answer = self._call("PUT", "/v1/ads", {"ads": chunk})
            for one in answer["ads"]:
                if "rejected" in one:
                    one["rejected"]["index"] += start
                taken.append(one)
            versions = answer["versions"]
        return cast("AdsTaken", {"ads": taken, "versions": versions})

    def ad(self, ad_id: str) -> AdKept:
        """An ad as the catalogue keeps it."""
        return self._call("GET", f"/v1/ads/{_part(ad_id)}")

    def ads(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        campaign_id: str | None = None,
        domain: str | None = None,
    ) -> AdsListed:
        """A page of the catalogue in short; `after`: the ``next`` of the page before."""
        wanted = _given(after=after, limit=limit, campaign_id=campaign_id, domain=domain)
        return self._call("GET", f"/v1/ads?{urlencode(wanted)}")

    def variants(self, ad_id: str) -> VariantsAnswer:
        """The ad's banked texts with their counts and chances."""
        return self._call("GET", f"/v1/ads/{_part(ad_id)}/variants")

    def campaigns(self, *, after: str | None = None, limit: int = 100) -> CampaignsAnswer:
        """A page of what ads have spent and what was counted of them."""
        return self._call("GET", f"/v1/campaigns?{urlencode(_given(after=after, limit=limit))}")

    def classify(self, texts: Sequence[str], *, head: str | None = None, top: int = 3) -> ClassifyAnswer:
        """Categories of up to 256 texts and 200,000 bytes, and what advertising law says of each."""
        return self._call("POST", "/v1/classify", {"texts": list(texts), "top": top, **_given(head=head)})

    def copy(
        self,
        ad_id: str | None = None,
        *,
        ad: Mapping[str, Any] | None = None,
        user_id: str | None = None,
        segment: str | None = None,
        channel: str | None = None,
        language: Language | None = None,
        tone: str | None = None,
        n: int = 3,
        **more: Any,
    ) -> CopyAnswer | JobQueued:
        """Gated copy for an ad of the catalogue or for facts; a job where it was queued (`copy_job`). more: the other
        fields of ``POST /v1/copy``, such as ``fresh`` or ``filter``."""
        given = _given(
            ad_id=ad_id, ad=ad, user_id=user_id, segment=segment, channel=channel, language=language, tone=tone
        )
        return self._call("POST", "/v1/copy", {"n": n, **given, **more})

    def copy_job(self, job_id: str) -> JobAnswer:
        """A job's state, progress and, once it is done, its result."""
        return self._call("GET", f"/v1/copy/{_part(job_id)}")

    def review(self, reviews: Sequence[Mapping[str, Any]]) -> ReviewsAnswer:
        """Approves or rejects texts for ads."""
        return self._call("POST", "/v1/copy/reviews", {"reviews": list(reviews)})

    # Files --------------------------------------------------------------------------------------------------------

    def upload_address(self, kind: Kind, name: str) -> UploadAddress:
        """Where a file of this name may be sent, for a quarter of an hour."""
        return self._call("POST", "/v1/uploads", {"kind": kind, "name": name})

    def upload(
        self, path: Path, kind: Kind, name: str | None = None, *, progress: Callable[[int], None] | None = None
    ) -> str:
        """Sends a file into the bucket past the API, and returns its key; `uploaded` tells what becomes of it. name: in
        the bucket, instead of the file's own. progress: gets bytes as they go."""
        address = self.upload_address(kind, name or path.name)
        size = path.stat().st_size
        if size > address["most_bytes"]:
            most = address["most_bytes"] / 2**30
            raise ApiError(413, "Too large", f"{path.name} has more than {most:.0f} GiB: send it with AWS credentials")
        headers = {"Content-Length": str(size), **address["headers"]}
        with self._outside(address["url"]) as bucket:
            try:
                answer = bucket.put(address["url"], content=_pieces(path, progress), headers=headers)
            except httpx2.TransportError as error:
                raise ApiError(0, "the bucket broke the connection off", _cause(error)) from None
        if not answer.is_success:
            said = re.search(r"<Message>([^<]*)</Message>", answer.text)
            raise ApiError(answer.status_code, "the bucket refuses the file", said[1] if said else answer.text[:200])
        return address["key"]

    def download(self, url: str, path: Path) -> int:
        """Writes what lies at a signed address, such as that of an `export`, into a file; answers its bytes."""
        partly = path.with_name(f"{path.name}.part")
        try:
            with self._outside(url) as bucket, bucket.stream("GET", url) as answer:
                if not answer.is_success:
                    raise ApiError(answer.status_code, "the bucket refuses the file")
                with partly.open("wb") as file:
                    for piece in answer.iter_bytes():
                        file.write(piece)
            return partly.replace(path).stat().st_size
        except httpx2.TransportError as error:
            raise ApiError(0, "the bucket broke the connection off", _cause(error)) from None
        finally:
            partly.unlink(missing_ok=True)

    def _outside(self, url: str) -> httpx2.Client:
        """For a signed address, without the API's authentication: S3 refuses two."""
        return httpx2.Client(
            timeout=self._timeout,
            transport=self._transport or transport_to(httpx2.URL(url)),
            verify=trusted(),
            trust_env=not is_local(url),
        )

    def uploaded(self, kind: Kind, name: str) -> UploadAnswer:
        """What became of the file that was last sent under this name."""
        return self._call("GET", f"/v1/uploads/{kind}/{_part(name)}")

    # Choosing ---------------------------------------------------------------------------------------------------

    def recommend(
        self,
        user_id: str,
        *,
        n: int = 5,
        placement: str | None = None,
        context: Mapping[str, str] | None = None,
        personalised: bool = True,
        compare: bool = False,
        **more: Any,
    ) -> DecisionAnswer:
        """The ads for a person now. compare: also what would be shown without knowing them, and why it differs. more:
        the other fields of ``POST /v1/recommendations``, such as ``minor`` or ``max_per_category``."""
        given = _given(placement=placement, context=dict(context) if context else None)
        body = {"user_id": user_id, "n": n, "personalised": personalised, "compare": compare, **given, **more}
        return self._call("POST", "/v1/recommendations", body)

    def ahead(
        self,
        user_id: str,
        *,
        seconds: float = 0.0,
        n: int = 3,
        domain: str | None = None,
        language: Language | None = None,
    ) -> AheadAnswer:
        """What the person would be answered some `seconds` from now, and the profile that it would rest on; nothing of
        it is kept."""
        wanted = _given(seconds=seconds, n=n, domain=domain, language=language)
        return self._call("GET", f"/v1/users/{_part(user_id)}/ahead?{urlencode(wanted)}")

    def feedback(self, feedback: Sequence[Mapping[str, Any]]) -> FeedbackAnswer:
        """Tells of impressions, clicks, conversions and dismissals, up to 100."""
        return self._call("POST", "/v1/feedback", {"feedback": list(feedback)})

    # Trained models ---------------------------------------------------------------------------------------------

    def heads(self) -> HeadsAnswer:
        """The heads trained on the caller's labels."""
        return self._call("GET", "/v1/heads")

    def head(self, name: str) -> HeadAnswer:
        """A head: the state of its training, labels and figures."""
        return self._call("GET", f"/v1/heads/{_part(name)}")

    def ranker(self) -> RankerAnswer:
        """The ranker that serves, and how its last training went."""
        return self._call("GET", "/v1/ranker")

    # ------------------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method in ("POST", "PUT", "PATCH") else {}
        for attempt in range(1, self._tries + 1):
            last = attempt == self._tries
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
            except httpx2.LocalProtocolError:  # its text repeats the header, which may hold a credential
                raise ApiError(0, "the request cannot be sent", "a header of it is not what HTTP allows") from None
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                raise ApiError(0, f"nothing answers at {self.url}", _cause(error)) from None
            except httpx2.TransportError as error:
                if last:
                    raise ApiError(0, f"{self.url} broke the connection off", _cause(error)) from None
                _wait(None, attempt)
                continue
            if answer.status_code not in _AGAIN or last:
                return _body(answer)
            _wait(answer.headers.get("retry-after"), attempt)
        raise AssertionError("every try returns or raises")


def _chunks(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    rest = iter(rows)
    start = 0
    while chunk := list(islice(rest, size)):
        yield start, chunk
        start += len(chunk)


def _pieces(path: Path, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
            if progress is not None:
                progress(len(piece))


def _part(text: str) -> str:
    """An id as a part of a path."""
    return quote(text, safe="")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _wait(retry_after: str | None, attempt: int) -> None:
    wanted = float(retry_after) if retry_after and retry_after.isdigit() else _USUAL_WAIT * 2 ** (attempt - 1)
    time.sleep(min(wanted, _LONGEST_WAIT))


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())


def _body(answer: httpx2.Response) -> Any:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_success and body is not None:
        return body
    if not isinstance(body, dict):
        raise ApiError(answer.status_code, f"{answer.status_code} {answer.reason_phrase}", answer.text[:200].strip())
    title = str(body.get("title") or body.get("message") or f"{answer.status_code} {answer.reason_phrase}")
    field = body.get("field")
    raise ApiError(
        answer.status_code, title, str(body.get("detail") or ""), str(field) if field is not None else None, body
    )
