"""The page: complete, honest about what is missing, and safe with any text."""

import csv
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from report_fakes import CROSSED, N, build, report_step

from tunelab.engine.step import Step

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'


class Tags(HTMLParser):
    """Collects tags with their attributes, in order, and the tags that stay open."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class Cells(HTMLParser):
    """Collects the rows of all tables as texts."""

    def __init__(self, html):
        super().__init__()
        self.rows = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside = tag in ("td", "th")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data.strip()

    def row(self, first):
        """The one row that begins with a text."""
        [found] = [row for row in self.rows if row and row[0] == first]
        return found


def page(artifact):
    return artifact.path("index.html").read_text(encoding="utf-8")


def test_a_report_leaves_every_file(crossed):
    figures = ("accuracy_bar", "accuracy_grouped", "eval_template_scatter", "interaction", "training_curves")
    expected = {f"{name}.{kind}" for name in figures for kind in ("png", "svg")}
    beside = {name for name in crossed.record.files if not name.startswith("tables/")}
    assert beside == expected | {"index.html", "samples.html", "comparison.csv", "comparison.md"}


def test_every_opened_element_is_closed(crossed):
    assert Tags(page(crossed)).open == []


def test_the_page_has_a_strict_policy_and_refers_to_nothing_outside(crossed):
    tags = Tags(page(crossed)).found
    policies = [a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; ")
    [script] = re.findall("<script>(.*?)</script>", page(crossed), re.DOTALL)
    assert policies[0].endswith(f"; script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'")
    inside = r"data:|#|tables/\w+\.(csv|md|tex)$|\w+\.(png|svg)$|samples\.html#"
    assert all(re.match(inside, a[key]) for _, a in tags for key in ("src", "href") if key in a)
    assert [tag for tag, _ in tags if tag in ("script", "link", "iframe", "object")] == ["script"]
    assert not re.search(r"url\(|@import", page(crossed))


def test_figures_have_words_and_links_have_targets(crossed):
    tags = Tags(page(crossed)).found
    assert [len(a["alt"]) > 40 for tag, a in tags if tag == "img"] == [True] * 5
    targets = {a["id"] for _, a in tags if "id" in a}
    links = {a["href"] for tag, a in tags if tag == "a"}
    assert {link[1:] for link in links if link.startswith("#")} <= targets
    assert {link for link in links if not link.startswith(("#", "samples.html#"))} <= set(crossed.record.files)


def test_the_page_shows_verdicts_mismatches_and_what_could_have_been_seen(crossed):
    text = page(crossed)
    assert "▲ better" in text
    assert "? undecided" in text
    assert "could see ≥" in text
    assert "mismatched" in text
    assert "Holes: none." in text
    assert "SMOKE RUN" not in text


def test_the_page_has_counts_thresholds_settings_and_leaks(crossed):
    text = page(crossed)
    assert f"55 ({55 / N:.1%})" in text
    assert "✓ pass" in text
    assert "format.template" in text
    assert "&lt;b&gt;shared 19&lt;/b&gt;" in text
    assert "shared 20" not in text
    assert "5 more rows" in text


def test_the_page_says_what_it_would_take_and_how_to_read_the_interaction(crossed):
    text = page(crossed)
    assert "items to see Δ" in text
    assert "items to see it" in text
    assert "it takes the observed difference as the true one" in text
    assert "Parallel lines would mean" in text


def test_a_smoke_run_says_so_first_and_names_the_command(tmp_path):
    artifact = build(tmp_path, report_step({"base/raw": 20, "sft_raw/raw": 40}, smoke=True, study="quick-smoke"))
    text = page(artifact)
    assert "SMOKE RUN – sizes are too small to conclude anything" in text
    assert "tunelab run quick --smoke" in text
    assert "Changed by --smoke: the bundled model everywhere" in text
    assert "SMOKE RUN" in artifact.path("comparison.md").read_text()


def test_a_failed_step_is_a_named_hole_everywhere(tmp_path):
    cells = {"base/raw": 20, "sft_raw/raw": 40, "sft_raw/chat": 30}
    artifact = build(tmp_path, report_step(cells, fails=["sft_raw/raw"]))
    text = page(artifact)
    assert '<p class="banner">2 steps have no result: ' in text
    assert "<code>generate/sft_raw/raw</code>" in text
    assert "<code>score/sft_raw/raw</code>" in text
    assert "○ no result" in text
    assert "1 of 3 cells has no result" in artifact.record.facts["answer"]
    assert "| sft_raw | raw |" in artifact.path("comparison.md").read_text()


def test_a_hole_has_the_reason_of_the_last_run(tmp_path):
    cells = {"base/raw": 20, "sft_raw/raw": 40}
    for why in ("out of memory", "the disk is gone"):
        text = page(build(tmp_path, report_step(cells, fails=["sft_raw/raw"], why=why)))
    assert "RuntimeError: the disk is gone" in text
    assert "out of memory" not in text


def test_a_report_without_any_score_still_says_what_is_missing(tmp_path):
    cells = {"base/raw": 20, "sft_raw/raw": 40}
    text = page(build(tmp_path, report_step(cells, fails=list(cells))))
    assert "<code>compare</code>" in text
    assert "nothing to answer with" in text
    assert "No cell has a score." in text


@pytest.mark.parametrize("hostile", [SCRIPT, IMAGE])
def test_hostile_outputs_and_names_stay_text(tmp_path, hostile):
    cells = {"base/raw": 20, f"{hostile}/raw": 40}
    text = page(build(tmp_path, report_step(cells, output=hostile, question=hostile)))
    tags = Tags(text)
    assert tags.open == []
    assert not [tag for tag, attributes in tags.found if "onerror" in attributes]
    assert [tag for tag, _ in tags.found].count("script") == 1
    assert text.count(hostile.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")) > 5


def test_equal_results_give_equal_bytes(crossed, tmp_path):
    again = build(tmp_path, report_step(CROSSED, at_least={"numeric": 0.3}))
    same = [n for n, entry in crossed.record.files.items() if entry == again.record.files[n]]
    of_this_run = ("costs", "fingerprints", "training", "versions")
    timed = {f"tables/{name}.{suffix}" for name in of_this_run for suffix in ("csv", "md", "tex")}
    assert set(crossed.record.files) - set(same) <= {"index.html", "tables/tables.json"} | timed


RECEIPT = {"source": "sampled", "prompts": 96, "pairs": 40, "all_right": 6, "all_wrong": 50, "unscored": 0}


def pairs_step(**completions):
    """A report over a dpo training, its pairs and the draws behind them."""
    decoding = {"samples": 4, "temperature": 0.7}
    drawn = Step("generate", 1, "base-pairs", "report_fakes:leave", {"decoding": decoding})
    pairs = Step("pairs", 1, "math", "report_fakes:leave", {"receipt": RECEIPT | completions}, {"outputs": drawn})
    step = report_step({"base/raw": 20, "dpo_raw/raw": 40})
    train = step.inputs["train/dpo_raw"]
    train = replace(train, inputs={**train.inputs, "pairs": pairs})
    return replace(step, inputs={**step.inputs, "train/dpo_raw": train, "pairs/math": pairs, "draws/base": drawn})


def test_pairs_are_accounted_for_with_their_reasons_and_the_draws_behind_them(tmp_path):
    counts = {"right": 111, "wrong": 222, "cut": 33, "unscored": 18}
    cells = Cells(page(build(tmp_path, pairs_step(completions=counts)))).row("math")
    assert cells[1:6] == ["dpo_raw", "sampled", "96", "40", "6 all right, 50 all wrong"]
    assert cells[6:] == ["base (4 a prompt at temperature 0.7)", "111", "222", "33", "18"]


def test_pairs_from_a_data_set_have_no_completions(tmp_path):
    html = page(build(tmp_path, pairs_step()))
    assert len(Cells(html).row("math")) == 7
    assert "cut by the budget" not in html


def test_a_study_without_pairs_does_not_speak_of_them(crossed):
    assert "<h3>Pairs</h3>" not in page(crossed)


def test_declared_contrasts_have_a_table_and_those_without_a_result_are_refused(tmp_path):
    pairs = [("sft_raw/raw", "base/chat", ["evaluate.format"]), ("sft_raw/raw", "sft_chat/chat", [])]
    right = {"base/raw": 20, "base/chat": 10, "sft_raw/raw": 40, "sft_chat/chat": 30}
    step = report_step(right, fails=["sft_chat/chat"], contrasts=pairs, groups={"subject": ["a", "b", "c", "d"]})
    artifact = build(tmp_path, step)
    html = artifact.path("index.html").read_text()
    [row] = [row for row in Cells(html).rows if row[:2] == ["sft_raw/raw", "base/chat"] and len(row) > 10]
    assert row[2].startswith("+0.5")
    assert row[-1].startswith("▲ better")
    assert "sft_raw/raw and base/chat differ in evaluate.format" in html
    assert "sft_raw/raw minus base/chat is +0.5" in html
    assert "sft_chat/chat has no result" in html
    assert "Contrasts by subject" in html
    told, refused = csv.DictReader(artifact.path("contrasts.csv").read_text().splitlines())
    assert (told["cell"], told["baseline"], float(told["difference"])) == ("sft_raw/raw", "base/chat", 0.5)
    assert told["differ_in"] == "evaluate.format"
    assert (refused["refused"], refused["difference"]) == ("sft_chat/chat has no result", "")
    lines = [*csv.DictReader(artifact.path("group_differences.csv").read_text().splitlines())]
    assert {line["kind"] for line in lines} == {"change", "contrast"}
    assert {line["group"] for line in lines if line["kind"] == "contrast"} == {"a", "b", "c", "d"}
