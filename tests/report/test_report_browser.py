"""The page as a person meets it: by keyboard, without colour, on paper and on a narrow screen, from the file itself."""

import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from report_fakes import CROSSED, build, report_step

import tunelab.report
from browsing import collect_problems

STYLE = Path(tunelab.report.__file__).parent / "templates" / "style.css"
TOO_WIDE = """() => [...document.querySelectorAll('table')].filter((table) => {
  const room = table.closest('.scroll') ?? table.parentElement;
  return table.scrollWidth > room.clientWidth + 1;
}).map((table) => table.caption?.textContent)"""
CUT_CELLS = """() => [...document.querySelectorAll('th, td')].filter((it) => it.scrollWidth > it.clientWidth + 1)
  .map((it) => it.textContent)"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A report with many long names, groups and contrasts."""
    long = {f"sft_raw@recipe.lr={i}e-4,system=Be brief and show your work/raw": 20 + 3 * i for i in range(9)}
    cells = {**CROSSED, **long}
    groups = {"subject": [f"abstract_algebra_{i}" for i in range(5)]}
    contrasts = [("sft_raw/raw", "sft_chat/chat", ["train.format", "evaluate.format"])]
    return build(tmp_path_factory.mktemp("wide"), report_step(cells, groups=groups, contrasts=contrasts))


@pytest.fixture
def opened(browser, wide):
    """The page with what it does wrong; nothing may be wrong when the test has ended."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    problems = collect_problems(page)
    page.goto(f"file://{wide.path('index.html')}")
    yield page
    page.close()
    assert problems == []


def test_the_first_screen_has_the_answer_and_differences_with_links_to_their_samples(opened):
    for selector in (".question", ".answer", ".glance .whisker b", ".glance .verdict"):
        assert opened.locator(selector).first.bounding_box()["y"] < 900
    row = opened.locator(".glance tr", has=opened.locator("th", has_text=re.compile(r"^sft_chat/raw$")))
    [this, other] = row.locator(".differ a, .differ span").all_inner_texts()
    assert (this, other) == ("0 only this right", "15 only the baseline")
    href = row.locator(".differ a").get_attribute("href")
    assert href == "samples.html#a=sft_chat%2Fraw&b=base%2Fraw&show=only_b"


def test_names_in_links_to_samples_are_encoded_whole(opened):
    hrefs = [a.get_attribute("href") for a in opened.locator(".glance a[href^='samples.html#a=sft_raw%40']").all()]
    assert hrefs
    for href in hrefs:
        asked = parse_qs(href.partition("#")[2], strict_parsing=True)
        assert re.fullmatch(r"sft_raw@recipe.lr=\de-4,system=Be brief and show your work/raw", asked["a"][0])
        assert asked["b"] == ["base/raw"]
        assert asked["show"] in (["only_a"], ["only_b"])


def test_the_mark_of_a_difference_lies_in_its_interval_on_its_side_of_zero(opened):
    for row in opened.locator(".glance").first.locator("tbody tr").all():
        boxes = [row.locator(f".whisker {part}").bounding_box() for part in ("div", "i", "b")]
        zero = boxes[0]["x"] + boxes[0]["width"] / 2
        mark = boxes[2]["x"] + boxes[2]["width"] / 2
        amount = float(row.locator(".range").first.inner_text().split()[0])
        assert boxes[1]["x"] - 1 <= mark <= boxes[1]["x"] + boxes[1]["width"] + 1
        assert abs(amount) < 0.01 or (mark > zero) == (amount > 0)


def test_two_variants_are_compared_by_keyboard(opened):
    selects = opened.locator("#compare select")
    selects.first.focus()
    for _ in range(3):
        opened.keyboard.press("ArrowUp")
    opened.keyboard.type("base")
    opened.keyboard.press("Tab")
    opened.keyboard.type("sft_chat")
    assert selects.first.input_value() == "base"
    assert selects.last.input_value() == "sft_chat"
    rows = opened.locator("#compare tbody tr").all_inner_texts()
    assert "seed\t—\t0" in rows
    assert re.fullmatch(rf"{len(rows)} of \d+ settings differ", opened.locator("#compare [role=status]").inner_text())


def test_a_variant_does_not_differ_from_itself(opened):
    for select in opened.locator("#compare select").all():
        select.select_option("sft_raw")
    assert opened.locator("#compare [role=status]").inner_text().startswith("0 of ")
    assert opened.locator("#compare .scroll").is_hidden()


def test_without_scripts_every_setting_stands_there(browser, wide):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{wide.path('index.html')}")
    assert page.locator("#compare").is_hidden()
    assert page.locator("#table-all_settings").get_by_text("recipe.method").is_visible()
    context.close()


def test_tab_reaches_links_in_order_and_focus_is_seen(opened):
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the results"
    assert opened.locator(".skip").bounding_box()["x"] >= 0
    reached = set()
    for _ in range(60):
        opened.keyboard.press("Tab")
        focus = opened.evaluate("""() => { const it = document.activeElement; const style = getComputedStyle(it);
            return [it.getAttribute('href') ?? it.tagName, style.outlineStyle, style.outlineWidth]; }""")
        assert focus[1:] == ["solid", "2px"]
        reached.add(focus[0])
    assert {"#results", "#costs", "SUMMARY", "tables/results.csv"} <= reached


def test_on_paper_all_is_open_and_no_table_is_cut(opened):
    opened.set_viewport_size({"width": 1030, "height": 730})  # A4 landscape within its margins, in CSS pixels
    opened.emulate_media(media="print")
    assert opened.locator("#table-comparisons").is_visible()
    assert opened.evaluate(TOO_WIDE) == []
    assert opened.evaluate(CUT_CELLS) == []
    assert len(opened.pdf()) > 10_000


def test_paper_has_the_examples_of_three_cells_and_neither_the_studys_text_nor_versions(opened):
    opened.emulate_media(media="print")
    assert opened.locator(".examples").count() > 3
    assert opened.locator(".examples:visible").count() == 3
    assert opened.locator("#table-fingerprints").is_visible()
    assert opened.locator("#table-versions, .screen pre").locator("visible=true").count() == 0
    assert len(re.findall(rb"/Type\s*/Page\b", opened.pdf(prefer_css_page_size=True))) < 40


@pytest.mark.parametrize("width", [400, 700, 1200])
def test_nothing_is_wider_than_the_screen(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    opened.evaluate("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth") == width


def test_every_table_has_a_caption_and_its_heads_a_scope(opened):
    for table in opened.locator("table").all():
        assert table.locator("caption").text_content()
        assert table.locator("th:not([scope])").count() == 0
    assert opened.locator("img:not([alt])").count() == 0


def themes():
    """The variables of the style sheet: light, dark and on paper."""
    blocks = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.S)
    ]
    light = blocks[0]
    return [light, *({**light, **block} for block in blocks[1:])]


def luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", themes(), ids=["light", "dark", "paper"])
def test_every_text_stands_out_from_its_background(theme):
    pairs = [(ink, paper) for ink in ("ink", "soft", "accent", "good", "bad", "open") for paper in ("paper", "panel")]
    for ink, paper in [*pairs, ("warn-ink", "warn-paper")]:
        high, low = sorted((luminance(theme[ink]), luminance(theme[paper])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)
