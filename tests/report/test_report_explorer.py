"""samples.html in a browser: two cells side by side, counts that agree with the report, views that can be shared."""

from pathlib import Path
from urllib.parse import quote

import pytest
from explorer_fakes import evidence, generated, judged, page_of, sample, scored, write_page
from playwright.sync_api import expect
from report_fakes import CROSSED, N, build, report_step
from tokenizers import Tokenizer

from browsing import collect_problems
from tunelab.models.spec import resolve


@pytest.fixture
def visit(browser):
    opened = []

    def open_page(address, **options):
        context = browser.new_context(**options)
        opened.append(context)
        page = context.new_page()
        problems = collect_problems(page)
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page, problems

    yield open_page
    for context in opened:
        context.close()


def shown(page):
    """The ids in the list, as far as they are drawn."""
    return page.evaluate(
        "[...document.querySelectorAll('.row')].sort((x, y) => x.dataset.place - y.dataset.place)"
        ".map(row => row.querySelector('.name').textContent)"
    )


def counts(page):
    """The numbers beside the choices of which samples."""
    labels = page.evaluate("[...document.querySelectorAll('#show label')].map(l => [l.querySelector('input').value, "
                           "l.querySelector('b').textContent])")  # fmt: skip
    return {value: int(count) for value, count in labels}


def settle(page, text):
    """Wait until so many samples are shown."""
    page.locator("#count", has_text=text).wait_for()


PAIR = {
    "sft/raw": [sample("a"), sample("b"), sample("c", "wrong"), sample("d", "no_answer", answer=None), sample("e")],
    "base/raw": [sample("a"), sample("b", "wrong"), sample("c"), sample("d", "truncated"), sample("e", "unscored")],
}


def test_counts_agree_with_the_comparison_and_the_pair_with_the_report(visit, crossed):
    page, problems = visit((crossed.directory / "samples.html").as_uri())
    assert page.input_value("#a") == "sft_raw/raw"
    assert page.input_value("#b") == "base/raw"
    expected = {"only_a": 20, "only_b": 0, "both": CROSSED["base/raw"], "neither": N - 40, "all": N}
    assert counts(page) == expected
    assert "+0.333" in page.text_content("#scores")
    assert problems == []


@pytest.mark.parametrize(
    ("show", "ids"),
    [
        ("only_a", ["b"]),
        ("only_b", ["c"]),
        ("both", ["a"]),
        ("neither", ["d"]),
        ("unpaired", ["e"]),
        ("all", [*"abcde"]),
    ],
)
def test_the_address_says_what_is_shown(visit, tmp_path, show, ids):
    address = page_of(tmp_path, PAIR)
    page, _ = visit(f"{address}#a={quote('sft/raw', safe='')}&b={quote('base/raw', safe='')}&show={show}")
    assert shown(page) == ids
    assert page.is_checked(f"#show input[value={show}]")


def test_a_view_is_shared_by_its_address(visit, tmp_path):
    page, _ = visit(page_of(tmp_path, PAIR))
    page.check("#show input[value=neither]", force=True)
    settle(page, "1 of 5")
    page.select_option("#outcome-b", "truncated")
    page.click(".row")
    page.wait_for_selector("#detail h2")
    other, _ = visit(page.url)
    assert shown(other) == ["d"]
    assert other.text_content("#detail h2") == "d"
    assert other.input_value("#outcome-b") == "truncated"


def test_swapping_turns_the_view_around(visit, tmp_path):
    page, _ = visit(f"{page_of(tmp_path, PAIR)}#a=sft%2Fraw&b=base%2Fraw&show=only_a")
    page.click("#swap")
    page.wait_for_selector("#show input[value=only_b]:checked", state="attached")
    assert page.input_value("#a") == "base/raw"
    assert shown(page) == ["b"]


def test_keys_choose_open_and_return(visit, tmp_path):
    page, problems = visit(page_of(tmp_path, PAIR))
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.wait_for_selector("[aria-selected=true] >> text=b")
    assert page.get_attribute("#list", "aria-activedescendant") == "row-1"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("/")
    page.keyboard.type("jk")
    assert page.input_value("#text") == "jk"
    settle(page, "0 of 5")
    assert problems == []


def test_text_is_searched_in_all_that_is_shown(visit, tmp_path):
    rows = [sample(f"s{i}", output=f"Found {i:03d}.", prompt="Needle?" if i == 250 else "Hay?") for i in range(300)]
    page, _ = visit(page_of(tmp_path, {"base/raw": rows}))
    page.fill("#text", "needle")
    settle(page, "1 of 300")
    assert shown(page) == ["s250"]
    page.fill("#text", "found 29")
    settle(page, "10 of 300")


def test_only_rows_in_sight_are_drawn(visit, tmp_path):
    rows = [sample(f"s{i:04d}", output=f"Number {i}.") for i in range(1000)]
    page, _ = visit(page_of(tmp_path, {"base/raw": rows}))
    assert len(shown(page)) < 40
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_selector(".row >> text=Number 999.")
    assert len(shown(page)) < 40
    assert page.text_content("[aria-selected=true] .name") == "s0999"


def test_words_of_one_side_and_the_answer_are_marked(visit, tmp_path):
    rows = {
        "sft/raw": [sample("a", output="Two and two are four, so 4.")],
        "base/raw": [sample("a", "wrong", output="Two and two are five, so 5.", answer="5")],
    }
    page, _ = visit(f"{page_of(tmp_path, rows)}#a=sft%2Fraw&b=base%2Fraw&show=all&id=a")
    page.wait_for_selector("mark.only")
    marks = "side => [...side.querySelectorAll('mark.only')].map(m => m.textContent)"
    assert [page.eval_on_selector(f".of:nth-child({i})", marks) for i in (1, 2)] == [["four", "4"], ["five", "5"]]
    taken = "[...document.querySelectorAll('mark.taken')].map(m => m.textContent)"
    assert page.evaluate(taken) == ["4", "5"]


def test_long_texts_are_not_compared_and_the_page_says_so(visit, tmp_path):
    rows = {name: [sample("a", output=f"{name[0]} " * 2000)] for name in ("sft/raw", "base/raw")}
    page, _ = visit(f"{page_of(tmp_path, rows)}#a=sft%2Fraw&b=base%2Fraw&id=a")
    page.wait_for_selector("#detail pre.output")
    assert "differences are not marked" in page.text_content("#detail")
    assert page.query_selector("mark.only") is None


def test_prompts_are_shown_once_where_they_are_equal(visit, tmp_path):
    rows = {"a/x": [sample("a")], "b/x": [sample("a")], "c/x": [sample("a", prompt="Question: 2 + 2?")]}
    address = page_of(tmp_path, rows)
    page, _ = visit(f"{address}#a=a%2Fx&b=b%2Fx&id=a")
    page.wait_for_selector("#detail pre.prompt")
    assert page.locator("#detail pre.prompt").all_text_contents() == ["2 + 2?"]
    page, _ = visit(f"{address}#a=a%2Fx&b=c%2Fx&id=a")
    page.wait_for_selector("#detail pre.prompt")
    assert page.locator("#detail pre.prompt").all_text_contents() == ["2 + 2?", "Question: 2 + 2?"]
    assert (tmp_path / "samples.html").read_text(encoding="utf-8").count('id="prompts-') == 2


def test_tokens_of_a_prompt_are_shown_on_demand_and_join_to_it(visit, tmp_path):
    tiny = Path(resolve("tiny").location)
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    prompt = "Leo has 12 shells, naïve 🐚<b>.</b>\nHow many?"
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    rows = [sample("a", prompt=prompt), sample("b", prompt="half \ud83d of it")]
    steps = {
        "score/sft/raw": scored(tmp_path / "scored", rows),
        "generate/sft/raw": generated(tmp_path / "made", tiny, {"a": len(ids) + 1, "b": 4}),
    }
    page, problems = visit(write_page(tmp_path, evidence(steps)) + "#a=sft%2Fraw&show=all&id=a")
    button = page.get_by_role("button", name="tokens")
    button.click()
    pieces = page.locator(".token")
    expect(pieces).to_have_count(len(ids))
    assert "".join(pieces.all_text_contents()) == prompt
    assert pieces.first.get_attribute("title") == f"token 1 of {len(ids)}: id {ids[0]}"
    expect(page.locator(".tokens .cut")).to_contain_text(f"{len(ids)} tokens; {len(ids) + 1} were sent")
    button.click()
    expect(pieces).to_have_count(0)
    page.keyboard.press("Escape")
    page.locator(".row .name", has_text="b").click()
    page.get_by_role("button", name="tokens").click()
    expect(page.get_by_role("button", name="tokens")).to_be_disabled()
    assert problems == []


def test_one_cell_stands_alone(visit, tmp_path):
    page, problems = visit(page_of(tmp_path, {"base/raw": PAIR["base/raw"]}))
    assert page.input_value("#b") == ""
    assert counts(page) == {"only_a": 2, "neither": 2, "unpaired": 1, "all": 5}
    page.click(".row")
    page.wait_for_selector("#detail pre.output")
    assert problems == []


def test_graded_scores_are_higher_lower_or_equal(visit, tmp_path):
    def graded(*values):
        return [sample(f"s{i}", "wrong", values={"numeric": value}) for i, value in enumerate(values)]

    page, _ = visit(page_of(tmp_path, {"a/x": graded(0.5, 0.2, 1.0), "b/x": graded(0.5, 0.7, 0.9)}))
    assert counts(page) == {"only_a": 1, "only_b": 1, "equal": 1, "all": 3}
    assert "A higher" in page.text_content("#show")


def test_groups_and_lengths_filter(visit, tmp_path):
    rows = [sample(f"s{i}", output_tokens=i, metadata={"subject": "law" if i % 2 else "art"}) for i in range(10)]
    steps = {f"score/{name}/x": scored(tmp_path / name, rows, groups={"subject": {}}) for name in "ab"}
    page, _ = visit(write_page(tmp_path, evidence(steps)))
    page.select_option("#groups select", "law")
    settle(page, "5 of 10")
    page.fill("#least", "4")
    settle(page, "3 of 10")
    assert shown(page) == ["s5", "s7", "s9"]
    assert counts(page)["all"] == 3
    page.click("#clear")
    settle(page, "10 of 10")


def test_cells_of_other_tasks_are_not_paired(visit, tmp_path):
    steps = {
        "score/a/x": scored(tmp_path / "a", [sample("1")]),
        "score/b/y": scored(tmp_path / "b", [sample("1")], task="t"),
    }
    page, _ = visit(f"{write_page(tmp_path, evidence(steps))}#a=a%2Fx&b=b%2Fy&show=all")
    assert "different tasks" in page.text_content("#notice")
    assert page.input_value("#b") == ""
    page, _ = visit(f"{(tmp_path / 'samples.html').as_uri()}#a=gone%2Fx&b=&show=all")
    assert "no scored cell gone/x" in page.text_content("#notice")
    page, _ = visit(f"{(tmp_path / 'samples.html').as_uri()}#a=nosuch")
    assert page.is_visible("#notice")
    assert "no scored cell nosuch" in page.text_content("#notice")


def test_draws_and_verdicts_of_judges_are_shown(visit, tmp_path):
    draws = [sample("a", "correct", output="first"), sample("a", "wrong", sample=1, output="second")]
    verdicts = [{"id": "a", "sample": 1, "value": 0.0, "reason": "", "replies": ["It is <b>unsafe</b>."]}]
    steps = {"score/a/x": scored(tmp_path / "s", draws), "judge/a/x/guard": judged(tmp_path / "j", verdicts)}
    page, problems = visit(f"{write_page(tmp_path, evidence(steps))}#a=a%2Fx&id=a")
    page.wait_for_selector("#detail pre.output")
    assert "mixed 0.50" in page.text_content(".row")
    page.select_option("#detail select", "1")
    assert page.text_content("#detail pre.output") == "second"
    assert page.text_content("#detail pre.reply") == "It is <b>unsafe</b>."
    assert "judge guard: verdict 0" in page.text_content("#detail")
    assert problems == []


def test_a_stranger_finds_answer_uncertainty_and_two_disagreeing_samples_in_three_clicks(visit, crossed, browser):
    page = browser.new_page()
    problems = collect_problems(page)
    page.goto((crossed.directory / "index.html").as_uri())
    assert "[+" in page.text_content("td:has(.better) .range >> nth=1")
    page.click("td:has(.better) a")
    for id_ in ("q020", "q021"):
        page.click(f".row:has-text('{id_}')")
        page.wait_for_selector(f"#detail h2:text-is('{id_}')")
        assert page.locator("#detail h3 .correct, #detail h3 .wrong").all_text_contents() == ["✓ correct", "✗ wrong"]
    assert "A − B +0.333 [+" in page.text_content("#scores")
    assert problems == []
    page.close()


def test_a_narrow_screen_has_one_column(visit, tmp_path):
    page, _ = visit(f"{page_of(tmp_path, PAIR)}#a=sft%2Fraw&b=base%2Fraw&id=b", viewport={"width": 400, "height": 800})
    page.wait_for_selector("#detail pre.output")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    list_, detail = page.locator("#list").bounding_box(), page.locator("#detail").bounding_box()
    assert detail["y"] >= list_["y"] + list_["height"]


def test_without_scripts_there_are_counts_and_what_is_needed(browser, crossed):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((crossed.directory / "samples.html").as_uri())
    assert "needs JavaScript" in page.inner_text("main")
    assert "sft_raw/raw" in page.inner_text("main table >> nth=0")
    context.close()


def test_a_study_without_a_result_has_a_page_that_says_so(visit, tmp_path):
    step = report_step({"base/raw": 20}, fails=["base/raw"])
    page, problems = visit((build(tmp_path, step).directory / "samples.html").as_uri())
    assert "no scored cell" in page.inner_text("main")
    assert problems == []
