"""Answers to the specification's own example requests against types of it that others wrote, by the compiler.

`iab-openrtb` and `iab-native` (npm, MIT) describe every object of OpenRTB 2.6, AdCOM 1.0 and Native 1.2, as Prebid.js
uses them. A literal with a field that they do not have, lack of one that they require, or a value that is in none of
their lists does not compile.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.recommend import handler
from shared.openrtb.bidding import Pace
from shared.wiring import System
from tests.conftest import TENANT
from tests.data import ROOT
from tests.fakes import models
from tests.fakes.models import TOPICS
from tests.npm import MODULES, module
from tests.unit.conftest import built
from tests.unit.test_recommending import ad

__all__ = ["built"]  # a fixture of the unit tests

pytestmark = pytest.mark.slow

EXAMPLES = json.loads((ROOT / "tests" / "unit" / "openrtb_examples.json").read_text(encoding="utf-8"))["requests"]
WITHOUT_A_BID = {"video", "video on a public screen", "banner on a public screen"}  # the last for pounds
DEAL = "AB-Agency1-0001"  # of the specification's example, for the seat Agency1
NATIVE = {
    "ver": "1.2",
    "eventtrackers": [{"event": 1, "methods": [1, 2]}],
    "context": 1,
    "plcmttype": 1,
    "assets": [
        {"id": 1, "required": 1, "title": {"len": 90}},
        {"id": 2, "required": 1, "data": {"type": 1}},
        {"id": 3, "required": 0, "data": {"type": 2, "len": 200}},
        {"id": 4, "required": 0, "img": {"type": 3, "wmin": 200, "hmin": 100}},
        {"id": 5, "required": 0, "data": {"type": 12}},
    ],
}


@pytest.fixture
def shop(built: System, monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setattr(models, "TOPICS", TOPICS | {"phone": "adproduct:1097", "course": "adproduct:1007"})
    monkeypatch.setattr(handler, "_pace", Pace())
    picture = "https://cdn.example.com/p.png"
    ads = [ad("phone", "phone", image_url=picture, brand="Larkspur"), ad("wine", "course"), ad("zh", "phone 手机")]
    ads[2]["language"] = "zh"
    ads.append(ad("partner", "phone", bid_cpm=5.0, targeting={"deals": [DEAL]}))
    monkeypatch.setattr(built, "settings", replace(built.settings, open_rtb_seat="Agency1"))
    assert all(one.active for one in built.classifying.put_ads(TENANT, ads))  # type: ignore[union-attr]
    built.classifying.publish(TENANT)
    return built


def answers() -> dict[str, Any]:
    """The answers to the examples by name; None where there is no bid."""
    native = {"id": "n", "imp": [{"id": "1", "native": {"request": json.dumps(NATIVE), "ver": "1.2"}}], "cattax": 8}
    sizes = [{"id": str(n), "banner": {"format": [{"w": 320, "h": 50}]}} for n in range(1)]
    several = EXAMPLES["simple banner"] | {"cattax": 8, "imp": sizes}
    old = {"native": {"ver": "1.0", "assets": NATIVE["assets"]}}
    several["imp"].append(sizes[0] | {"id": "deal", "pmp": {"deals": [{"id": DEAL, "bidfloor": 2.5}]}})
    several["imp"].append({"id": "old", "native": {"request": json.dumps(old), "ver": "1.0"}})
    tests = {"a test": EXAMPLES["simple banner"] | {"test": 1}}
    tests["a test without a bid"] = tests["a test"] | {"cur": ["EUR"]}
    found = {}
    with TestClient(handler.app) as client:
        for name, request in (EXAMPLES | {"native": native, "several": several} | tests).items():
            answer = client.post("/openrtb2/auction", json=request)
            assert answer.status_code in (200, 204), answer.text
            found[name] = answer.json() if answer.status_code == 200 else None
    return found


def compiled(folder: Path, documents: list[tuple[str, Any]]) -> list[str]:
    """The complaints of the compiler about (type, literal) pairs."""
    compiler = module("typescript/bin/tsc")
    module("iab-openrtb/dist/v26/index.d.ts")
    (folder / "node_modules").symlink_to(MODULES)
    lines = [
        'import type { BidRequest, BidResponse } from "iab-openrtb/v26";',
        'import type { NativeRequest, NativeResponse } from "iab-native";',
        *(f"export const own{n}: {kind} = {json.dumps(one)};" for n, (kind, one) in enumerate(documents)),
    ]
    (folder / "check.ts").write_text("\n".join(lines), encoding="utf-8")
    options = ["--noEmit", "--strict", "--module", "nodenext", "--moduleResolution", "nodenext", "--skipLibCheck"]
    run = subprocess.run(
        ["node", str(compiler), *options, "check.ts"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode in (0, 2), run.stderr
    return [line for line in run.stdout.splitlines() if "error" in line]


def test_answers_to_the_specifications_examples_are_what_others_take_for_valid(shop: System, tmp_path: Path) -> None:
    found = answers()
    assert {name for name, one in found.items() if one is None} == WITHOUT_A_BID
    documents: list[tuple[str, Any]] = [("BidResponse", one) for one in found.values() if one is not None]
    documents += [
        ("NativeResponse", json.loads(bid["adm"])) for bid in found["native"]["seatbid"][0]["bid"] if bid["mtype"] == 4
    ]
    documents += [
        ("NativeResponse", json.loads(bid["adm"])["native"])
        for bid in found["several"]["seatbid"][0]["bid"]
        if bid["mtype"] == 4
    ]
    documents.append(("NativeRequest", NATIVE))
    assert len(documents) == 11
    (partner,) = found["private marketplace with a direct deal"]["seatbid"][0]["bid"]
    assert (partner["adid"], partner["dealid"], partner["price"]) == ("partner", DEAL, 5.0)
    # What no type says: what a bid refers to is in its request.
    for name, answer in found.items():
        assert answer is None or answer["id"] == (EXAMPLES.get(name) or {"id": answer["id"]})["id"]
        for bid in answer["seatbid"][0]["bid"] if answer and answer["seatbid"] else ():
            assert bid["impid"] in {one["id"] for one in EXAMPLES.get(name, {}).get("imp", [{"id": bid["impid"]}])}
    assert compiled(tmp_path, documents) == []


def test_what_is_not_valid_does_not_compile(shop: System, tmp_path: Path) -> None:
    good = answers()["simple banner"]
    (seat,) = good["seatbid"]
    (bid,) = seat["bid"]
    wrong = [
        {name: value for name, value in bid.items() if name != "impid"},
        bid | {"price": "5"},
        bid | {"cattax": 99},
        bid | {"attr": [99]},
        bid | {"mtype": 7},
        bid | {"lang": "en"},
    ]
    documents = [("BidResponse", good | {"seatbid": [seat | {"bid": [one]}]}) for one in wrong]
    complaints = compiled(tmp_path, [*documents, ("BidResponse", good | {"id": 5})])
    assert {line.split("(")[1].split(",")[0] for line in complaints} == {str(n) for n in range(3, 10)}
