"""Takes the pictures in docs/images from a real run: make screenshots

Runs the quickstart in a folder of its own, follows it with ``tunelab view`` in Chromium, and writes ``view.png`` while
a policy is trained, then ``report.png`` and, where a report has that page, ``samples.png``.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
TUNELAB = [sys.executable, "-c", "from tunelab.cli import main; main()"]
SIZE = {"width": 1280, "height": 860}
LARGEST = 250_000
PATIENCE = 180_000


def main() -> None:
    """Write the pictures."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as name, opened() as browser, viewing(Path(name), environment) as url:
        run = subprocess.Popen([*TUNELAB, "run", "quickstart", "--quiet"], cwd=name, env=environment)
        page = browser.new_page(viewport=SIZE)
        follow(page, url)
        if run.wait():
            sys.exit("tunelab run quickstart failed, so there is nothing to show")
        report = Path(name, "results", "quickstart", "report")
        for picture, file in (("report.png", "index.html"), ("samples.png", "samples.html")):
            if (report / file).exists():
                page.goto((report / file).as_uri())
                take(page, picture)


def follow(page: Page, url: str) -> None:
    """Take the viewer's picture when the policy's training has a curve."""
    page.goto(url)
    page.get_by_role("link", name="quickstart").click(timeout=PATIENCE)
    reward = page.locator(".card").filter(has_text="grpo_chat").locator("polyline").nth(1)
    expect(reward).to_have_attribute("points", re.compile(r"( \S+){9}"), timeout=PATIENCE)
    take(page, "view.png")


def take(page: Page, name: str) -> None:
    """Write what the window shows, and refuse what is too large for a repository."""
    page.screenshot(path=IMAGES / name)
    size = (IMAGES / name).stat().st_size
    print(f"docs/images/{name}: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"docs/images/{name}: got {size:,} bytes, expected at most {LARGEST:,}; show less of the page")


@contextmanager
def opened() -> Iterator[Browser]:
    """Open Debian's Chromium; its sandbox is not for root."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        yield browser
        browser.close()


@contextmanager
def viewing(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run ``tunelab view`` and give its address."""
    (folder / ".tunelab").mkdir()
    viewer = subprocess.Popen([*TUNELAB, "view"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert viewer.stdout is not None
    yield viewer.stdout.readline().strip()
    viewer.send_signal(signal.SIGINT)
    viewer.wait()


if __name__ == "__main__":
    main()
