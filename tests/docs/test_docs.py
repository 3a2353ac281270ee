"""What the docs show is what the code does."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tunelab.stats import minimum_detectable_effect
from tunelab.tasks.find import find_task, installed

ROOT = Path(__file__).parents[2]


def test_the_page_on_adding_a_task_works_as_written(tmp_path, command_line):
    page = (ROOT / "docs" / "adding-a-task.md").read_text()
    names = re.findall(r"[Pp]ut this into `([\w.]+)`|and this into `([\w.]+)`", page)
    blocks = re.findall(r"```(?:python|json|yaml)\n(.*?)```", page, re.DOTALL)
    for (first, second), block in zip(names, blocks, strict=True):
        (tmp_path / (first or second)).write_text(block)
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    result = command_line.run("run", "opposites.yaml", cwd=tmp_path, env=variables)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "undecided" in result.stdout


def test_the_command_help_page_is_up_to_date():
    script = ROOT / "scripts" / "build_command_help.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_bundled_study_is_named_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for study in (ROOT / "src" / "tunelab" / "studies").glob("*.yaml"):
        assert study.stem in readme


def test_the_page_on_comparisons_gives_the_figures_that_the_function_gives():
    page = (ROOT / "docs" / "comparisons.md").read_text()
    figures = re.findall(r"(\d{3,4}) (?:items )?see (\d\.\d)", page)
    assert len(figures) == 6
    for items, points in figures:
        assert f"{100 * minimum_detectable_effect(int(items), 0.1):.1f}" == points


def test_the_page_on_tasks_names_every_task_with_its_data_set_and_its_metrics():
    page = (ROOT / "docs" / "tasks.md").read_text()
    for name in installed():
        task = find_task(name)
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert f"`{task.metrics[0].name}`" in row
        if task.dataset is not None:
            assert f"{task.dataset.repo}" in row
            assert f"{task.train_split} / {task.test_split}" in row
        for metric in task.metrics:
            family = {metric.name, re.sub("_.*", "_*", metric.name), re.sub(".*_", "*_", metric.name)}
            assert any(f"`{known}`" in row for known in family)
