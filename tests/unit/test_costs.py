"""The cost model: units by hand, sums by hand, a template that changes, prices that are what their table says."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.costs import report as costs
from infra.costs import scale
from infra.costs.counted import Mix, count_all
from infra.costs.metering import Work, index_units, item_bytes, partition_kind, read_units, write_units
from infra.costs.model import Assumptions, Model, Prices, Times, load_prices, scenarios, times, together, total
from infra.costs.stack import BILLED_WHILE_IDLE, FREE_WHILE_IDLE, TEMPLATE, Loader, Stack, custom_metrics

pytestmark = pytest.mark.slow

REGIONS = ("us-east-1", "eu-central-1", "ap-southeast-1", "cn-north-1")
MIX = Mix(request_people=20, chunk_people=50, items=20, interests=4, ads=200, asking=3)


@pytest.fixture(scope="module")
def work() -> dict[str, Work]:
    return count_all(MIX)


# Units --------------------------------------------------------------------------------------------------------------


def row(size: int, **more: Any) -> dict[str, Any]:
    """An item of exactly `size` bytes by DynamoDB's rules."""
    item = {"pk": {"S": "p"}, "sk": {"S": "s"}} | more
    return item | {"x": {"S": "y" * (size - item_bytes(item) - 1)}}


def test_the_size_of_an_item() -> None:
    item = {"pk": {"S": "é"}, "n": {"N": "-12.50"}, "b": {"B": b"1234"}, "t": {"BOOL": True}, "l": {"L": [{"S": "ab"}]}}
    # names 2 + 1 + 1 + 1 + 1; é has two bytes; 125 are three digits: two bytes, one more, one for the minus
    assert item_bytes(item) == 6 + 2 + 4 + 4 + 1 + (3 + 1 + 2)


def test_reads_are_rounded_up_to_four_kilobytes() -> None:
    assert [read_units(size) for size in (0, 1, 4096, 4097)] == [1, 1, 1, 2]
    assert read_units(4097, consistent=False) == 1


def test_writes_cost_the_larger_of_before_and_after() -> None:
    assert write_units(None, row(1024)) == 1
    assert write_units(None, row(1025)) == 2
    assert write_units(row(3000), row(10 + 20)) == 3


def test_the_index_is_written_where_its_key_is() -> None:
    one, two = row(1500, seq={"N": "1"}), row(1500, seq={"N": "2"})
    assert index_units(None, row(1500)) == 0
    assert index_units(None, one) == 2
    assert index_units(one, one) == 0
    assert index_units(one, two) == 4  # the entry under the old number goes, one under the new one comes
    assert index_units(one, row(1500)) == 2
    assert index_units(one, one | {"more": {"S": "z"}}) == 2


def test_partitions_are_told_apart_by_kind() -> None:
    assert partition_kind("t/demo/ads") == "t/{tenant}/ads"
    assert partition_kind("t/demo/p/1a2b") == "t/{tenant}/p/…"


def test_work_adds_and_scales() -> None:
    one = Work(read_units=2, calls={"GetItem": 1}, partitions={"a": [2.0, 0.0]})
    both = one + Work(write_units=3, calls={"GetItem": 2, "PutItem": 1}, partitions={"a": [0.0, 3.0]})
    assert (both.read_units, both.write_units, both.partitions) == (2, 3, {"a": [2.0, 3.0]})
    assert (both * 0.5).calls == {"GetItem": 1.5, "PutItem": 0.5}
    assert one.calls == {"GetItem": 1}


# Counted work: by hand what the use cases must ask for --------------------------------------------------------------


def test_500_events(work: dict[str, Work]) -> None:
    """20 people of 25 events on known items: nobody is new, nothing is embedded."""
    found = work["500 events"]
    people, events = MIX.request_people, 500
    mapping, consent, heads = people, 2 * people, people  # consent before and after, in case it is withdrawn meanwhile
    assert found.read_units == mapping + consent + heads + events  # whether each event is there already
    # A row of under 1 KB and its index entry, and each person's head once a transaction, all of it twice.
    transactions = found.calls["TransactWriteItems"]
    assert found.write_units == 2 * (2 * events) + 2 * people
    assert transactions >= -(-(events + people) // 100)  # at most 100 actions in one
    assert found.s3_writes == found.s3_reads == found.sqs == 0


def test_a_chunk_of_1000_rows(work: dict[str, Work]) -> None:
    found, people = work["chunk of 1,000 rows"], MIX.chunk_people
    assert found.write_units == 2 * (2 * 1000) + 2 * people + 4  # its row and the run's sums, in a transaction
    assert found.read_units == 4 * people + 1000 + 3  # the run before and after, and whether the chunk is done
    assert (found.s3_reads, found.s3_writes, found.sqs) == (1, 0, 0)
    split = work["split of 3 chunks"]
    assert (split.s3_writes, split.sqs) == (3, 3)


def test_a_decision(work: dict[str, Work]) -> None:
    found = work["decision"].partitions
    assert found["t/{tenant}/ads"] == [1, 0]  # the pointer, which was read longer ago than two seconds
    assert found["t/{tenant}/id/…"] == [1, 0]
    assert found["t/{tenant}/d/…"] == [0, 6]  # its row and its record for the log, in a transaction
    assert found["t/{tenant}/holders"][0] == MIX.interests
    assert found["t/{tenant}/bank/…"] == [MIX.shown, 0]
    # The budgets of the best hundred are looked up.
    assert 0.5 * MIX.budgeted * 100 <= found["t/{tenant}/spend"][0] <= 1.5 * MIX.budgeted * MIX.ads


def test_more_budgets_cost_more_reads(work: dict[str, Work]) -> None:
    assert work["first decision about a person"].read_units > work["decision"].read_units
    assert work["decision after 5 events"].write_units > work["decision"].write_units


# The template -------------------------------------------------------------------------------------------------------


@cache
def _template() -> Any:
    return yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader)


def changed(change: Any) -> Stack:
    template = copy.deepcopy(_template())
    change(template)
    return Stack(template)


def test_what_the_template_keeps_is_read() -> None:
    stack = Stack.load()
    assert set(stack.functions) == {"ProfileFunction", "ClassifyFunction", "GenerateFunction", "RecommendFunction"}
    assert stack.functions["ProfileFunction"].batches["EventQueue"] >= 1
    assert stack.recovers_to_a_point_in_time and stack.secrets == 1 and stack.log_days > 0
    assert not stack.endpoint_instances
    names = {one["IndexName"] for one in stack.table["LocalSecondaryIndexes"]}
    assert names == {"by_seq"}


@pytest.mark.parametrize("gpu", ["none", "both"])
def test_every_kind_of_resource_is_known_to_cost_or_not(gpu: str) -> None:
    kinds = {kind for kind, _ in Stack.load(given={"GpuEndpoint": gpu}).resources.values()}
    assert kinds <= BILLED_WHILE_IDLE | FREE_WHILE_IDLE
    assert not BILLED_WHILE_IDLE & FREE_WHILE_IDLE


def test_parameters_decide_what_is_made() -> None:
    plain, gpu = Stack.load(), Stack.load(given={"GpuEndpoint": "both"})
    assert gpu.endpoint_instances == ["ml.g5.xlarge"] * 2
    assert gpu.alarm_metrics["standard"] > plain.alarm_metrics["standard"]
    assert not plain.functions["RecommendFunction"].snapstart
    assert Stack.load(given={"SnapStart": "PublishedVersions"}).functions["RecommendFunction"].snapstart
    with pytest.raises(KeyError):
        Stack.load(given={"NoSuchParameter": "1"})


def test_twice_the_memory_costs_twice_the_seconds(work: dict[str, Work]) -> None:
    def doubled(template: dict[str, Any]) -> None:
        template["Globals"]["Function"]["MemorySize"] *= 2
        for one in template["Resources"].values():
            if one["Type"] == "AWS::Serverless::Function" and "MemorySize" in one["Properties"]:
                one["Properties"]["MemorySize"] *= 2

    before, after = Model(Stack.load(), work), Model(changed(doubled), work)
    for name, quantities in scenarios(before).items():
        seconds = quantities.get("lambda_gb_second", 0.0)
        assert scenarios(after)[name].get("lambda_gb_second", 0.0) == pytest.approx(2 * seconds)


def test_an_alarm_and_a_dashboard_more_are_seen(work: dict[str, Work]) -> None:
    def more(template: dict[str, Any]) -> None:
        metric = {"MetricStat": {"Metric": {}, "Period": 60, "Stat": "Sum"}}
        queries = [{"Id": "a", **metric}, {"Id": "b", **metric}, {"Id": "c", "Expression": "a/b"}]
        template["Resources"]["OneMore"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": queries}}
        template["Resources"]["Another"] = {"Type": "AWS::CloudWatch::Dashboard", "Properties": {}}
        template["Resources"]["Table"]["Properties"].pop("PointInTimeRecoverySpecification")

    before, after = Model(Stack.load(), work).month(), Model(changed(more), work).month()
    assert after["alarm_month"] == before["alarm_month"] + 2  # an expression's metrics are billed, not it
    assert after["dashboard_month"] == before["dashboard_month"] + 1
    assert before["recovery_gb_month"] > 0 and after["recovery_gb_month"] == 0


def test_metrics_in_the_code_are_found(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "one.py").write_text('metrics.add_metric("A", unit, 1)\nx.add_metric(name="B", value=2)\n')
    assert custom_metrics(tmp_path) == {"A", "B"}
    assert "RowsAccepted" in custom_metrics()


# Prices and sums ----------------------------------------------------------------------------------------------------


def test_the_price_table_is_whole() -> None:
    document = load_prices()
    assert set(document["regions"]) == set(REGIONS)
    for one in document["items"].values():
        assert one["what"] and one["page"] and one["unit"] and one["per"] > 0
    for source in document["sources"].values():
        assert source["from"] and isinstance(source["checked"], bool)
        assert source["date"] is None or len(source["date"]) == 10
    for region in document["regions"].values():
        assert region["currency"] in ("USD", "CNY")
        assert set(region["prices"]) == set(document["items"])
        for price in region["prices"].values():
            assert price["source"] in document["sources"]
            assert price["price"] is None or price["price"] > 0
    assert set(document["free_each_month"]) <= set(document["items"])


@pytest.fixture
def toy() -> dict[str, Any]:
    """A price table in round figures."""
    return {
        "items": {name: {"what": name, "per": per, "unit": "x"} for name, per in (("a", 1), ("b", 1000), ("c", 1))},
        "sources": {"page": {"checked": True}, "guess": {"checked": False}},
        "free_each_month": {"b": 500},
        "regions": {
            "here": {
                "currency": "USD",
                "prices": {
                    "a": {"price": 2.0, "source": "page"},
                    "b": {"price": 5.0, "source": "guess"},
                    "c": {"price": None, "source": "guess"},
                },
            }
        },
    }


def test_a_bill_by_hand(toy: dict[str, Any]) -> None:
    bill = Prices(toy, "here").bill({"a": 3, "b": 2000, "c": 1})
    assert [(one.name, one.amount) for one in bill] == [("c", None), ("b", 10.0), ("a", 6.0)]
    assert total(bill) == (16.0, False)
    assert total(bill[1:]) == (16.0, True)
    assert Prices(toy, "here").unchecked() == ["b", "c"]


def test_the_free_tier_is_taken_off_only_when_asked(toy: dict[str, Any]) -> None:
    assert Prices(toy, "here").line("b", 400).amount == 2.0
    assert Prices(toy, "here", free_tier=True).line("b", 400).amount == 0.0
    assert Prices(toy, "here", free_tier=True).line("b", 1500).amount == 5.0


def test_decisions_by_hand() -> None:
    """Ten decisions of work that can be reckoned in the head."""
    one = Work(read_units=10, write_units=4, calls={"GetItem": 2, "TransactWriteItems": 1})
    folded = one + Work(read_units=100, calls={"Query": 1})
    seen = Work(write_units=20, calls={"TransactWriteItems": 2})
    given = Assumptions(read_ms=5, transaction_ms=10, frame_ms=5, cold=0.1, folded=0.5, traced=0.5, log_bytes=1000)
    stack = changed(lambda template: template["Globals"]["Function"].update(MemorySize=2048))
    model = Model(
        stack, {"decision": one, "decision after 5 events": folded, "feedback": seen}, Times(choose=0.02), given
    )
    found = model.decisions(10)
    memory = stack.functions["RecommendFunction"].memory_gb
    assert found["read_unit"] == 10 * (10 + 0.5 * 100)
    assert found["write_unit"] == 10 * (4 + 20)
    assert found["http_request"] == found["lambda_request"] == 20
    asked = (
        0.020 + 0.005 + 2 * 0.005 + 0.010 + 0.5 * 0.005
    )  # choosing, the frame, two reads, a transaction, half a query
    reported = 0.005 + 2 * 0.010
    assert found["lambda_gb_second"] == pytest.approx((10 * (asked + reported) + 2 * 1.0) * memory)  # two cold starts
    assert found["log_gb"] == pytest.approx(20 * 1000 / 1e9)
    assert found["trace"] == 10


def test_snapstart_is_billed_by_version_and_restore(work: dict[str, Work]) -> None:
    plain = Model(Stack.load(), work)
    snap = Model(Stack.load(given={"SnapStart": "PublishedVersions"}), work)
    gigabytes = sum(one.memory_gb for one in snap.stack.functions.values())
    assert snap.snapstart(versions=2, hours=3)["snapstart_cache_gb_second"] == pytest.approx(gigabytes * 2 * 3 * 3600)
    assert plain.snapstart() == {} and "snapstart_restore_gb" not in plain.decisions()
    restored = snap.decisions()["snapstart_restore_gb"]
    assert restored == pytest.approx(2000 * snap.given.cold * snap.stack.functions["RecommendFunction"].memory_gb)


def test_a_gpu_endpoint_costs_what_runs(work: dict[str, Work]) -> None:
    asynchronous, realtime = (Model(Stack.load(given={"GpuEndpoint": kind}), work) for kind in ("async", "realtime"))
    assert "ml.g5.xlarge" not in asynchronous.month()
    assert asynchronous.wake_up()["ml.g5.xlarge"] == pytest.approx(asynchronous.given.wake_minutes / 60)
    assert realtime.month()["ml.g5.xlarge"] == 730


def test_uploads_and_requests_ask_the_table_for_nearly_the_same(work: dict[str, Work]) -> None:
    model = Model(Stack.load(), work)
    by_api, by_upload = model.events_by_api(), model.events_by_upload()
    assert by_upload["write_unit"] == pytest.approx(by_api["write_unit"], rel=0.05)
    assert by_upload["sqs_request"] >= 3 * 1000 and "http_request" not in by_upload


def test_times_come_from_the_newest_row_that_has_them(tmp_path: Path) -> None:
    def kept(value: float, name: str, unit: str, load: float = 0.5) -> str:
        figure = {"name": name, "value": value, "unit": unit}
        row = {"date": "2026-11-26T00:00:00+00:00", "load": load, "machine": {"cores": 2}, "figures": [figure]}
        return json.dumps(row) + "\n"

    path = tmp_path / "results.jsonl"
    assert times(path).choose == Times().choose
    choose, ingest = "choose 5 of 10,000 ads, all allowed, p50", "ingest of known items through boto3"
    rows = [
        kept(9.0, choose, "ms"),
        kept(4.0, choose, "ms"),
        kept(30.0, choose, "ms", load=5),
        kept(9000, ingest, "1/s", 5),
    ]
    path.write_text("".join(rows))
    found = times(path)
    assert found.choose == 0.004  # neither the older one nor that of a busy machine
    assert found.events_a_second == 9000  # there is no better one
    assert found.cold == Times().cold
    assert [("budget" in source) for _, source in found.sources] == [False, False, True]


def test_quantities_add_up() -> None:
    assert together({"a": 1.0}, {"a": 2.0, "b": 3.0}) == {"a": 3.0, "b": 3.0}


# The pages ----------------------------------------------------------------------------------------------------------


def test_tables_replace_what_stands_between_their_marks() -> None:
    page = "a\n<!-- t -->\nold\n<!-- /t -->\nb\n"
    assert costs.replaced(page, {"t": "| new |"}) == "a\n<!-- t -->\n| new |\n<!-- /t -->\nb\n"
    assert costs.replaced(costs.replaced(page, {"t": "x"}), {"t": "y"}) == costs.replaced(page, {"t": "y"})
    with pytest.raises(ValueError, match="0 places"):
        costs.replaced(page, {"u": "x"})


def test_the_page_has_a_place_for_every_table(work: dict[str, Work]) -> None:
    tables = costs.page_tables(load_prices(), work, Times(), MIX)
    page = costs.replaced(costs.PAGE.read_text(encoding="utf-8"), tables)
    assert "≥" in tables["regions"]  # Beijing's prices are not all known
    assert all(table in page for table in tables.values())


def test_the_page_on_scale_has_a_place_for_every_table(work: dict[str, Work]) -> None:
    model, prices = Model(Stack.load(), work), Prices(load_prices(), costs.DETAILED)
    tables = {name: costs.markdown(rows) for name, rows in scale.page_tables(work, MIX, model, prices).items()}
    page = costs.replaced(scale.PAGE.read_text(encoding="utf-8"), tables)
    assert all(table in page for table in tables.values())


def test_a_catalogue_that_was_not_measured_is_said_to_be(tmp_path: Path) -> None:
    stack, nothing = Stack.load(), tmp_path / "nothing.jsonl"
    assert scale.snapshot_table(stack, nothing)[1][1:] == ["not measured"] * 2


def test_rates_over_a_quota_are_marked(work: dict[str, Work]) -> None:
    rows = scale.rates_table(Model(Stack.load(), work), Prices(load_prices(), costs.DETAILED))
    (requests,) = [row for row in rows if row[0].startswith("requests a second")]
    rate = Stack.load().throttle[0]
    assert requests[1] == "20" and requests[2] == f"2,000 (over {rate:,.0f})"


def test_unknown_prices_make_the_total_a_lower_bound(toy: dict[str, Any]) -> None:
    prices = Prices(toy, "here")
    assert costs.money(prices.bill({"a": 1, "c": 1})) == "≥ 2.00"
    assert costs.money(prices.bill({"a": 0.001})) == "0.0020"


def test_limits_follow_from_the_counted_work(work: dict[str, Work]) -> None:
    """Half the units, twice the rate."""
    halved = copy.deepcopy(work)
    halved["decision"].partitions["t/{tenant}/spend"][0] /= 2
    before, after = scale.limits(work), scale.limits(halved)
    name = "decisions/s: budget rows read, with budgets as counted"
    assert after[name] == pytest.approx(2 * before[name])
