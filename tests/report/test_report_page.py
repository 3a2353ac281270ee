"""The page: complete, honest about what is missing, and safe with any text."""

import re
from html.parser import HTMLParser

import pytest
from report_fakes import CROSSED, N, build, report_step

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


def page(artifact):
    return artifact.path("index.html").read_text(encoding="utf-8")


def test_a_report_leaves_every_file(crossed):
    figures = ("accuracy_bar", "accuracy_grouped", "eval_template_scatter", "training_curves")
    expected = {f"{name}.{kind}" for name in figures for kind in ("png", "svg")}
    assert set(crossed.record.files) == expected | {"index.html", "comparison.csv", "comparison.md"}


def test_every_opened_element_is_closed(crossed):
    assert Tags(page(crossed)).open == []


def test_the_page_has_a_strict_policy_and_refers_to_nothing_outside(crossed):
    tags = Tags(page(crossed)).found
    policies = [a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert all(re.match(r"data:|#", a[key]) for _, a in tags for key in ("src", "href") if key in a)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags}
    assert not re.search(r"url\(|@import", page(crossed))


def test_figures_have_words_and_links_have_targets(crossed):
    tags = Tags(page(crossed)).found
    assert [len(a["alt"]) > 40 for tag, a in tags if tag == "img"] == [True] * 4
    targets = {a["id"] for _, a in tags if "id" in a}
    assert {a["href"][1:] for tag, a in tags if tag == "a"} <= targets


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
    assert "<code>generate/sft_raw/raw</code>" in text
    assert "<code>score/sft_raw/raw</code>" in text
    assert "○ no result" in text
    assert "1 of 3 cells has no result" in artifact.record.facts["answer"]
    assert "| sft_raw | raw |" in artifact.path("comparison.md").read_text()


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
    assert not [tag for tag, attributes in tags.found if tag == "script" or "onerror" in attributes]
    assert text.count(hostile.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")) > 5


def test_equal_results_give_equal_bytes(crossed, tmp_path):
    again = build(tmp_path, report_step(CROSSED, at_least={"numeric": 0.3}))
    same = [n for n, entry in crossed.record.files.items() if entry == again.record.files[n]]
    assert set(crossed.record.files) - set(same) == {"index.html"}
