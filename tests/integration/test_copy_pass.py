"""A pass over the catalogue and reviews, through the API, the queue and the worker of the local system."""

from __future__ import annotations

import time
from typing import Any

from tests.integration.conftest import LocalSystem

CAMPAIGN = "copy-pass-test"
NUMBER = 5


def an_ad(number: int) -> dict[str, Any]:
    return {
        "ad_id": f"copy-pass-{number}",
        "title": f"Trail shoe, model {number}",
        "description": f"Weighs {250 + number} g, with a drop of 6 mm.",
        "landing_url": f"https://example.com/shoes/{number}",
        "language": "en",
        "domain": "ecommerce",
        "campaign_id": CAMPAIGN,
    }


def test_a_pass_goes_through_the_queue_and_counts_every_ad_once(local_system: LocalSystem) -> None:
    http = local_system.http
    http.put("/v1/ads", json={"ads": [an_ad(number) for number in range(NUMBER)]}).raise_for_status()
    started = http.post("/v1/copy", json={"filter": {"campaign_id": CAMPAIGN}, "n": 2})
    assert started.status_code == 202
    deadline = time.monotonic() + 120
    while (job := http.get(started.headers["location"]).json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.2)
    assert (job["state"], job["progress"]) == ("done", 1.0), job
    # Without a model the templates answer, and nothing goes into the bank.
    assert job["counts"] == {"total": NUMBER, "done": NUMBER, "failed": 0, "skipped": 0, "lower_rung": NUMBER}
    assert job["cost"]["actual"]["copies"] == 0


def test_a_rejected_text_is_not_shown_again(local_system: LocalSystem) -> None:
    http = local_system.http
    http.put("/v1/ads", json={"ads": [an_ad(90) | {"campaign_id": "reviews-test"}]}).raise_for_status()
    asked = {"ad_id": "copy-pass-90", "n": 3}
    text = http.post("/v1/copy", json=asked).json()["copies"][0]["text"]
    review = {"ad_id": "copy-pass-90", "text": text, "state": "rejected", "reviewer": "tester"}
    (result,) = http.post("/v1/copy/reviews", json={"reviews": [review]}).json()["results"]
    assert result["result"] == "rejected"
    after = http.post("/v1/copy", json=asked).json()
    assert after["copies"] and text not in [copy["text"] for copy in after["copies"]]
    assert {"text": text, "reasons": ["rejected by a reviewer"]} in after["rejected"]
