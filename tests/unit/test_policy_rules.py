"""Rule packs: what is found, what context lifts, and which spelling cannot hide it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shared.policy.rules as rules
from shared.policy.rules import blocking, channels, check, packs_version
from tests.data import shared_data

PACKS = Path(rules.__file__).with_name("packs")


@pytest.mark.parametrize(
    ("text", "domain", "rule"),
    [
        ("全网最佳手机", "ecommerce", "cn.absolute"),
        ("国家级品质", "ecommerce", "cn.absolute"),
        ("销量第一的扫地机", "ecommerce", "cn.absolute"),
        ("The best phone in the world", "ecommerce", "cn.absolute"),
        ("No.1 in sales", "ecommerce", "cn.absolute"),
        ("史上最低价", "ecommerce", "cn.absolute"),
        ("国宴用酒", "ecommerce", "cn.state-authority"),
        ("碾压同行的性能", "ecommerce", "cn.denigration"),
        ("三天见效", "health", "cn.medical-claim"),
        ("根治高血压", "health", "cn.medical-claim"),
        ("治愈率 98%", "health", "cn.cure-rate"),
        ("专家推荐的保健品", "health", "cn.medical-endorsement"),
        ("鱼油软糖，预防高血压", "health", "cn.health-food-disease"),
        ("枕头能治疗失眠", "ecommerce", "cn.disease-in-other-goods"),
        ("包过班，考不上退费", "education", "cn.education-promise"),
        ("7 天学会日语", "education", "cn.education-promise"),
        ("命题人亲授", "education", "cn.education-examiner"),
        ("稳赚不赔，零风险", "ecommerce", "cn.investment-promise"),
        ("This tea cures diabetes", "health", "en.cure"),
        ("Guaranteed results in a week", "health", "en.guarantee"),
    ],
)
def test_a_violation_is_found_with_its_citation(text: str, domain: str, rule: str) -> None:
    found = [finding for finding in check(text, domain) if finding.rule == rule]
    assert found and found[0].severity == "block" and found[0].citation


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("最新款智能手机，限时优惠！", "ecommerce"),
        ("时尚手表，品质生活必备！", "ecommerce"),
        ("定期体检，预防高血压", "health"),
        ("最佳食用温度 4 度", "ecommerce"),
        ("屏幕最高支持 120 Hz", "ecommerce"),
        ("客户第一，用心服务", "ecommerce"),
        ("第一次学日语", "education"),
        ("做最好的自己", "social"),
        ("我们力求做到最好", "ecommerce"),
        ("国家级自然保护区一日游", "social"),
        ("治愈系插画", "social"),
        ("本品不能代替药物", "health"),
        ("最后三天", "ecommerce"),
        ("国际物流转运中心", "ecommerce"),
        ("绝对值不等式入门", "education"),
        ("A warm jacket for cold days", "ecommerce"),
        ("Not intended to diagnose, treat, cure or prevent any disease", "health"),
    ],
)
def test_what_the_law_allows_is_not_blocked(text: str, domain: str) -> None:
    assert blocking(check(text, domain)) == []


@pytest.mark.parametrize(
    "text", ["最 佳", "最.佳", "蕞佳", "最\u200b佳", "最·佳", "最_佳", "Ｎｏ．１", "NO.1", "頂級", "國家級"]
)
def test_spelling_does_not_hide_an_absolute_term(text: str) -> None:
    (finding,) = [f for f in check(f"这款{text}手机", "ecommerce") if f.rule == "cn.absolute"]
    assert f"这款{text}手机"[finding.start : finding.end] == text


def test_a_finding_offers_lawful_wording() -> None:
    (finding,) = check("这款手机性能最强", "ecommerce")
    assert finding.rewrite == "这款手机性能强劲"
    assert not blocking(check(finding.rewrite, "ecommerce"))


def test_every_rewrite_is_lawful_itself() -> None:
    for rule in rules._rules():
        for term, rewrite in rule.rewrites.items():
            if rewrite:
                text = f"这里有{rewrite}的东西"
                assert not [f for f in blocking(check(text, "ecommerce")) if f.rule == rule.id], (term, rewrite)


def test_a_product_may_be_called_by_its_name() -> None:
    assert blocking(check("最佳拍档咖啡机到店", "ecommerce"))
    assert not blocking(check("最佳拍档咖啡机到店", "ecommerce", names=["最佳拍档咖啡机"]))


def test_a_rule_of_another_domain_or_jurisdiction_does_not_apply() -> None:
    assert not blocking(check("高血压的治疗与随访门诊", "health"))
    assert blocking(check("这款枕头可以治疗颈椎", "ecommerce"))
    assert not blocking(check("The best phone", "ecommerce", "US"))
    assert blocking(check("It cures diabetes", "health", "US"))


@given(st.text(max_size=80))
def test_spans_lie_within_any_text(text: str) -> None:
    for domain in ("ecommerce", "health", "education", None):
        for finding in check(text, domain):
            assert 0 <= finding.start < finding.end <= len(text)


def test_packs_cite_articles_that_exist() -> None:
    law = shared_data("policy/law/advertising-law-2021.zh.txt").read_text(encoding="utf-8")
    document = json.loads((PACKS / "china.json").read_text(encoding="utf-8"))
    for rule in document["rules"]:
        for article in re.findall("第([一二三四五六七八九十]+)条", rule["citation"].split("；")[0]):
            assert f"第{article}条" in law, rule["id"]


def test_packs_are_versioned_and_ids_are_unique() -> None:
    assert packs_version() == "china-1+west-1"
    ids = [rule.id for rule in rules._rules()]
    assert len(ids) == len(set(ids))
    assert channels()["google_headline"].width == 30
