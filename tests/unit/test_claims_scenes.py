"""Words that set a scene claim nothing; the same words claim something where the copy makes them the product's."""

from __future__ import annotations

import pytest

from shared.domain import Ad
from shared.policy.claims import trace_claims, unsupported
from shared.policy.scenes import owned, told_of_reader
from shared.policy.vocabulary import FOLDER, stems, vocabulary

LAMP = Ad(
    ad_id="a",
    landing_url="https://shop.example/a",
    language="en",
    domain="ecommerce",
    title="Clip lantern, 180 g",
    description="Charges by USB-C. Two brightness levels.",
    brand="Vesper",
    attributes={"price": 29, "currency": "USD"},
)
RUCKSACK = Ad(
    ad_id="b",
    landing_url="https://shop.example/b",
    language="en",
    domain="ecommerce",
    title="Canvas rucksack with a rain cover",
    description="20 litres.",
)
SCARF = Ad(
    ad_id="c",
    landing_url="https://shop.example/c",
    language="zh",
    domain="ecommerce",
    title="格纹羊毛围巾",
    description="长 180 厘米，两端流苏。",
    attributes={"颜色": "驼色、灰"},
)


def refused(text: str, ad: Ad, audience: tuple[str, ...] = ()) -> list[str]:
    return [claim.text for claim in unsupported(trace_claims(text, ad, audience=audience))]


@pytest.mark.parametrize(
    "text",
    [
        "Hang it from the tent pole and read by the campfire: a 180 g lantern",
        "Still potting at dusk? The lantern charges by USB-C.",
        "Summit at sunrise with friends, a lantern in the rucksack",
        "Puddles, hedges, wet leaves on the towpath: walk home with a lantern",
        "After the football, a lantern by your armchair",
        "The dog naps, the kettle whistles, the lantern is on",
        "No puppy by the gate tonight? Take the lantern and look.",
        "With a novel and a lantern, the tent feels like home",
        "This campfire deserves a lantern",
    ],
)
def test_a_scene_claims_nothing(text: str) -> None:
    assert refused(text, LAMP) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("A 180 g lantern that comes with a rucksack", "rucksack"),
        ("The lantern includes a small hammock", "hammock"),
        ("Two brightness levels, plus a free umbrella", "umbrella"),
        ("A lantern with a telescope", "telescope"),
        ("The lantern has its own armchair", "armchair"),
        ("It doubles as a stove", "stove"),
        ("A lantern with two brightness levels, poster included", "poster"),
        ("Two brightness levels. With a bonus rucksack.", "rucksack"),
        ("This rucksack charges by USB-C", "rucksack"),
        ("A $29 rucksack with two brightness levels", "rucksack"),
        ("The lantern comes with a hammock and a rucksack", "rucksack"),
        ("With a spare rucksack, from Vesper", "rucksack"),
        ("A lantern with its own hammock", "hammock"),
    ],
)
def test_a_scene_word_of_the_product_claims(text: str, word: str) -> None:
    assert any(word in claim for claim in refused(text, LAMP)), text


def test_a_scene_word_that_stands_in_the_ad_is_supported() -> None:
    assert refused("The canvas rucksack comes with a rain cover", RUCKSACK) == []


@pytest.mark.parametrize(
    "text",
    [
        "篝火边坐到天黑，再披上这条格纹围巾",
        "老派侦探片看多了，出门也想围上羊毛围巾",
        "办公室空调忽冷忽热？椅背上搭一条驼色围巾",
        "带上它去露营，山路上起风了就围好",
        "遛狗回来的路上飘起小雨，把围巾裹好",
        "一杯热可可，一本小说，一条 180 厘米的围巾",
        "下雪天里，驼色围巾配皮鞋去赶早车",
        "送给爱看日出的他，灰色羊毛围巾",
    ],
)
def test_a_chinese_scene_claims_nothing(text: str) -> None:
    assert refused(text, SCARF) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("格纹羊毛围巾，附赠帐篷", "帐篷"),
        ("格纹羊毛围巾，配篝火台", "篝火"),
        ("羊毛围巾自带望远镜", "望远镜"),
        ("格纹围巾，下单送雨伞", "雨伞"),
        ("格纹围巾，瑜伽垫一并附送", "瑜伽垫"),
        ("羊毛围巾，帐篷造型", "帐篷"),
        ("羊毛围巾，秒变毯子", "毯子"),
    ],
)
def test_a_chinese_scene_word_of_the_product_claims(text: str, word: str) -> None:
    assert any(word in claim or claim in word for claim in refused(text, SCARF)), text


def test_the_name_of_the_audience_is_no_field_of_the_ad() -> None:
    assert refused("Pancakes at dawn, a lantern on the table", LAMP, ("Cooking", "Food & Drink")) == []


def test_a_person_claims_where_the_product_is_for_them() -> None:
    assert refused("A lantern for toddlers", LAMP)
    assert refused("Your toddler naps? Read by the lantern.", LAMP) == []


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("made of steak", "steak", True),
        ("camping with your rucksack", "rucksack", False),
        ("lantern with a rucksack", "rucksack", True),
        ("an evening with a rucksack", "rucksack", False),
        ("comes with a hook for the rucksack", "rucksack", False),
        ("zip it at the summit", "summit", False),
        ("深蓝配皮鞋", "皮鞋", False),
        ("配皮鞋", "皮鞋", True),
        ("带你去营地", "营地", False),
        ("内含帐篷", "帐篷", True),
        ("熬夜改稿", "改", False),
        ("自动浇花", "浇花", True),
        ("可晒", "晒", True),
        ("在院子里晒太阳", "晒", False),
    ],
)
def test_what_makes_a_word_the_products(text: str, word: str, expected: bool) -> None:
    start = text.index(word)
    fields = vocabulary().scenes[stems(word) if word.isascii() else word]
    assert owned(text, start, start + len(word), fields, lambda other: other == "lantern") is expected


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [("Pasta again? A pan.", "Pasta", True), ("goes with boots", "boots", True), ("Boots, $20.", "Boots", False)],
)
def test_what_is_said_of_the_reader(text: str, word: str, expected: bool) -> None:
    start = text.index(word)
    assert told_of_reader(text, start, start + len(word)) is expected


def test_the_lists_are_small_and_disjoint_from_the_neutral_words() -> None:
    files = [FOLDER / name for name in ("scenes.zh.txt", "scenes.en.txt")]
    assert sum(path.stat().st_size for path in files) < 150_000
    known = vocabulary()
    some = {stems("campfire"), stems("armchair"), "篝火", "帐篷"}
    assert some <= known.scenes.keys()
    assert not some & known.neutral
