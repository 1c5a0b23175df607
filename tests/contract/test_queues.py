"""Messages say whose they are, on both adapters: by its group a standard queue serves tenants in turn."""

from __future__ import annotations

from collections import Counter

from shared.stores import Stores


def test_messages_carry_their_tenants_group(stores: Stores) -> None:
    for tenant in ("a", "a", "b"):
        stores.queues.send("events", {"tenant": tenant, "action": "split", "run": "r"})
    stores.queues.send("events", {"action": "all"})
    groups: Counter[str | None] = Counter()
    client, url = stores.queues._client, stores.queues._urls["events"]
    for _ in range(20):
        got = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        groups += Counter(one["Attributes"].get("MessageGroupId") for one in got.get("Messages", ()))
        if groups.total() == 4:
            break
    assert groups == {"a": 2, "b": 1, None: 1}
