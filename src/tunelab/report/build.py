"""Builds the report of a study: reads records and result files, writes tables, figures and one page."""

from __future__ import annotations

from tunelab.engine.context import StepContext
from tunelab.files import to_csv, write_atomic, write_json
from tunelab.report.again import STUDY_FILE, again
from tunelab.report.answer import first_screen
from tunelab.report.cells import csv_rows, to_markdown
from tunelab.report.drawing import save
from tunelab.report.evidence import Evidence, read_evidence
from tunelab.report.explorer.page import PAGE as SAMPLES
from tunelab.report.explorer.page import samples_page
from tunelab.report.figures import draw
from tunelab.report.group_differences import differences
from tunelab.report.groups import groups_csv
from tunelab.report.judging import judging_rows
from tunelab.report.over_seeds import flat, over_seeds_markdown
from tunelab.report.page import render, sections_of
from tunelab.report.several import averages_csv, averages_markdown
from tunelab.report.tabular import tables_in, write_tables


def run(context: StepContext) -> None:
    """Write ``index.html``, ``samples.html``, figures as .png and .svg, and ``tables/``: see ``docs/reports.md``.

    What other programs read has every digit: ``comparison.csv``, with a row a cell, and ``comparison.md`` for people.
    There is an ``averages.csv`` where tasks form a tree, ``contrasts.csv`` where a study declares contrasts, where a
    task's items are in groups ``groups.csv`` and ``group_differences.csv`` (changes, contrasts and what stands side by
    side), ``judging.csv`` where judges read outputs, ``recipes.csv`` with three seeds or more, and ``noise.csv``
    where a variant was drawn twice. ``study.json`` runs the study again, where one file can.
    """
    evidence = read_evidence(context)
    answer = first_screen(evidence.comparison, evidence.study)
    write_atomic(context.directory / "comparison.csv", to_csv(csv_rows(evidence)))
    write_atomic(context.directory / "comparison.md", to_markdown(evidence, answer) + _more(evidence))
    if tree := evidence.comparison["tree"]:
        write_atomic(context.directory / "averages.csv", averages_csv(tree))
    if groups := groups_csv(evidence):
        write_atomic(context.directory / "groups.csv", groups)
    for name, rows in (
        ("contrasts", evidence.comparison["contrasts"]),
        ("group_differences", differences(evidence.comparison)),
        ("judging", judging_rows(evidence)),
        ("recipes", flat(evidence.comparison["recipes"])),
        ("noise", flat(evidence.comparison["noise"])),
    ):
        if rows:
            write_atomic(context.directory / f"{name}.csv", to_csv(rows))
    if study := again(evidence).study:
        write_json(context.directory / STUDY_FILE, study)
    sections = sections_of(evidence)
    write_tables(list(tables_in(sections.values())), context.directory)
    pictures = draw(evidence)
    for picture in pictures:
        save(picture, context.directory)
    write_atomic(context.directory / "index.html", render(sections, answer, pictures, context.directory))
    write_atomic(context.directory / SAMPLES, samples_page(evidence))
    context.facts["answer"] = answer
    context.facts["holes"] = list(evidence.holes)


def _more(evidence: Evidence) -> str:
    """What stands below the cells in Markdown."""
    return over_seeds_markdown(evidence) + averages_markdown(evidence)
