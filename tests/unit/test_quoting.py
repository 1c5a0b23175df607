"""What a copy may quote of its ad, and what may stand beside a quotation without stating anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import Ad, Language
from shared.generating.facts import quotations_of
from shared.policy.english_passages import deed, identity
from shared.policy.quoting import Quotations, beginning_of, dissuades, quotable, shortened, thing_of
from shared.preprocess import clean_text

CHOIR: dict[str, Any] = {
    "title": "Singing for the Shy: a choir in Leeds",
    "description": "A choir in a circle, learned by ear, with tea and two breaks. Tuesdays at St Mark's, for "
    "beginners. Free delivery of scores on orders over £50. They may be returned. No concerts, no auditions.",
    "language": "en",
    "domain": "social",
    "attributes": {"places": 24, "parking": "on street", "colour": "moss and clay", "price": 12, "currency": "GBP"},
}
MUG: dict[str, Any] = {
    "title": "青禾保温杯 500毫升",
    "description": "304不锈钢内胆，杯身可拆洗，哑光漆面。满200元免运费，赠品另计。底部防滑。",
    "language": "zh",
    "domain": "ecommerce",
    "attributes": {"颜色": "雾灰、炭黑", "容量": "500毫升", "工艺": "磨砂"},
}
SCHOOL: dict[str, Any] = CHOIR | {
    "description": "We teach singing, piano and music theory lessons. We help you see [...]",
    "attributes": {},
}
COVER: dict[str, Any] = CHOIR | {
    "title": "Fenwick",
    "description": "Legal malpractice insurance for firms. Rained out? You choose a refund. We make videos. Except we "
    "moved.",
    "attributes": {},
}
LAPTOP: dict[str, Any] = CHOIR | {
    "title": "Fenwick",
    "description": "You will need a laptop, webcam and headphones. The watch is waterproof to 5 metres. Made of solid "
    "oak and painted MDF. Not included: flights; travel insurance; airport transfers. Fitted by our team. Extra charge "
    "applies. Half-price entry on Mondays.",
    "attributes": {},
}
HERE = Path(__file__).parent
LEDGER = HERE.parents[1] / "infra" / "training" / "ledger"
COPIES = LEDGER.parent / "copywriter"


def ad_of(facts: dict[str, Any]) -> Ad:
    return Ad(**{"ad_id": "a", "landing_url": "https://example.com/"} | facts)


def loose(text: str, facts: dict[str, Any], audience: Sequence[str] = ()) -> list[str]:
    ad = ad_of(facts)
    return [text[start:end] for start, end in quotations_of(ad, ad.language).unquoted(text, audience)]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("Meet Singing for the Shy. A choir in a circle, learned by ear.", CHOIR),
        ("Ready for a choir? Learned by ear, with tea and two breaks. Come and see for yourself.", CHOIR),
        ("Singing for the Shy with tea and two breaks: join us today.", CHOIR),
        ("Tuesdays at St Mark’s, for beginners.", CHOIR),
        ("Free delivery of scores on orders over £50. Take a look.", CHOIR),
        ("Say hello to Singing for the Shy. Parking: on street.", CHOIR),
        ("Moss and clay. Find out more today.", CHOIR),
        ("£12: want to know more?", CHOIR),
        ("No concerts, no auditions.", CHOIR),
        ("Thinking about legal malpractice insurance? Talk to us.", COVER),
        ("想要青禾保温杯？304不锈钢内胆，哑光漆面，来看看吧。", MUG),
        ("看看这款雾灰的青禾保温杯，底部防滑。", MUG),
        ("青禾保温杯，容量500毫升，磨砂工艺。", MUG),
        ("满200元免运费，赠品另计，来看看吧。", MUG),
        ("杯身可拆洗，你喜欢吗？", MUG),
    ],
)
def test_quotations_and_what_states_nothing_hold(text: str, facts: dict[str, Any]) -> None:
    assert loose(text, facts) == []


@pytest.mark.parametrize(
    ("text", "facts", "found"),
    [
        ("A choir in Leeds. Free delivery.", CHOIR, "Free delivery."),
        ("Free delivery of scores, and tea.", CHOIR, "Free delivery of scores, and tea."),
        ("They may be returned.", CHOIR, "They may be returned."),
        ("No concerts.", CHOIR, "No concerts."),
        ("A circle with a choir.", CHOIR, "A circle with a choir."),
        ("On street. Take a look.", CHOIR, "On street."),
        ("Looking for us? We teach singing.", SCHOOL, "We teach singing."),
        ("We help you see. Talk to us.", SCHOOL, "We help you see."),
        ("提供教育，了解一下。", MUG | {"description": "提供教育、医疗行业的服务。"}, "提供教育"),
        ("We always sing in a circle.", CHOIR, "We always sing in a circle."),
        ("Everything is yours.", CHOIR, "Everything is yours."),
        ("Thinking about legal malpractice?", COVER, "Thinking about legal malpractice?"),
        ("You choose a refund. Come along.", COVER, "You choose a refund."),
        ("We make videos. Come along.", COVER, "We make videos."),
        ("底部防滑，让你轻松喝。", MUG, "让你轻松喝"),
        ("Our customers love it, so why wait?", CHOIR, "Our customers love it, so why wait?"),
        ("Order now and get a gift.", CHOIR, "Order now and get a gift."),
        ("Try streamline your days.", COVER | {"title": "Streamline your days"}, "Try streamline your days."),
        ("Good for your heart.", CHOIR, "Good for your heart."),
        ("Looking for us? Webcam and headphones.", LAPTOP, "Webcam and headphones."),
        ("The watch is waterproof.", LAPTOP, "The watch is waterproof."),
        ("Made of solid oak.", LAPTOP, "Made of solid oak."),
        ("Airport transfers.", LAPTOP, "Airport transfers."),
        ("Fitted by our team.", LAPTOP, "Fitted by our team."),
        ("Half-price entry.", LAPTOP, "Half-price entry."),
        (
            "Guests stay late.",
            LAPTOP | {"description": "In May guests stay late, they may not dance."},
            "Guests stay late.",
        ),
        ("You choose, with tea.", LAPTOP | {"description": "You may choose, with tea."}, "You choose, with tea."),
        ("With tea.", LAPTOP | {"description": "You may choose, with tea."}, "With tea."),
        ("Now £12.", CHOIR, "Now £12."),
        ("一学就会，来看看吧。", MUG, "一学就会"),
        ("支持七天退货，来看看吧。", MUG | {"description": "支持七天退货。定制款除外。"}, "支持七天退货"),
        ("还有色素，来看看吧。", MUG | {"description": "未添加香精，色素，防腐剂。"}, "还有色素"),
        ("带走小米手机。", MUG | {"title": "数据线 适用 小米 手机"}, "带走小米手机"),
        ("免运费，来看看吧。", MUG, "免运费"),
        ("磨砂材质，来看看吧。", MUG, "磨砂材质"),
        ("看看复古牛仔布。", MUG | {"description": "复古，牛仔布。"}, "看看复古牛仔布"),
        ("看看青禾保温杯，赠品另计。", MUG, "赠品另计"),
        ("不锈钢杯身，来看看吧。", MUG, "不锈钢杯身"),
        ("免费送你，来看看吧。", MUG, "免费送你"),
    ],
)
def test_what_is_put_together_anew_does_not(text: str, facts: dict[str, Any], found: str) -> None:
    assert loose(text, facts) == [found]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_quotations_that_mislead_are_refused(language: str) -> None:
    """Each was made by somebody who looked for what passes and is not so (`infra/DECISIONS.md`)."""
    wrong = []
    for line in (HERE / f"quoting_misleading.{language}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        facts = {"domain": "ecommerce"} | row["ad"]
        facts["description"] = clean_text(facts.get("description", ""))  # as the catalogue keeps it
        wrong += [text for text in row["texts"] if not loose(text, facts, row.get("audience", ()))]
    assert wrong == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.slow
def test_most_copies_to_learn_from_hold(language: str) -> None:
    """What good copywriters quoted within the rules: a rule that shuts out much of it is too strict."""
    held = count = 0
    for line in (COPIES / f"quoting.{language}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for copy in row["copies"]:
            held += not loose(copy["copy"], row["ad"], copy["audience"])
            count += 1
    assert count > 1500 and held / count > 0.98


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["a, b, with c, ", "word…", "不限\n", "a; ", "x？", "不含：甲；", "We are x, based in y. "]
)
def test_a_long_ad_is_read_in_no_time(part: str) -> None:
    began = process_time()
    for language in ("en", "zh"):
        Quotations(ad_of(MUG | {"description": part * (50_000 // len(part)), "language": language}), language)
    assert process_time() - began < 6  # half a second on a quiet machine


def test_an_audience_may_be_addressed_by_its_name() -> None:
    assert loose("For bird watching people: a choir in a circle.", CHOIR, ["Bird Watching"]) == []
    assert loose("We offer bird watching.", CHOIR, ["Bird Watching"]) == ["We offer bird watching."]
    assert loose("我们有露营，来看看吧。", MUG, ["露营"]) == ["我们有露营"]
    assert loose("Love bird watching? A choir in a circle.", CHOIR, ["Bird Watching"]) == []
    assert loose("Love bird watching? A choir in a circle.", CHOIR) == ["Love bird watching?"]
    assert loose("爱露营的你，看过来：底部防滑。", MUG, ["露营"]) == []
    assert loose("爱露营的你，看过来：底部防滑。", MUG) == ["爱露营的你"]


def test_sentences_that_lean_on_another_are_none_to_quote() -> None:
    sentences = quotable(CHOIR["description"], "en")
    assert "They may be returned" not in sentences
    assert sentences[0] == "A choir in a circle, learned by ear, with tea and two breaks"


@given(st.text(max_size=120))
def test_any_text_is_read(text: str) -> None:
    for facts in (CHOIR, MUG):
        ad = ad_of(facts)
        for start, end in Quotations(ad, ad.language).unquoted(text):
            assert 0 <= start < end <= len(text)


def test_what_is_not_to_be_had_is_no_reason_to_come() -> None:
    assert dissuades("Tickets cannot be refunded. Come along.", "en") and dissuades("Isn't included.", "en")
    assert not dissuades("A choir in a circle. Come along.", "en")
    assert dissuades("新疆不发货，来看看吧。", "zh") and not dissuades("底部防滑，来看看吧。", "zh")


@pytest.mark.slow
@pytest.mark.parametrize("atom", ["a choir and ", "with tea, ", "come and see ", "Singing for the Shy with ", "look, "])
def test_a_long_text_is_read_in_no_time(atom: str) -> None:
    began = process_time()
    loose(atom * 1000, CHOIR)
    loose("来看看，底部防滑" * 1000, MUG)
    assert process_time() - began < 2


@given(st.text(max_size=200), st.text(max_size=40))
def test_any_ad_may_be_quoted_whole(description: str, title: str) -> None:
    for language in ("en", "zh"):
        Quotations(ad_of(MUG | {"title": title, "description": description, "language": language}), language)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.slow
def test_what_a_model_wrote_in_quotations_is_true(language: str) -> None:
    """On texts of the local model that people labelled, of which nobody looked at those of `fresh-model`."""
    told = {"true": 0, "planted": 0}
    for name in ("model", "weights-model", "fresh-model"):
        for line in (LEDGER / f"{name}.{language}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            ad = ad_of(row["ad"])
            quotations = quotations_of(ad, ad.language)
            told["true"] += sum(not quotations.unquoted(text) for text in row["true"])
            told["planted"] += sum(not quotations.unquoted(one["text"]) for one in row["planted"])
    assert told["true"] >= (80 if language == "en" else 25)
    assert told["planted"] == 0


def firm(description: str) -> dict[str, Any]:
    """An ad whose title is its description, cut off in the first sentence."""
    return CHOIR | {"title": description[:60].rsplit(" ", 1)[0], "description": description, "attributes": {}}


AGENCY = firm("We are an independent insurance agent offering home, health and life insurance, tailored to your needs.")
MARINA = firm(
    "Our company is an elastic mooring specialist that keeps any floating pontoon, buoy and berth in its place."
)
TESTS = firm("Quality Systems Enhancement provides consulting and training services to eight hundred firms worldwide.")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("We are an independent insurance agent. Talk to us today.", AGENCY),
        ("Looking for an independent insurance agent? Talk to us.", AGENCY),
        ("Meet an independent insurance agent.", AGENCY),
        ("Our company is an elastic mooring specialist. Take a look.", MARINA),
    ],
)
def test_what_somebody_is_may_be_quoted_without_what_they_do(text: str, facts: dict[str, Any]) -> None:
    assert loose(text, facts) == []


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "We are a leading maker. Talk to us.",
            firm("We are a leading maker serving the island of Malta, and nobody else."),
        ),
        (
            "We are a certified school.",
            firm("We are a certified school offering lessons in Ontario and in Manitoba too."),
        ),
        ("We are the school.", firm("We are the school offering lessons in every last corner of the province.")),
        ("We are a charity.", firm("We are a charity helping people in need, which closed its doors last winter.")),
        ("We are a bakery.", firm("We are a bakery hoping to open, dedicated to gluten-free bread and long mornings.")),
        ("We are a hotel.", firm("We are a hotel that no longer takes guests, located near the old harbour of Rye.")),
        ("We are a company.", firm("We are a company that you can trust with the keys of your house and garden.")),
        (
            "Meet an insurance broker.",
            firm("Jack Hill is an insurance broker working against the firms that we represent."),
        ),
        ("We are a free clinic.", firm("We are a free clinic serving those who have a card of the city of Leeds.")),
        (
            "Meet Free Childcare Vouchers.",
            firm("Free Childcare Vouchers are accepted in every one of our nurseries in Hull."),
        ),
        ("Meet Dogs.", firm("Dogs are welcome in each of our gardens, terraces and rooms on the ground floor.")),
        (
            "Meet Our Garden Centre.",
            firm("Our Garden Centre is moving to another town, and will open there next spring."),
        ),
    ],
)
def test_what_somebody_is_only_by_what_follows_is_not_quoted_alone(text: str, facts: dict[str, Any]) -> None:
    assert loose(text, facts) != []


@pytest.mark.parametrize(
    ("facts", "thing"),
    [
        (AGENCY, "an independent insurance agent"),
        (MARINA, "an elastic mooring specialist"),
        (TESTS, "Quality Systems Enhancement"),
        (firm("A unique collection of villa rentals filled with character and charm in chosen places by the sea."),
         "a collection of villa rentals"),
        (firm("Our company is an affordable world-class gym that helps its members to train as they always wanted."),
         "a gym"),
        (firm("The outdoor company at home in the hills: for five generations we have been at your side there."),
         "The outdoor company"),
        (firm("Social media and marketing agency for lifestyle brands, in the digital space and outside of it."),
         "a Social media and marketing agency"),
        (firm("We commit to creating fabrics that help upholstered furniture turn into objects of value."), ""),
        (firm("Send flowers and gifts on the same day or the next to any of a hundred and ninety countries."), ""),
        (firm("30 years of experience as specialists in leasing, management, maintenance and development."), ""),
        (CHOIR, ""),
        (MUG, ""),
    ],
)  # fmt: skip
def test_a_title_cut_off_from_its_description_is_called_by_its_thing(facts: dict[str, Any], thing: str) -> None:
    assert thing_of(facts["title"], facts["description"], facts["language"]) == thing


def test_a_sentence_too_long_to_show_is_shown_as_far_as_it_may_be_quoted() -> None:
    agency, marina = AGENCY["description"].rstrip("."), MARINA["description"].rstrip(".")
    assert shortened(agency, "en", lambda text: len(text) < 60) == "We are an independent insurance agent"
    assert shortened(agency, "en", lambda text: len(text) < 200) == agency
    assert shortened(marina, "en", lambda text: len(text) < 20) == marina  # nothing is that short
    assert shortened("很长的一句话", "zh", lambda text: len(text) < 3) == "很长的一句话"


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("We are a design studio located in the heart of Leeds, near the station.", "We are a design studio"),
        ("We are a charity dedicated to the homeless of the county of Kent.", "We are a charity"),
        ("We're a network of dealers working with farmers in all of the north.", "We're a network of dealers"),
        (
            "We are a software and product company working with clients of all sizes.",
            "We are a software and product company",
        ),
        ("We are a cloud platform that helps clubs to find players for matches.", "We are a cloud platform"),
        ("We are a consulting laboratory with analytical techniques of all kinds.", "We are a consulting laboratory"),
        ("We are a support group for people with epilepsy and their families.", ""),
        ("We are a law firm in partnership with Smith and Sons of Birmingham.", ""),
        ("We are a network of women with ADHD who meet in Leeds and in York.", ""),
        ("We are a clinic serving dogs and cats of the north and of the east.", ""),
        ("We are a phone shop with refurbished handsets of each of the makers.", ""),
        ("We are a music shop that became a café with a room for the piano.", ""),
        ("Our company is a company focused on the design of gardens and yards.", ""),
        ("We are an organic bakery with some organic bread beside the other kind.", ""),
        ("We are a toys and games free school with an open morning on Mondays.", ""),
        ("We are an organic bakery working in conversion to organic flour of our region.", ""),
        ("We are a vegan restaurant offering vegan dishes beside meat and fish.", ""),
        ("We are a law firm serving small rural village local software company owners.", ""),
    ],
)
def test_a_firm_is_what_it_says_whatever_it_does(description: str, told: str) -> None:
    (sentence,) = quotable(description, "en")
    assert identity(sentence) == told
    assert not told or loose(f"{told}.", firm(description)) == []


@pytest.mark.parametrize(
    ("description", "told"),
    [
        (
            "We offer scanning and archiving services designed to improve how your papers are found.",
            "We offer scanning and archiving services",
        ),
        (
            "At our company we build desktop applications, helping businesses to find their way.",
            "At our company we build desktop applications",
        ),
        (
            "Our company helps you understand problems of your users, so that you can go back to great software.",
            "Our company helps you understand problems of your users",
        ),
        ("We do everything to help you and your team, every day and all the time.", ""),
        ("We offer tools built in order to last longer than any other tools.", ""),
        ("We offer lessons to help you pass, if there are free places.", ""),
        ("We offer free lessons to help you pass what is asked of you in spring.", ""),
        ("We offer lessons to help you pass, but we are closed this year.", ""),
        ("We offer lessons to help you pass within 30 days of the beginning.", ""),
        ("We offer lessons which nobody takes, that help you sleep at night.", ""),
        ("We want volunteers to help you find your way around the harbour.", ""),
        ("We offer next-day delivery so you can relax, Monday to Thursday.", ""),
        ("We sell laptops to help you study, all refurbished ones of makers.", ""),
        ("We sell the cheapest phones designed to improve hearing in Malta.", ""),
        ("We teach parents how to help you with what children ask for.", ""),
        ("We offer the opportunity to help businesses grow in their region.", ""),
        ("We offer businesses that streamline their packing another rate.", ""),
        ("We help farmers that maximise hedgerows with seeds of wild plants.", ""),
        ("We offer the tools that help you grow your business and your team.", ""),
        ("We use your data to help you find what you have been looking for.", ""),
        ("We offer grants to help companies owned by women of the province.", ""),
        ("We design financial solutions which simplify advice for financial advisers.", ""),
        ("We offer tuition, helping people with dyslexia at each of our desks.", ""),
        ("We offer tea * to help you wake up in time for the first train.", ""),
        ("We run a hotel to help you pamper your dog by the sea near Rye.", ""),
        ("We provide staff as well as to help you with lists of addresses.", ""),
    ],
)
def test_what_a_firm_does_may_be_quoted_without_what_it_is_good_for(description: str, told: str) -> None:
    (sentence,) = quotable(description, "en")
    assert deed(sentence) == told
    assert not told or loose(f"{told}.", firm(description)) == []
    assert not told or shortened(sentence, "en", lambda text: len(text) < len(sentence) - 9) == told


@pytest.mark.parametrize(
    ("title", "description"),
    [
        ("The Old Mill", "The Old Mill houses thirty shops and a cinema of two screens."),
        ("Blue Note", "Blue Note hosted Miles Davis and Coltrane."),
        ("", "Bakery of the year with bread from rye."),
        ("A bakery with bread from rye", "A bakery with bread from rye. Open on Mondays."),
    ],
)
def test_a_title_that_is_one_stays(title: str, description: str) -> None:
    assert thing_of(title, description, "en") == ""


def test_a_beginning_that_is_shown_may_be_quoted() -> None:
    shown = 0
    for line in (HERE / "quoting_misleading.en.jsonl").read_text(encoding="utf-8").splitlines():
        facts = {"domain": "ecommerce"} | json.loads(line)["ad"]
        for sentence in quotable(facts.get("description", ""), "en"):
            for one in {shortened(sentence, "en", partial(narrow, width)) for width in range(10, len(sentence), 7)}:
                shown += one != sentence
                assert one == sentence or loose(f"{one}.", facts) == []
    assert shown > 20


def narrow(width: int, text: str) -> bool:
    return len(text) <= width


@pytest.mark.parametrize(
    ("title", "language", "beginning"),
    [
        ("Oak table, seats six", "en", "Oak table"),
        ("Free for 30 days, then $19.99 a month", "en", "Free for 30 days, then $19.99 a month"),
        ("Projector 16:9: bright", "en", "Projector 16:9: bright"),
        ("Projector: bright", "en", "Projector"),
        ("Yoga by the sea | Leeds", "en", "Yoga by the sea"),
        ("阅读灯：护眼", "zh", "阅读灯"),
        ("不收费，仅限前三天", "zh", "不收费，仅限前三天"),
    ],
)
def test_a_title_is_shortened_only_where_its_beginning_says_no_more(
    title: str, language: Language, beginning: str
) -> None:
    assert beginning_of(title, language) == beginning
