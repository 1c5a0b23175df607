"""The console in Chromium, before the real local system with its sample and a model that a test speaks for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.data import ROOT

SHOTS = ROOT / "tests" / "output" / "console"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]
Language = Literal["zh", "en"]
Scheme = Literal["light", "dark"]

expect.set_options(timeout=20_000)


def chromium() -> str:
    """The machine's Chromium, or a skip that says so (a failure where ``REQUIRE_CHROMIUM=1``)."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    message = "no Chromium on this machine: apt-get install chromium"
    if os.environ.get("REQUIRE_CHROMIUM") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    path = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield running
        finally:
            running.close()


@dataclass
class Console:
    """Opens pages of the console, which lies in `folder`; `problems` is all that they complained of in their console,
    which must stay empty."""

    chromium: Browser
    url: str
    folder: str = "/console/"
    problems: list[str] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    disturbed: bool = False

    def open(
        self, place: str = "", *, language: Language = "en", scheme: Scheme = "light", width: int = 1280, **more: Any
    ) -> Page:
        """A page of its own context (no memory of others) at ``#place``."""
        context = self.chromium.new_context(
            locale="zh-CN" if language == "zh" else "en-GB",
            color_scheme=scheme,
            viewport={"width": width, "height": 800},
            **more,
        )
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(f"{self.url}{self.folder}#{place}")
        if self.disturbed:  # while the page's own modules came
            self.disturbed = False
            page.reload()
        self.pages.append(page)
        return page

    def _hear(self, said: ConsoleMessage) -> None:
        # An interface of the machine came or went, as those of containers do.
        if "ERR_NETWORK_CHANGED" in said.text:
            self.disturbed = True
        elif said.type in ("error", "warning"):
            self.problems.append(said.text)

    def close(self) -> None:
        for page in self.pages:
            page.context.close()
        self.pages.clear()


def shoot(page: Page, name: str) -> Path:
    """A picture of the whole page, kept as test output."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    path = SHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
