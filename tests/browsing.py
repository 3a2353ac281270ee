"""Debian's Chromium, driven by Playwright: it reaches no network, and whatever a page does wrong is collected."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

QUIET = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Return the path of the browser, if there is one."""
    return shutil.which("chromium")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open the browser for as long as the block runs."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(QUIET))
        yield browser
        browser.close()


def collect_problems(page: Page, origin: str = "file:") -> list[str]:
    """Return a list that fills with a page's errors: exceptions, console errors (a refused script is one), dialogs,
    and requests that leave ``origin``; data: and blob: stay in the page.
    """
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"exception: {error}"))
    page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)

    def dismiss(dialog: object) -> None:
        problems.append("dialog")
        dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", dismiss)
    inside = (origin, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(inside) else problems.append(f"request: {r.url}"))
    return problems
