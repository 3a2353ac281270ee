"""Tables as files: whatever stands in a cell is read back from CSV, Markdown and LaTeX as it was."""

import csv
import io
import json
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tunelab.report.tabular import (
    Table,
    named,
    read_tables,
    tables_in,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
    write_tables,
)

HOSTILE = ["a|b", "<b>x</b>", "[x](javascript:y)", "![x](y)", "`c`", "**b** _i_ ~~s~~", "$x^2$ & 50% #1 {a}\\n~",
           "=1+1", "--smoke", "[0.1, 0.2]", "*", "http://x.y/z www.x.y", "a\\|b", "&amp;", 'say "no"',
           "it''s", "line\nline", "\\end{tabular}", "\x00\x1b[31mred", "[a][b]", "- item", "<!-- c -->", "1. one",
           "@a"]  # fmt: skip
WRITES = {
    r"\textbackslash{}": "\\", r"\{": "{", r"\}": "}", r"\&": "&", r"\%": "%", r"\$": "$", r"\#": "#", r"\_": "_",
    r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<", r"\textgreater{}": ">",
    r"\textbar{}": "|", r"\textasciigrave{}": "`", r"{\char34}": '"', "$-$": "-", "---": "—", "{}": "",
}  # fmt: skip
"""What LaTeX's commands print; the oracle of these tests, read off the LaTeX Companion and not off our own table."""


def printed(source):
    """Return what LaTeX prints of a cell in ASCII; anything with a meaning of its own that we do not know fails."""
    commands = "|".join(re.escape(command) for command in sorted(WRITES, key=len, reverse=True))
    left = re.sub(commands, "", source)
    assert not re.search(r"[\\{}&%$#_^~]", left), source
    assert not re.search(r"--|''|``", re.sub(commands, "\0", source)), "a ligature"
    return re.sub(commands, lambda found: WRITES[found.group()], source)


def latex_cells(table):
    """Return the texts of a LaTeX table's head and rows, as printed."""
    lines = to_latex(table).splitlines()
    body = [line for line in lines[lines.index(r"\toprule") : lines.index(r"\bottomrule")] if line.endswith(r" \\")]
    assert not [line for line in body if line[0] in "[*"], "it would be an argument of the line's end before"
    return [[printed(cell) for cell in line[: -len(r" \\")].split(" & ")] for line in body]


def markdown_cells(table):
    """Return the texts of a Markdown table as CommonMark with tables has them; anything but text fails."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(to_markdown(table))
    inline = [token for token in tokens if token.type == "inline"]
    assert {child.type for token in inline for child in token.children} <= {"text", "text_special"}
    width = len(table.columns)
    texts = ["".join(child.content for child in token.children) for token in inline]
    return [texts[i : i + width] for i in range(0, len(texts), width)]


def once_spaced(text):
    return " ".join(text.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_every_format(text):
    table = Table("c", (text, "n"), [[text, 1], ["plain", None]])
    expected = once_spaced(text.replace("\x00", " ").replace("\x1b", " "))
    assert [row[0] for row in latex_cells(table)] == [expected, expected, "plain"]
    if text.isprintable():
        assert [row[0] for row in markdown_cells(table)] == [expected, expected, "plain"]
    assert json.loads(to_json(table))[0] == {text: text, "n": 1}


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_printable_ascii_is_read_back_as_it_was(text):
    table = Table("c", ("head",), [[text]])
    assert latex_cells(table) == [["head"], [text]]
    assert markdown_cells(table) == [["head"], [text]]


def test_bare_addresses_do_not_become_links_where_those_are_made():
    assert to_markdown(Table("c", ("a",), [["see http://x.y and www.x.y"]])).endswith(
        "| see http\\://x.y and www\\.x.y |\n"
    )


@pytest.mark.parametrize(("text", "written"), [("=1+1", "'=1+1"), ("@a", "'@a"), ("-x", "'-x"), ("-0.5", "-0.5")])
def test_a_spreadsheet_computes_nothing_from_a_cell(text, written):
    assert [*csv.reader(io.StringIO(to_csv(Table("c", ("a",), [[text]]))))] == [["a"], [written]]


def test_csv_keeps_digits_and_what_is_missing_is_empty():
    rows = [*csv.reader(io.StringIO(to_csv(Table("c", ("a", "b", "c"), [["x, y", 1 / 3, None]]))))]
    assert rows[1] == ["x, y", repr(1 / 3), ""]


def test_numbers_stand_to_the_right_and_look_as_on_the_page():
    table = Table("c", ("a", "n", "s"), [["x", 1234, "-0.5"], ["y", None, "b"]])
    assert to_markdown(table).splitlines()[1:3] == ["| --- | ---: | --- |", "| x | 1,234 | -0.5 |"]
    assert r"\begin{tabular}{lrl}" in to_latex(table)
    assert r"x & 1,234 & $-$0.5 \\" in to_latex(table)


def test_caption_and_label_are_escaped_and_environments_closed():
    source = to_latex(Table("50% of_it", ("a",), [["x"]], "by_level"))
    assert r"\caption{50\% of\_it}" in source
    assert r"\label{tab:by_level}" in source
    begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", source) for word in ("begin", "end"))
    assert begun == ended[::-1] == ["table", "tabular"]


@dataclass(frozen=True)
class Check:
    policy: str
    table: Table
    by_group: list


def test_tables_are_named_by_where_they_stand_and_found_there():
    some = Table("c", ("a",), [["x"]])
    held = {"one": some, "checks": [Check("p", some, [some]), Check("p", Table("c", ("a",)), [])], "text": "x"}
    found = tables_in(named(value, name) for name, value in held.items())
    assert [table.name for table in found] == ["one", "checks", "checks_by_group"]


def test_what_was_written_is_read_again(tmp_path):
    table = Table("Ça: 1", ("a", "b"), [["x", 0.1], ["y", None]], "mine")
    write_tables([table], tmp_path)
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"mine.csv", "mine.md", "mine.tex", "tables.json"}
    assert to_latex(read_tables(tmp_path)["mine"]) == to_latex(table) == (tmp_path / "tables/mine.tex").read_text()
