"""One running system for all the console's tests: it takes as long to start as ten journeys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.console_page import Console, browser
from tests.fakes.chat_server import chat_server, choices, replies
from tests.integration.conftest import LocalSystem, _need_parts

TRUE = "A trail running shoe that weighs 285 g"
UNTRUE = "Aster 4 trail shoe, only 49 euros today"


@pytest.fixture(scope="package")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSystem]:
    """The local system with the sample; its model writes what is true, what is not, and what the law forbids."""
    _need_parts()
    answer = choices(TRUE, UNTRUE, "The best trail shoe in the world")
    with chat_server(replies(answer)) as model, pytest.MonkeyPatch.context() as environment:
        environment.setenv("ERASURE_DELAY_SECONDS", "2")  # between an erasure's steps
        state = tmp_path_factory.mktemp("console") / "state"
        system = LocalSystem(state, ("--llm", model.url)).start()
        yield system
        system.stop()


@pytest.fixture(scope="module")
def chromium_() -> Iterator[Browser]:
    """Of a module: a second Playwright cannot start while one runs."""
    with browser() as running:
        yield running


@pytest.fixture
def console(local: LocalSystem, chromium_: Browser) -> Iterator[Console]:
    one = Console(chromium_, local.url)
    yield one
    one.close()
    assert one.problems == []
