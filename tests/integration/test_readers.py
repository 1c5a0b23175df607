"""The claim ledger's readers as they are built and served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from infra.evaluate.ledger_task import run
from infra.evaluate.policy_task import run as run_policy
from shared.domain import Ad
from shared.models.artifacts import load_manifest
from shared.models.reader import ClaimReader
from shared.models.readers import Readers
from shared.policy.claims import trace_claims, unsupported
from shared.policy.packs import book
from shared.policy.rules import blocking, check
from tests.data import ROOT, artifact

LEDGER = ROOT / "infra" / "training" / "ledger"
POLICY = ROOT / "infra" / "training" / "policy"
LANGUAGES = ("zh", "en")


@pytest.fixture(scope="module")
def readers() -> Readers:
    return Readers.of(artifact("reader-zh").parent, threads=1)


def ad(language: str = "en", **facts: object) -> Ad:
    given = {"ad_id": "a", "title": "Oak stool", "landing_url": "https://example.com/", "domain": "ecommerce"}
    return Ad(**given | {"language": language} | facts)  # type: ignore[arg-type]


def cost(figures: Mapping[str, float]) -> float:
    """What was minded when reader and rules were weighed: a missed claim a little more than a refused true line."""
    return 1.25 * (1 - figures["recall"]) + figures["false_rejections"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_served_is_what_was_trained(language: str) -> None:
    served = load_manifest(artifact(f"reader-{language}")).metadata
    card = json.loads((LEDGER / f"reader-{language}" / "reader.json").read_text(encoding="utf-8"))
    assert card.items() <= served.items()
    assert served["agreement"]["same_verdict"] >= 0.95
    unknown = card["unknown_writers"]
    gains = {name: unknown["together"][name] - unknown["rules"][name] for name in ("recall", "false_rejections")}
    assert gains["recall"] > gains["false_rejections"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_rules_and_reader_are_better_than_rules_on_lines_that_neither_learned(
    language: str, readers: Readers, tmp_path: Path
) -> None:
    rows = (LEDGER / f"fresh.{language}.jsonl").read_text(encoding="utf-8").splitlines()
    some = tmp_path / "some.jsonl"
    some.write_text("\n".join(rows[::3]), encoding="utf-8")
    figures = run(some, Console(quiet=True), readers)
    rules = figures["baselines"]["rules"]
    assert figures["recall"] > rules["recall"] + (0.08 if language == "zh" else 0.02)
    if language == "zh":  # of English lines, more of the true ones are refused than on other writers' (reader.json)
        assert cost(figures) < cost(rules)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_is_read_alike_beside_others(language: str) -> None:
    reader = ClaimReader.load(artifact(f"reader-{language}"), threads=1)
    row = json.loads((LEDGER / f"fresh.{language}.jsonl").read_text(encoding="utf-8").splitlines()[0])
    about, texts = ad(**row["ad"]), row["true"]
    together = [doubt.logit for doubt in reader.read(about, texts) if doubt is not None]
    alone = [doubt.logit for text in texts for doubt in reader.read(about, [text]) if doubt is not None]
    assert len(together) == len(alone) == len(texts)
    assert together == pytest.approx(alone, abs=1.5), "but for the rounding of int8"


@pytest.mark.parametrize(
    "text",
    ["", " \n", "!!!", "🎉🎉🎉", "עץ אלון", "a" * 5000, "一" * 3000, "\u200b\u202e\x07", "No. " * 900],
    ids=["empty", "blank", "signs", "emoji", "right to left", "one long word", "no space", "hidden", "sentences"],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_any_text_is_read(readers: Readers, language: str, text: str) -> None:
    facts = ad(language, title="橡木凳" if language == "zh" else "Oak stool")
    claims = trace_claims(text, facts)
    for strict in (True, False):
        after = readers.weigh(text, facts, claims, strict=strict)
        assert all(0 <= start <= end <= len(text) for start, end in (claim.span for claim in after))


def test_of_an_ad_that_is_too_long_for_it_rules_alone_are_heard(readers: Readers) -> None:
    long = ad(description="It has three legs of oak and a seat of ash. " * 1200)
    claims = trace_claims("Four legs of steel", long)
    assert readers.weigh("Four legs of steel", long, claims) == claims
    assert unsupported(claims)


@pytest.mark.parametrize("language", LANGUAGES)
def test_of_a_models_texts_readers_find_some_that_rules_and_literal_reading_let_through(
    language: str, readers: Readers
) -> None:
    figures = run(LEDGER / f"fresh-model.{language}.jsonl", Console(quiet=True), readers)
    let_through = 1 - figures["literal_recall"]
    assert let_through > 0.2, "or there is nothing to find"
    found = figures["model_recall"] - figures["literal_recall"]
    refused = figures["model_false_rejections"] - figures["literal_false_rejections"]
    assert found > 0.3 * let_through
    assert found / let_through > refused / (1 - figures["literal_false_rejections"])


# Ad law -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_law_is_read_by_what_was_trained(language: str) -> None:
    served = load_manifest(artifact(f"reader-{language}")).metadata
    card = json.loads((POLICY / f"reader-{language}" / "reader.json").read_text(encoding="utf-8"))
    assert served["policy"] == card
    assert served["agreement"]["same_policy"] >= 0.95
    known = frozenset.union(*(book().ids(one) for one in (("CN",) if language == "zh" else ("EU", "US"))))
    assert set(card["lifts"]) <= set(card["rules"]) <= known, "a rule went: train the reader again"


def test_what_no_rule_has_words_for_is_found_and_little_else_is_stopped(readers: Readers, tmp_path: Path) -> None:
    rows = (POLICY / "fresh.jsonl").read_text(encoding="utf-8").splitlines()
    some = tmp_path / "some.jsonl"
    some.write_text("\n".join(rows[::3]), encoding="utf-8")
    figures = run_policy(some, Console(quiet=True), readers)
    rules = figures["baselines"]["rules"]
    assert figures["recall"] > rules["recall"] + 0.08
    assert figures["precision"] > rules["precision"] - 0.02
    assert figures["rewrites"]["passing"] == 1.0


@pytest.mark.parametrize(
    ("text", "domain", "jurisdiction", "rule"),
    [
        ("跟着我们买，月月有进账，睡觉也在数钱", "social", "CN", "cn.investment-promise"),
        ("报了这个班，二本娃的爸妈只用等着拆录取通知书", "education", "CN", "cn.education-promise"),
        ("Skip the oncologist, our juice bar sees you first.", "health", "EU", "en.cure"),
        ("Grandma threw away her cane after three weeks on our drops.", "health", "US", "en.cure"),
    ],
)
def test_a_violation_that_no_rule_has_words_for_is_found_and_its_rule_named(
    readers: Readers, text: str, domain: str, jurisdiction: str, rule: str
) -> None:
    assert blocking(check(text, domain, jurisdiction, likeness=False)) == []
    found = blocking(check(text, domain, jurisdiction, reader=readers))
    assert [one.rule for one in found] == [rule]
    behind = {"CN": "周六照常营业。", "EU": "Open on Saturdays. ", "US": "Open on Saturdays. "}[jurisdiction] + text
    assert blocking(check(behind, domain, jurisdiction, reader=readers)), "beside another sentence, too"


@pytest.mark.parametrize(
    ("text", "domain", "jurisdiction"),
    [
        ("晚上八点健身房人最挤，想清静请早来", "social", "CN"),
        ("泡菜入坛第一步：白菜切开，撒上最细的一层盐", "ecommerce", "CN"),
        ("The Tobacco Factory theatre opens again on 3 May.", "social", "EU"),
        ("Book talk: the man who sold miracle cures, Thursday at seven.", "education", "US"),
    ],
)
def test_what_rules_find_in_a_plainly_lawful_line_is_a_warning(
    readers: Readers, text: str, domain: str | None, jurisdiction: str
) -> None:
    assert blocking(check(text, domain, jurisdiction, likeness=False))
    found = check(text, domain, jurisdiction, reader=readers)
    assert found and blocking(found) == []


def test_beside_a_lawful_sentence_what_rules_find_in_another_stands(readers: Readers) -> None:
    calm = "周末来店里坐坐，靠窗的位置给你留着，咖啡是早上现磨的，面包下午三点出炉，门口可以停车。"
    assert blocking(check(f"{calm}最好的咖啡。", "ecommerce", reader=readers))
    assert blocking(check(calm, "ecommerce", reader=readers)) == []


def test_a_page_is_read_to_its_end(readers: Readers) -> None:
    page = "这款保温杯容量 500 毫升，杯身是 304 不锈钢。" * 150
    told = page + "把闲钱交给老周，年底回来的时候它会多长三成。" * 4
    assert blocking(check(page, "ecommerce", reader=readers, mend=False)) == []
    assert blocking(check(told, "ecommerce", likeness=False, mend=False)) == []
    found = blocking(check(told, "ecommerce", reader=readers, mend=False))
    assert found and all(one.start >= len(page) - 100 for one in found)
