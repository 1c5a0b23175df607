"""English copy at the claim ledger: what follows from numbers, what only sets a scene, what turns a fact round."""

import pytest

from shared.domain import Ad, Domain
from shared.policy.claims import trace_claims, unsupported


def ad(title: str, description: str, domain: Domain = "ecommerce", **attributes: str) -> Ad:
    return Ad(
        ad_id="a",
        title=title,
        description=description,
        landing_url="https://shop.example/a",
        language="en",
        domain=domain,
        attributes={key.replace("_", " "): value for key, value in attributes.items()},
    )


KETTLE = ad(
    "Copperfell gooseneck kettle",
    "Stove-top kettle in stainless steel, 900 ml, 780 g. Was £60, now £45. Not dishwasher safe. Two-year warranty. "
    "A filter paper pack is sold separately.",
    colours="copper, slate, cream",
    price="£45",
)
CLUB = ad(
    "Tideline sketch club",
    "Sketching outdoors for ages 8 to 12, first Saturday of the month, 10 am to 12.30 pm. Six sessions, £48. Groups of "
    "up to 9. Bring your own paper; pencils are lent. First session free for siblings only. No exhibitions.",
    domain="education",
    price="£48",
)


def refused(text: str, about: Ad) -> list[str]:
    return [claim.text for claim in unsupported(trace_claims(text, about))]


RUNNER = ad(
    "Thorne hand-woven runner",
    "A runner of 70 by 280 cm, sold in 140 villages to half a million homes. Machine washable at thirty. Thirteen "
    "colours. Children of twelve and over may help at the loom, which is 157 cm high.",
)


@pytest.mark.parametrize(
    ("text", "figure", "true"),
    [
        ("It is two metres eighty long.", "two metres eighty", True),
        ("It is two metres ninety long.", "two metres ninety", False),
        ("Wash it at thirty degrees.", "thirty degrees", True),
        ("Wash it at forty degrees.", "forty degrees", False),
        ("Washable at forty.", "forty", False),
        ("Seven score villages know it.", "Seven score", True),
        ("Six score villages know it.", "Six score", False),
        ("Half a million homes have one.", "Half a million", True),
        ("A quarter of a million homes have one.", "A quarter of a million", False),
        ("A baker's dozen of colours.", "A baker's dozen", True),
        ("A dozen colours.", "A dozen", False),
        ("A thirteen-year-old may help.", "thirteen-year-old", True),
        ("An eleven-year-old may help.", "eleven-year-old", False),
        ("Children of ten and over may help.", "ten", False),
        ("The loom is five foot two high.", "five foot two", True),
        ("The loom is six foot two high.", "six foot two", False),
    ],
)
def test_figures_are_read_as_people_say_them(text: str, figure: str, true: bool) -> None:
    (claim,) = [claim for claim in trace_claims(text, RUNNER) if claim.text == figure]
    assert (claim.support is not None) == true


BREW = ad(
    "Cold brew",
    "Twelve cans to a box. Each can holds 180 mg of caffeine per can. Late boxes cost £1 a day for one week each. "
    "Courier £2 a kilometre.",
)


@pytest.mark.parametrize(
    ("text", "refused_for"),
    [
        ("180 mg of caffeine per can.", []),
        ("180 mg of caffeine per box.", ["180 mg"]),
        ("Late boxes are £1 a day.", []),
        ("Late boxes are £1 a week.", ["£1"]),
        ("A courier for £2 a kilometre.", []),
        ("A courier for £2 per km.", []),
        ("A courier for £2 a mile.", ["£2"]),
        ("A courier for £2 a metre.", ["£2"]),
    ],
)
def test_an_amount_is_of_what_the_ad_gives_it_for(text: str, refused_for: list[str]) -> None:
    assert [one for one in refused(text, BREW) if "mg" in one or "£" in one][:1] == refused_for


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("A quarter off, which leaves £15 for beans.", KETTLE),
        ("Nearly a litre of patience.", KETTLE),
        ("Under eight hundred grams, so your wrist forgives you.", KETTLE),
        ("Three colours, one burner.", KETTLE),
        ("Covered for twenty-four months.", KETTLE),
        ("£8 a session, if you are counting.", CLUB),
        ("Two and a half hours of looking properly.", CLUB),
        ("Twelve Saturdays a year.", CLUB),
        ("Never more than nine round the harbour.", CLUB),
        ("Ten in the morning, pencils out.", CLUB),
    ],
)
def test_what_follows_from_the_numbers_is_supported(text: str, about: Ad) -> None:
    assert refused(text, about) == []


@pytest.mark.parametrize(
    ("text", "about", "claim"),
    [
        ("Half off this week.", KETTLE, "Half off"),
        ("Over a litre of water.", KETTLE, "a litre"),
        ("Under seven hundred grams.", KETTLE, "seven hundred grams"),
        ("Five colours to choose from.", KETTLE, "Five"),
        ("£12 a session.", CLUB, "£12"),
        ("Three hours by the sea.", CLUB, "Three hours"),
        ("From £39 all told.", KETTLE, "£39"),
    ],
)
def test_other_numbers_are_refused(text: str, about: Ad, claim: str) -> None:
    assert any(claim.lower() in one.lower() for one in refused(text, about)), refused(text, about)


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("First things first: the beans.", KETTLE),
        ("Rain on the window, four walls, a slow pour.", KETTLE),
        ("A grey Tuesday deserves better.", KETTLE),
        ("Your day job can wait until the gulls have finished.", CLUB),
        ("Quitting is hard. Pouring is easy.", KETTLE),
        ("Put a pan on, find the biscuits, ignore the telly.", KETTLE),
        ("Awake at 3 am? So is the kettle.", KETTLE),
    ],
)
def test_the_readers_life_claims_nothing(text: str, about: Ad) -> None:
    assert refused(text, about) == []


@pytest.mark.parametrize(
    ("text", "about", "claim"),
    [
        ("Straight into the dishwasher after breakfast.", KETTLE, "dishwasher"),
        ("A filter paper pack is included.", KETTLE, "filter paper pack"),
        ("We lend you the paper, you bring the view.", CLUB, "paper"),
        ("Teenagers will feel at home here.", CLUB, "Teenagers"),
        ("The last Saturday of the month.", CLUB, "last"),
        ("Every Saturday, whatever the tide.", CLUB, "Every Saturday"),
        ("Every session is free.", CLUB, "session"),
        ("It cleans itself.", KETTLE, "cleans itself"),
        ("A sensor dims the lights.", KETTLE, "sensor"),
        ("Sip and soothe your sore throat.", KETTLE, "throat"),
        ("Taught by a tutor from Ealing College.", CLUB, "Ealing"),
        ("Stainless steel, a gooseneck and a matching teapot.", KETTLE, "teapot"),
        ("Quieter than any other kettle.", KETTLE, "Quieter than"),
    ],
)
def test_what_turns_a_fact_round_is_refused(text: str, about: Ad, claim: str) -> None:
    assert any(claim.lower() in one.lower() for one in refused(text, about)), refused(text, about)


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("Plus needs no account, just £0 a month.", "Free version: 20 new cards a day. Plus version at £3.50 a month."),
        ("Keep your pile for 0-0 days.", "Borrow up to eight books for three weeks. Two cups a day."),
        ("£14 a lesson, and the teacher gets wet too.", "Terms of 11 weeks, £154. Tell us 0 hours before."),
        ("An hour of violin for £42 each.", "One-to-one lessons, 0 minutes, £0. Minimum booking is four lessons."),
    ],
)
def test_nothing_is_divided_by_nought(text: str, description: str) -> None:
    assert trace_claims(text, ad("Evening lessons", description, domain="education"))


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Kinder on the purse than any other kettle in Luton.", False),
        ("Half what the big kettles cost.", False),
        ("£15 less compared with the old price.", True),
        ("Beat the pigeons to the stove.", True),
        ("Nobody is in a hurry here.", True),
    ],
)
def test_comparisons_are_with_others(text: str, passes: bool) -> None:
    kinds = [claim.kind for claim in unsupported(trace_claims(text, KETTLE))]
    assert ("comparison" not in kinds and "offer" not in kinds) is passes
