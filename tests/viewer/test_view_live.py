"""The viewer in a real browser, over runs that go on, fail, and are killed."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import expect
from viewer_steps import run

SMALL = ["train=sft_chat", "recipe.epochs=3", "evaluation.rows=40", "--skip", "evaluate.raw"]
SLOW = 60_000


def row(page, name):
    """A step's row in the table of steps, by a part of its name."""
    rows = page.locator("#steps + .scroll tbody tr")
    return rows.filter(has=page.locator("th", has_text=name))


def state(page, name):
    return row(page, name).locator(".state")


@pytest.mark.timeout(240)
def test_a_study_is_followed_while_it_runs(page, serve, command_line, tmp_path):
    store = tmp_path / ".tunelab"
    store.mkdir()
    page.goto(serve(store).url)
    expect(page.locator("main")).to_contain_text("No study was run on this store yet")
    with ThreadPoolExecutor(1) as beside:
        ended = beside.submit(command_line.run, "run", "quickstart", *SMALL, cwd=tmp_path, env=os.environ)
        page.get_by_role("link", name="quickstart").click(timeout=SLOW)
        expect(page.get_by_role("heading", level=1)).to_have_text("quickstart")
        expect(page.locator(".headline")).to_contain_text("▶ running since")
        expect(page.locator(".counts div:visible dt").filter(has_text="queued")).to_be_visible()
        expect(state(page, "report/")).to_have_text("· queued")
        expect(state(page, "prepare/arithmetic-train")).to_have_text("✓ done", timeout=SLOW)
        now = page.locator(".now").filter(has_text="train/sft_chat")
        expect(now).to_be_visible(timeout=SLOW)
        expect(now).to_contain_text(re.compile(r"\d+ of 60 steps, for .* about .* left"), timeout=SLOW)
        expect(now.get_by_role("progressbar")).not_to_have_attribute("value", "0.0000")
        expect(state(page, "train/sft_chat")).to_have_text("▶ running")
        expect(page.locator(".curve polyline").first).to_have_attribute("points", re.compile(r"^\d+\.\d,\d+\.\d \d+"))
        expect(state(page, "train/sft_chat")).to_have_text("✓ done", timeout=SLOW)
        expect(page.locator(".headline")).to_contain_text("✓ finished", timeout=SLOW)
        assert ended.result(timeout=60).returncode == 0
    expect(page.locator(".counts")).to_have_text(re.compile(r"^\s*done\s*10\s*$"), use_inner_text=True)
    expect(page.locator("#results + .scroll tbody b").first).to_have_text(re.compile(r"^[01]\.\d{3}$"))
    expect(page.locator(".answer")).to_contain_text("sft_chat")
    page.get_by_role("link", name="Open the report").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("quickstart")
    expect(page.locator(".answer").first).to_contain_text("sft_chat")


def start(store: Path, until: Path) -> "subprocess.Popen[bytes]":
    """Run the small study in a process of its own."""
    return subprocess.Popen([sys.executable, str(Path(__file__).with_name("viewer_steps.py")), str(store), str(until)])


def test_a_killed_run_is_interrupted_and_the_next_one_takes_its_place(page, serve, tmp_path):
    store, until = tmp_path / "store", tmp_path / "until"
    store.mkdir()
    page.goto(serve(store).url)
    killed = start(store, until)
    page.get_by_role("link", name="small study").click()
    expect(state(page, "train/")).to_have_text("▶ running")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    expect(page.locator(".headline")).to_contain_text("! interrupted: its process is gone")
    expect(state(page, "train/")).to_have_text("! interrupted")
    expect(state(page, "report/")).to_have_text("○ not run")
    expect(page.locator(".now:visible")).to_have_count(0)
    until.touch()
    with start(store, until) as again:
        assert again.wait(timeout=60) == 0
    expect(page.locator(".headline")).to_contain_text("✓ finished", timeout=20_000)
    expect(state(page, "prepare/")).to_have_text("= cached")
    expect(state(page, "train/")).to_have_text("✓ done")


def test_a_failed_step_shows_its_error_and_what_it_blocks(page, serve, tmp_path):
    run(tmp_path / "store", fails="loss is not finite")
    page.goto(serve(tmp_path / "store").url)
    expect(page.locator("tbody tr .state")).to_have_text("✗ failed")
    page.get_by_role("link", name="small study").click()
    expect(page.locator(".failure:visible")).to_contain_text("ValueError: loss is not finite")
    expect(state(page, "score/sft")).to_have_text("– blocked")
    expect(row(page, "score/sft")).to_contain_text("needs train/sft-")
    expect(state(page, "report/")).to_have_text("✓ done")
    page.locator(".failure:visible").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("sft")
    expect(page.locator("details pre")).to_contain_text("raise ValueError(why)")


def test_the_plan_can_be_walked_with_the_keyboard(page, over_finished):
    page.goto(f"{over_finished.url}study/small%20study")
    box = page.locator(".graph a[data-step^='train/']")
    box.focus()
    expect(page.locator(".graph path.lit")).to_have_count(2)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("sft")
    page.get_by_role("link", name="prepare/rows").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("rows")


def test_a_report_cannot_read_the_viewer(page, serve, tmp_path):
    """Even one that is not ours: its script runs in an origin of its own, and reaches nothing."""
    script = "fetch('../../live').then(() => document.title = 'read', () => document.title = 'refused')"
    run(tmp_path / "store", page=f"<!doctype html><title>r</title><script>{script}</script>")
    viewer = serve(tmp_path / "store")
    hostile = page.context.new_page()
    hostile.goto(f"{viewer.url}report/small%20study/index.html")
    expect(hostile).to_have_title("refused")
    assert hostile.evaluate("window.origin") == "null"
    hostile.close()


def test_a_viewer_that_is_gone_is_said_to_be(browser, serve, finished):
    viewer = serve(finished)
    page = browser.new_context().new_page()
    page.goto(viewer.url)
    viewer.process.send_signal(signal.SIGINT)
    viewer.process.wait()
    expect(page.locator("#offline")).to_be_visible(timeout=15_000)
    page.context.close()


def test_pages_fit_a_narrow_screen(browser, over_finished):
    page = browser.new_context(viewport={"width": 360, "height": 700}).new_page()
    trained = over_finished.get("study/small%20study/live").json()["live"]
    [step] = {key.partition(" ")[2] for key in trained if key.startswith("box train/")}
    for path in ("", "study/small%20study", f"step/{step}"):
        page.goto(over_finished.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.context.close()
