"""Measuring copy: overlaps, the ledger's task, who a copy is for, and the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from infra.evaluate.__main__ import app
from infra.evaluate.audiences_task import AUDIENCES, Pair, judge
from infra.evaluate.copy_report import traced, write_report
from infra.evaluate.copy_task import Answer, measure, product_ad
from infra.evaluate.ledger_task import digits, read_cases, run
from infra.evaluate.overlap import copied_share, distinct_2, rouge_bleu
from shared.domain import Ad, Claim, Copy, RejectedCopy
from shared.generating.judging import Judge
from shared.policy.reading import SIGNS, weighed
from shared.preprocess import match_key
from tests.fakes.judging import JudgingGenerator
from tests.fakes.readers import RulesAlone


def ad(**facts: object) -> Ad:
    given = {"ad_id": "a", "title": "青禾榨汁杯", "landing_url": "https://example.com/", "language": "zh"}
    return Ad(**given | {"domain": "ecommerce", "description": "300 毫升，USB 充电，杯身可拆洗"} | facts)  # type: ignore[arg-type]


def copy(text: str, served_by: str = "llm", claims: tuple[Claim, ...] = ()) -> Copy:
    return Copy(text, "zh", served_by, claims, None, {})  # type: ignore[arg-type]


# Overlap ------------------------------------------------------------------------------------------------------------


@given(st.text(alphabet="abcdef 一二三", min_size=1, max_size=40))
def test_a_text_copies_itself_and_nothing_of_what_it_shares_nothing_with(text: str) -> None:
    if len(match_key(text)) >= 6:
        assert copied_share(text, [text]) == 1.0
    assert copied_share("甲乙丙丁戊己庚辛", [text]) == 0.0


def test_a_clause_of_the_description_is_copied_and_a_new_sentence_is_not() -> None:
    sources = ["青禾榨汁杯", "300 毫升，USB 充电，杯身可拆洗"]
    assert copied_share("USB充电，杯身可拆洗！", sources) > 0.9
    assert copied_share("出门也有鲜榨果汁，充一次电就走", sources) < 0.2
    assert copied_share("Blend at your desk, then rinse the cup", ["Portable blender with a cup"]) < 0.5


def test_rouge_and_bleu_are_one_for_the_same_text_and_fall_with_difference() -> None:
    same = rouge_bleu("纯棉四件套，亲肤好打理", "纯棉四件套，亲肤好打理", "zh")
    assert same == pytest.approx((1.0, 1.0))
    near, far = (
        rouge_bleu(text, "soft cotton for summer days", "en") for text in ("soft cotton for days", "a new car")
    )
    assert same > near > far


def test_distinct_2_counts_different_bigrams() -> None:
    assert distinct_2(["a b c", "a b c"]) == 0.5
    assert distinct_2([]) == 0.0


# Ledger -------------------------------------------------------------------------------------------------------------


class Verdict:
    """Readers that say the same of every text: True: the ad says it, False: it does not, None: what rules say."""

    def __init__(self, believes: bool | None) -> None:
        self.believes = believes

    def weigh(self, text: str, ad: Ad, claims: Sequence[Claim], *, strict: bool = False) -> list[Claim]:
        if self.believes is None:
            return list(claims)
        weights = dict.fromkeys(SIGNS, 0.0) | {"logit": 1.0, "bias": 0.0, "threshold": 0.0, "strict": -2.0}
        return weighed(claims, text, (-1.0 if self.believes else 1.0, (0, len(text))), weights, strict=strict)


def ledger_figures(file: Path, believes: bool | None) -> dict[str, Any]:
    return run(file, Console(quiet=True), Verdict(believes))  # type: ignore[arg-type]


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    file = tmp_path / "cases.jsonl"
    facts = {"title": "青禾榨汁杯", "description": "300 毫升，USB 充电", "language": "zh", "domain": "ecommerce"}
    planted = [{"text": "500 毫升榨汁杯", "span": "500 毫升", "kind": "number"}]
    planted.append({"text": "三百五十毫升榨汁杯", "span": "三百五十毫升", "kind": "number"})
    file.write_text(json.dumps({"ad": facts, "true": ["300 毫升的榨汁杯"], "planted": planted}, ensure_ascii=False))
    return file


def test_the_ledger_task_judges_lines_beside_rules_and_digits(cases: Path) -> None:
    figures = ledger_figures(cases, None)
    assert (figures["recall"], figures["false_rejections"], figures["planted"], figures["true"]) == (1.0, 0.0, 2, 1)
    assert figures["baselines"]["rules"] == {name: figures[name] for name in ("recall", "false_rejections", "located")}
    assert figures["baselines"]["digits"]["recall"] == 0.5
    assert figures["recall_by_kind"] == {"number": 1.0}
    assert digits("５００毫升", next(read_cases(cases)).ad) == [(0, 3)]


def test_the_ledger_task_counts_what_the_readers_add_and_take(cases: Path) -> None:
    doubting, believing = ledger_figures(cases, False), ledger_figures(cases, True)
    assert (doubting["recall"], doubting["false_rejections"]) == (1.0, 1.0)
    assert (doubting["literal_recall"], doubting["literal_false_rejections"]) == (1.0, 0.0), "it is not asked"
    assert (doubting["model_recall"], doubting["model_false_rejections"]) == (1.0, 1.0)
    assert (believing["recall"], believing["false_rejections"], believing["located"]) == (0.0, 0.0, 0.0)
    assert (believing["literal_recall"], believing["literal_false_rejections"]) == (1.0, 0.0)
    assert (believing["model_recall"], believing["model_false_rejections"]) == (1.0, 1.0), "a small doubt is enough"
    assert believing["baselines"] == doubting["baselines"]
    assert believing["baselines"]["rules"] == {"recall": 1.0, "false_rejections": 0.0, "located": 1.0}


def test_the_ledger_task_asks_a_language_model_in_the_readers_place(cases: Path) -> None:
    def says(text: str) -> str:
        return {"300 毫升的榨汁杯": "SUPPORTED", "500 毫升榨汁杯": "UNSUPPORTED: 500 毫升"}.get(text, "Yes.")

    model = Judge(JudgingGenerator(says=says), RulesAlone(), examined=False)  # type: ignore[arg-type]
    figures = run(cases, Console(quiet=True), Verdict(None), judge=model)  # type: ignore[arg-type]
    assert (figures["judged_recall"], figures["judged_false_rejections"], figures["judged_located"]) == (1.0, 0.0, 1.0)
    assert figures["no_verdict"] == 1
    assert figures["exam"] == {"zh": "missed 16 of 16 untrue lines, refused 16 of 16 true ones"}
    assert "no_verdict" not in ledger_figures(cases, None)


def test_a_span_that_is_not_in_its_line_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    row = {"ad": {"title": "x", "language": "en", "domain": "social"}, "true": []}
    file.write_text(json.dumps(row | {"planted": [{"text": "a line", "span": "other", "kind": "number"}]}))
    result = CliRunner().invoke(app, ["ledger", "--cases", str(file)])
    assert result.exit_code == 1
    assert "cases.jsonl, row 1" in result.stderr


# Copy ---------------------------------------------------------------------------------------------------------------


def test_the_figures_count_what_was_shown_and_what_was_copied() -> None:
    own = Answer(ad(), ("上班路上也能喝果汁",), (copy("上班路上也能喝果汁"),), (), 2.0, reference="上班路上也能喝果汁")
    parroted = Answer(ad(), ("USB 充电，杯身可拆洗",), (copy("USB 充电，杯身可拆洗"),), (), 4.0)
    filled = Answer(
        ad(), ("容量 900 毫升",), (copy("青禾榨汁杯", "template"),), (RejectedCopy("容量 900 毫升", ("x: y",)),), 6.0
    )
    figures = measure([own, parroted, filled])
    assert figures["own_words_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["rung_counts"] == {"llm": 2, "template": 1}
    assert figures["clean_rate_before_gate"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["refused_for"] == {"x": 1}
    assert figures["seconds_p50"] == 4.0
    assert figures["rouge_l"] == 1.0
    assert figures["baselines"]["ungated"]["wrong_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert measure([])["own_words_rate"] is None


def test_products_are_pairs_of_attributes_or_sentences_or_ads() -> None:
    clothes = product_ad({"description": "类型#上衣*材质#棉*风格#简约", "language": "zh"}, 0)
    assert clothes.attributes == {"类型": "上衣", "材质": "棉", "风格": "简约"}
    company = product_ad({"description": "We repair bicycles. Since we like them.", "language": "en"}, 1)
    assert company.title.startswith("We repair bicycles")
    whole = {"title": "Lamp", "language": "en", "domain": "social", "landing_url": "https://example.com/l"}
    nameless = {"description": "<company> repairs bicycles. <company> is open when <company> is.", "language": "en"}
    said = "Our company repairs bicycles. Our company is open when our company is."
    assert product_ad(nameless, 1).description == said
    assert product_ad(whole, 2).domain == "social"
    with pytest.raises(ValueError, match="row 4"):
        product_ad({"title": "Lamp", "language": "xx", "domain": "social"}, 3)


# Audiences ----------------------------------------------------------------------------------------------------------


class NamedEncoder:
    """Texts that name an audience lie on its axis."""

    def encode(self, texts: list[str], kind: str = "query") -> np.ndarray:
        rows = [[float(zh in text or en in text) for zh, en in AUDIENCES] for text in texts]
        return np.asarray(rows, np.float32)


def test_the_judge_names_the_audience_that_the_copy_speaks_to() -> None:
    camping, running = AUDIENCES[0], AUDIENCES[1]
    good = Pair(ad(), (camping, running), (copy("露营也能榨果汁"), copy("跑步之后来一杯")))
    swapped = Pair(ad(), (camping, running), (copy("跑步之后来一杯"), copy("露营也能榨果汁")))
    lost = Pair(ad(), (camping, running), (None, copy("跑步之后来一杯")))
    assert judge([good, lost], NamedEncoder())["audience_named"] == 1.0
    assert judge([swapped], NamedEncoder())["audience_named"] == 0.0
    figures = judge([good] * 10, NamedEncoder())
    assert (figures["different"], figures["written_for_both"]) == (1.0, 10)
    assert figures["p_value"] < 1e-5
    assert judge([Pair(ad(), (camping, running), (None, None))], NamedEncoder())["audience_named"] is None


# Page ---------------------------------------------------------------------------------------------------------------


def test_the_page_shows_facts_answers_and_refusals_as_text(tmp_path: Path) -> None:
    evil = ad(title="<script>alert(1)</script>", attributes={"容量": "300 毫升"})
    shown = copy("300 毫升 <b>果汁</b>", claims=(Claim((0, 6), "300 毫升", "measure", "description"),))
    answer = Answer(evil, ("a", "b"), (shown,), (RejectedCopy("900 毫升", ("unsupported measure: 900 毫升",)),), 1.0)
    write_report(tmp_path / "copy.html", [answer], {"shown": 1, "baselines": {}})
    page = (tmp_path / "copy.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert '<mark title="measure: description">300 毫升</mark> &lt;b&gt;果汁' in page
    assert "unsupported measure: 900 毫升" in page
    assert "of 2 candidates" in page


def test_overlapping_claims_are_marked_once() -> None:
    both = (Claim((0, 4), "300 ", "number", "title"), Claim((0, 6), "300 毫升", "measure", None))
    assert traced(copy("300 毫升杯", claims=both)).count("<mark") == 1


def test_a_first_sentence_is_cut_only_where_it_is_too_long() -> None:
    short = "Tool makers of Leeds and Bradford. " + "Trials and prototypes. " * 4
    assert product_ad({"description": short, "language": "en"}, 0).title == "Tool makers of Leeds and Bradford."
    long = (
        "We make tools and dies and whatever else is asked of us in Leeds and Bradford and in the rest of the county."
    )
    title = product_ad({"description": long, "language": "en"}, 0).title
    assert len(title) <= 80 and long.startswith(title + " ")
