"""The report in a real browser, driven through its DevTools protocol: loads, is silent, fits a phone, prints."""

import asyncio
import base64
import itertools
import shutil
import subprocess
import time

import aiohttp
import pytest
from made_up_run import run_stage, write_run

from rlrf4rec import cost

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
EVENTS = ("Page.enable", "Runtime.enable", "Log.enable", "Network.enable")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH")

NAMELESS = """[...document.querySelectorAll('img, svg')].filter(e => !e.parentElement.closest('svg')).filter(e =>
  !(e.getAttribute('alt') || e.getAttribute('aria-label') || (e.getAttribute('aria-labelledby') || '').split(' ')
    .map(id => document.getElementById(id)?.textContent.trim()).every(Boolean) && e.getAttribute('aria-labelledby')))
  .length"""
SMALL = """[...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(n => n.nodeType === 3 &&
  n.textContent.trim()) && e.getBoundingClientRect().width && parseFloat(getComputedStyle(e).fontSize) < 14)
  .map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 30))"""
WIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg') &&
  e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)"""
CUT = """[...document.querySelectorAll('svg.plot')].filter(s => { const b = s.getBoundingClientRect();
  return [...s.querySelectorAll('text')].some(t => { const r = t.getBoundingClientRect();
    return r.left < b.left - 1 || r.right > b.right + 1 || r.bottom > b.bottom + 1 || r.top < b.top - 1; }); })
  .map(s => s.querySelector('title').textContent)"""


class Tab:
    """One page of the browser; keeps the events that the browser sent."""

    def __init__(self, socket):
        self.socket, self.numbers, self.events = socket, itertools.count(1), []

    async def call(self, method, **parameters):
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while (message := await self.socket.receive_json(timeout=30)).get("id") != number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    async def value(self, expression):
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"]["value"]

    async def open(self, address):
        for method in EVENTS:
            await self.call(method)
        await self.call("Page.navigate", url=address)
        for _ in range(100):
            if await self.value("document.readyState === 'complete' && location.href") == address:
                await asyncio.sleep(0.3)  # for what the page might still ask for
                await self.value("1")
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"{address} did not load")

    async def resize(self, width):
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )

    def all(self, method):
        return [event["params"] for event in self.events if event.get("method") == method]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_run(folder, users=3)
        run_stage()
        with cost.measured("split", [], {}, []):
            pass
        cost.write_page(("split",))
    return (folder / "data/report/index.html").as_uri()


@pytest.fixture
def browse(tmp_path):
    """Run an async function with a tab of a fresh browser; only this browser is ended afterwards."""
    profile = tmp_path / "profile"
    with (tmp_path / "browser.log").open("w") as log:
        process = subprocess.Popen(
            [BROWSER, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log
        )
    try:
        port = _port(profile / "DevToolsActivePort", process, tmp_path / "browser.log")

        async def connected(visit):
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [t for t in await answer.json(content_type=None) if t["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    return await visit(Tab(socket))

        yield lambda visit: asyncio.run(connected(visit))
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(path, process, log):
    for _ in range(300):
        if path.exists() and (lines := path.read_text().splitlines()):
            return int(lines[0])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    return pytest.fail(f"the browser did not start: {log.read_text()[-2000:]}")


def test_the_page_in_a_browser(browse, address):
    async def visit(tab):
        await tab.open(address)
        assert await tab.value("document.title") == "RLRF4Rec: what this run found"
        assert await tab.value("document.querySelectorAll('section').length") == 11
        assert await tab.value("document.querySelectorAll('script').length") == 0
        assert await tab.value("document.querySelectorAll('svg.plot').length") > 6
        assert await tab.value(NAMELESS) == 0
        assert await tab.value("document.querySelectorAll('table:not(:has(caption))').length") == 0
        assert await tab.value("document.querySelectorAll('th:not([scope])').length") == 0
        for width in (360, 768, 1200):
            await tab.resize(width)
            assert await tab.value("document.documentElement.scrollWidth") <= width
            assert await tab.value(WIDE) == []
            assert await tab.value(SMALL) == []
            assert await tab.value(CUT) == []
        printed = base64.b64decode((await tab.call("Page.printToPDF"))["data"])
        assert printed.startswith(b"%PDF")
        assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") > 1
        asked = {event["request"]["url"] for event in tab.all("Network.requestWillBeSent")}
        spent = address.replace("data/report", "metrics/cost")
        assert {url for url in asked if not url.startswith(("data:", address))} <= {spent}
        await tab.open(spent)
        assert await tab.value("document.querySelectorAll('td')[1].textContent") == "0.0"
        for width in (360, 1200):
            await tab.resize(width)
            assert await tab.value(WIDE) == []
            assert await tab.value(SMALL) == []
        for silent in (
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Network.loadingFailed",
        ):
            assert tab.all(silent) == []

    browse(visit)


def test_a_bad_page_would_be_noticed(browse, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<title>bad</title><body><img src='http://127.0.0.1:9/x.png'><svg class='plot'></svg>"
        "<p style='width: 3000px; font-size: 9px'>wide</p><script>console.error('x')</script>"
    )

    async def visit(tab):
        await tab.open(bad.as_uri())
        await tab.resize(360)
        assert await tab.value(NAMELESS) == 2
        assert await tab.value(WIDE) != []
        assert await tab.value(SMALL) != []
        assert tab.all("Runtime.consoleAPICalled")
        assert tab.all("Network.loadingFailed")

    browse(visit)
