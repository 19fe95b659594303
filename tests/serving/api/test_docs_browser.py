"""The documentation page in a real browser: it draws with nothing but the server, and obeys its own policy."""

import os
import shutil

import pytest

from serving.docs_page import docs_page
from tests.serving.api.operations import OPERATIONS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


def test_the_page_and_its_files(call):
    async def body(api):
        page = await api.nobody.get("/docs")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "://" not in page.text, "something of another host"
        for name, file in docs_page().files.items():
            answer = await api.nobody.get(f"/docs/files/{docs_page().version}/{name}")
            assert (answer.status_code, answer.content) == (200, file.content)
            assert answer.headers["content-type"].startswith(file.media_type)
            assert "immutable" in answer.headers["cache-control"]
        for path in (f"/docs/files/{docs_page().version}/page.html", "/docs/files/0/start.js", "/docs/files/0/..%2f.."):
            assert (await api.nobody.get(path)).status_code == 404
        start = await api.nobody.get("/")
        assert (start.status_code, start.headers["location"]) == (302, "/docs")
        icon = await api.nobody.get("/favicon.ico")
        assert (icon.status_code, icon.headers["content-type"]) == (200, "image/png")
        assert icon.content.startswith(b"\x89PNG")
        document = await api.nobody.get("/docs/openapi.json")
        assert document.json()["webhooks"]
        again = await api.nobody.get("/docs/openapi.json")
        assert again.content == document.content
        # Writing it as YAML takes the event loop a second, for anybody who asks.
        assert (await api.nobody.get("/docs/openapi.yaml")).status_code == 404

    call(body)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)")
def test_a_browser_draws_it_and_asks_nobody_else(call):
    async_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    complaints, requests = [], []

    async def body(api):
        # Chromium's own sandbox does not start for root, which is who runs tests in a container.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        async with async_api.async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET + sandbox)
            # Of so many operations, only those are drawn that there is room for.
            page = await browser.new_page(viewport={"width": 1280, "height": 20_000})
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            await page.goto(f"{api.address}/")
            await page.wait_for_selector(".opblock")
            await page.locator("#operations-webhooks-test_webhook").wait_for()
            shown = await page.locator(".opblock-summary").count()
            tags = await page.locator(".opblock-tag").count()
            # One of them opens, and shows an example that can be sent.
            await page.locator("#operations-vocabularies-create_vocabulary .opblock-summary-control").click()
            example = page.locator("#operations-vocabularies-create_vocabulary textarea")
            await example.wait_for()
            sent = await example.input_value()
            # Another one is sent.
            await page.locator("#operations-health-live .opblock-summary-control").click()
            await page.locator("#operations-health-live .execute").click()
            status = page.locator("#operations-health-live .live-responses-table .response-col_status").last
            await status.wait_for()
            answered = await status.inner_text()
            await browser.close()
        assert shown >= len(OPERATIONS)
        assert tags > 10
        assert "a curly dog" in sent
        assert answered.startswith("200")
        assert requests
        assert [url for url in requests if not url.startswith((api.address, "data:"))] == []
        assert complaints == []

    call(body)
