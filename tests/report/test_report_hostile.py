"""Texts of models, data sets and studies are data: in a browser they do nothing but stand there."""

import pytest
from explorer_fakes import evidence, page_of, sample, scored, write_page
from report_fakes import build, report_step

from browsing import collect_problems
from tunelab.visible import MARKED, visible

PAYLOADS = (
    "<script>window.hit=1</script>",
    "</script><script>window.hit=1</script>",
    "</style><style>*{display:none}",
    "<!-- <script>",
    "]]>",
    "</textarea></title></select></noscript>",
    '"><img src=x onerror=window.hit=1>',
    "<svg onload=window.hit=1>",
    '<a href="javascript:window.hit=1">go</a>',
    "{{7*7}}{% raw %}${7*7}",
    "\u202etxet desrever\u2066\u200f",
    "zero\u200bwidth\ufeff",
    "\x1b[31mred\x1b]0;title\x07",
    "nul\x00\x7f\x9b",
)
HOSTILE = " ".join(PAYLOADS)
HARMLESS = "harmless"
TALLY = """() => {
  const found = {};
  for (const e of document.querySelectorAll('*')) {
    if (e.matches('span.code, mark')) continue;
    found[e.tagName] = (found[e.tagName] || 0) + 1;
  }
  return found;
}"""


def hostile_report(folder, text):
    """A report with a text in every place that somebody else writes."""
    groups = {"subject": [text, "plain"]}
    texts = {"id": text, **dict.fromkeys(("prompt", "answer", "explanation"), text), "targets": [text]}
    cells = {"base/raw": 20, f"{text}/raw": 40}
    step = report_step(cells, output=text, question=text, study=text, groups=groups, texts=texts)
    return build(folder, step).directory


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return {text: hostile_report(tmp_path_factory.mktemp("store"), text) for text in (HOSTILE, HARMLESS)}


GLOBALS = "Object.getOwnPropertyNames(window)"


@pytest.fixture(scope="module")
def usual(browser, tmp_path_factory):
    """The globals of a page without a script."""
    empty = tmp_path_factory.mktemp("empty") / "empty.html"
    empty.write_text("<!doctype html><title>empty</title>", encoding="utf-8")
    page = browser.new_page()
    page.goto(empty.as_uri())
    found = set(page.evaluate(GLOBALS))
    page.close()
    return found


@pytest.fixture
def visit(browser, usual):
    """Open an address; return the page, what it does wrong, and the globals that it adds."""
    opened = []

    def open_page(address):
        page = browser.new_page()
        opened.append(page)
        problems = collect_problems(page)
        page.goto(address)
        return page, problems, lambda: set(page.evaluate(GLOBALS)) - usual

    yield open_page
    for page in opened:
        page.close()


def marked(text):
    """A text as samples.html shows it."""
    return MARKED.sub(lambda found: f"U+{ord(found[0]):04X}", text)


def test_index_shows_hostile_texts_as_text(visit, pages):
    page, problems, added = visit((pages[HOSTILE] / "index.html").as_uri())
    other, _, _ = visit((pages[HARMLESS] / "index.html").as_uri())
    assert problems == []
    assert added() == set()
    assert page.evaluate(TALLY) == other.evaluate(TALLY)
    assert page.text_content("h1") == visible(HOSTILE)
    shown = page.evaluate("[...document.querySelectorAll('pre, dd, td, th')].map(e => e.textContent)")
    assert sum(visible(HOSTILE) in text for text in shown) > 10


def test_samples_show_hostile_texts_as_text(visit, pages):
    page, problems, added = visit((pages[HOSTILE] / "samples.html").as_uri())
    page.wait_for_selector(".row")
    page.click(".row")
    page.wait_for_selector("#detail pre")
    other, _, _ = visit((pages[HARMLESS] / "samples.html").as_uri())
    other.wait_for_selector(".row")
    other.click(".row")
    other.wait_for_selector("#detail pre")
    assert problems == []
    assert added() == set()
    assert page.evaluate(TALLY) == other.evaluate(TALLY)
    texts = page.evaluate("[...document.querySelectorAll('#detail pre')].map(e => e.textContent)")
    assert len(texts) == 8  # prompt, target, and of both sides output, answer, explanation
    assert set(texts) == {marked(HOSTILE)}
    assert page.text_content("#detail h2") == marked(f"{HOSTILE}000")
    assert page.text_content("#detail dd") == marked(HOSTILE)
    assert page.text_content("#a option:checked") == marked(f"{HOSTILE}/raw")
    assert page.text_content("h1") == visible(HOSTILE)
    assert len(page.query_selector_all("#detail span.code")) > 80


def test_a_hostile_text_survives_search_and_address(visit, pages):
    page, problems, added = visit((pages[HOSTILE] / "samples.html").as_uri())
    page.wait_for_selector(".row")
    page.fill("#text", PAYLOADS[0])
    page.click(".row")
    page.wait_for_selector("#detail h2")
    page.reload()
    page.wait_for_selector("#detail h2")
    assert page.text_content("#detail h2") == marked(f"{HOSTILE}000")
    assert problems == []
    assert added() == set()


def test_a_lone_surrogate_is_marked_and_its_file_is_read(visit, tmp_path):
    address = page_of(tmp_path, {"base/raw": [sample("a\udc00", output="x\ud800y", answer="\udfff")]})
    page, problems, _ = visit(address)
    page.click(".row")
    page.wait_for_selector("#detail pre.output")
    assert page.text_content("#detail pre.output") == "xU+D800y"
    assert page.text_content("#detail h2") == "aU+DC00"
    assert problems == []


def test_ten_million_characters_are_cut_with_their_length_and_place(visit, tmp_path):
    long = "<b>" + "0123456789" * 1_000_000 + "the end"
    address = page_of(tmp_path, {"base/raw": [sample("a", output=long, prompt=long)]})
    assert (tmp_path / "samples.html").stat().st_size < 200_000
    page, problems, _ = visit(address)
    page.click(".row")
    page.wait_for_selector("#detail pre.output")
    text = page.text_content("#detail pre.output")
    assert "9,984,010 of 10,000,010 characters are left out here" in text
    assert "outputs.jsonl" in text
    assert text.startswith("<b>0123")
    assert text.endswith("the end")
    assert problems == []


def test_a_sensitive_task_shows_first_words_only(visit, tmp_path):
    step = scored(tmp_path / "s", [sample("a", output="b" * 500, prompt="p" * 500)], sensitive=True)
    address = write_page(tmp_path, evidence({"score/base/raw": step}))
    page, _, _ = visit(address)
    page.click(".row")
    page.wait_for_selector("#detail pre.output")
    assert page.text_content("#detail pre.output").startswith("b" * 60 + "440 of 500")
    assert page.text_content("#detail pre.prompt").startswith("p" * 60 + "440 of 500")
