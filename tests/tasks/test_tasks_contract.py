"""A task of the user's that breaks the contract is refused in one line that names the file and what is wrong."""

import sys

import pytest

from tunelab.errors import StudyError
from tunelab.tasks.find import find_task, installed

TASK = """
from tunelab.scoring.score import Metric, judged

class Echo:
    name = "echo"
    version = 1
    scorer_version = 1
    dataset = None
    train_split = "train"
    test_split = "test"
    metrics = (Metric("same"),)
    stop = ()
    max_new_tokens = 8
    def load(self, split, source): ...
    def messages(self, sample): ...
    def target(self, sample): ...
    def score(self, sample, output): ...

NUMBER = 3
"""
BREACHES = {
    "a syntax error": ("class Echo:", "class Echo(:", "Echo", r"cannot be imported: SyntaxError.*line 4"),
    "a missing import": ("import Metric", "import Metrik", "Echo", r"cannot be imported: ImportError.*Metrik"),
    "a missing package": ("NUMBER = 3", "import no_such_package", "Echo", "cannot be imported: ModuleNotFoundError"),
    "an instance": ("", "", "NUMBER", "NUMBER is 3, expected a class"),
    "an argument": (
        "    name =",
        "    def __init__(self, x): ...\n    name =",
        "Echo",
        "needs no arguments: TypeError",
    ),
    "no stop and score": ("    stop = ()\n", "", "Echo", "Echo has no stop; see"),
    "no score": ("def score", "def scores", "Echo", "Echo has no score; see"),
    "a score that is no method": (
        "    def score(self, sample, output): ...",
        "    score = 1",
        "Echo",
        "expected a method",
    ),
    "choices that are no method": (
        "    stop = ()",
        "    choices = ('a', 'b')\n    stop = ()",
        "Echo",
        "expected a method",
    ),
    "an exchange without its score": (
        "    def score(self",
        "    def exchange(self, sample, output): ...\n    def score(self",
        "Echo",
        r"Echo\.judged_score: got None, expected a method",
    ),
    "one group": ("    stop = ()", "    groups = 'hazard'\n    stop = ()", "Echo", r"groups: got 'hazard', expected a"),
    "a version in words": ("    version = 1", "    version = 'one'", "Echo", r"Echo\.version: got 'one', expected int"),
    "one stop string": ("stop = ()", "stop = 'END'", "Echo", r"Echo\.stop: got 'END', expected tuple"),
    "no metric": ('(Metric("same"),)', "()", "Echo", r"Echo\.metrics: got \(\), expected one Metric or more"),
    "names of metrics": ('(Metric("same"),)', "('same',)", "Echo", r"metrics: got \('same',\), expected one Metric"),
}


def test_a_task_that_keeps_the_contract_is_found(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    assert find_task("mine.py:Echo", tmp_path).name == "echo"


@pytest.mark.parametrize("breach", BREACHES)
def test_a_task_that_breaks_the_contract_is_refused_in_one_line(tmp_path, breach):
    before, after, name, expected = BREACHES[breach]
    file = tmp_path / "mine.py"
    file.write_text(TASK.replace(before, after, 1) if before else TASK)
    with pytest.raises(StudyError, match=expected) as refused:
        find_task(f"mine.py:{name}", tmp_path)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a package with one task, as pip would leave it: a module and its entry point."""

    def install(source):
        (tmp_path / "echo_plugin.py").write_text(source)
        info = tmp_path / "echo_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[tunelab.tasks]\nechoed = echo_plugin:Echo\n")
        monkeypatch.syspath_prepend(tmp_path)
        installed.cache_clear()

    yield install
    sys.modules.pop("echo_plugin", None)
    installed.cache_clear()


def test_an_installed_task_that_keeps_the_contract_is_found(plugin):
    plugin(TASK)
    assert find_task("echoed").name == "echo"


@pytest.mark.parametrize("breach", [name for name in BREACHES if name != "an instance"])
def test_an_installed_task_that_breaks_the_contract_is_refused_in_one_line(plugin, breach):
    before, after, _, expected = BREACHES[breach]
    plugin(TASK.replace(before, after, 1))
    with pytest.raises(StudyError, match=expected) as refused:
        find_task("echoed")
    assert str(refused.value).startswith("task echoed: echo_plugin")
    assert "\n" not in str(refused.value)
