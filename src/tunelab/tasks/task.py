"""The contract of a task, and how tasks are found.

A task is a plain object with the attributes of ``Task``. Bundled tasks are named in ``BUNDLED``; installed
packages add theirs under the entry point ``tunelab.tasks``; a file of the user's is named
``./my_task.py:Math500``. The scorer is also the reward, so training and evaluation cannot drift apart.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeGuard, cast, runtime_checkable

from tunelab.data.readers import require_columns
from tunelab.data.sample import Message, Sample
from tunelab.data.sources import Dataset, Source
from tunelab.errors import DataError, StudyError, nearest
from tunelab.scoring.code.sandbox import Choice, require
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.score import Metric, Score
from tunelab.tasks.mixed import JOINT, Mixed

BUNDLED = {
    "ailuminate": "tunelab.tasks.ailuminate:Ailuminate",
    "arithmetic": "tunelab.tasks.arithmetic:Arithmetic",
    "cnn_dailymail": "tunelab.tasks.cnn_dailymail:CnnDailyMail",
    "code_refinement": "tunelab.tasks.code_refinement:CodeRefinement",
    "code_text_to_code": "tunelab.tasks.code_text_to_code:CodeTextToCode",
    "code_to_code_trans": "tunelab.tasks.code_to_code_trans:CodeToCodeTrans",
    "code_to_text": "tunelab.tasks.code_to_text:CodeToText",
    "exams": "tunelab.tasks.exams:Exams",
    "gsm8k": "tunelab.tasks.gsm8k:Gsm8k",
    "hotpotqa": "tunelab.tasks.hotpotqa:HotpotQa",
    "humaneval": "tunelab.tasks.humaneval:HumanEval",
    "mbpp": "tunelab.tasks.mbpp:Mbpp",
    "mgsm": "tunelab.tasks.mgsm:Mgsm",
    "mmlu": "tunelab.tasks.mmlu:Mmlu",
    "mmmlu": "tunelab.tasks.mmmlu:Mmmlu",
    "mnli": "tunelab.tasks.mnli:Mnli",
    "qqp": "tunelab.tasks.qqp:Qqp",
    "squad_v2": "tunelab.tasks.squad_v2:SquadV2",
    "sst2": "tunelab.tasks.sst2:Sst2",
}
ENTRY_POINT = "tunelab.tasks"
CONSTANTS: dict[str, type] = {
    "name": str,
    "version": int,
    "scorer_version": int,
    "dataset": object,
    "train_split": str,
    "test_split": str,
    "metrics": tuple,
    "stop": tuple,
    "max_new_tokens": int,
}
METHODS = ("load", "messages", "target", "score")
CHOICES = "choices"
"""The method that only a task with choices has."""
OF_JUDGED = ("exchange", "judged_score")
"""The methods that only a task whose outputs are judged has."""
GROUPS = "groups"
SANDBOX = "sandbox"
"""What a task has that runs code which a model wrote: how it is kept in."""
CLUSTERS = "clusters"
"""The constant by which tasks say that they have the same clusters: a name that they share, else each its own."""


class Task(Protocol):
    """What a task must have. Attributes are constants of the task, methods are pure."""

    name: str
    version: int
    """Raise it when ``load``, ``messages`` or ``target`` changes: results of both must not mix."""
    scorer_version: int
    """Raise it when ``score`` changes: outputs are scored anew, and nothing is generated anew."""
    dataset: Dataset | None
    """Where the rows live on the hub; None for a task that generates its rows."""
    train_split: str
    """Empty for a task that is only evaluated."""
    test_split: str
    metrics: tuple[Metric, ...]
    """The first one is the headline and the reward."""
    stop: tuple[str, ...]
    """Strings that end a generation, besides the end of turn."""
    max_new_tokens: int

    def load(self, split: str, source: Source | None) -> Iterable[Sample]:
        """Yield a split's samples in the dataset's order."""
        ...

    def messages(self, sample: Sample) -> list[Message]:
        """Return the conversation up to the answer; the format decides how it becomes tokens."""
        ...

    def target(self, sample: Sample) -> str:
        """Return what supervised training teaches."""
        ...

    def score(self, sample: Sample, output: str) -> Score:
        """Score one output against ``sample.targets``."""
        ...


class ChoiceTask(Task, Protocol):
    """A task whose answer is one of a few: labels of a class, or the options of a question."""

    def choices(self, sample: Sample) -> tuple[str, ...]:
        """Return the answers to choose from, in label order; ``target`` returns one of them."""
        ...


def has_choices(task: Task) -> TypeGuard[ChoiceTask]:
    """Say whether a task's answer is one of a few."""
    return hasattr(task, CHOICES)


class JudgedTask(Task, Protocol):
    """A task without gold answers: judges read what was asked and answered. ``score`` alone leaves it unscored."""

    def exchange(self, sample: Sample, output: str) -> tuple[str, str]:
        """Return what the user asked and what the model answered, as a judge reads them."""
        ...

    def judged_score(self, sample: Sample, output: str, verdicts: Mapping[str, Verdict]) -> Score:
        """Score one output by the verdicts of its judges, by name; the first gives the headline."""
        ...


def is_judged(task: Task) -> TypeGuard[JudgedTask]:
    """Say whether a task's outputs are judged."""
    return all(hasattr(task, name) for name in OF_JUDGED)


def runs_code(task: Task) -> bool:
    """Say whether scoring runs code that a model wrote: a task that does has a ``sandbox``, which is set for it."""
    return hasattr(task, SANDBOX) or (isinstance(task, Mixed) and any(map(runs_code, task.members.values())))


def refuse_unsafe(task: Task, sandbox: Choice) -> None:
    """Raise StepError in one line where a task runs code and this machine cannot keep it in."""
    if runs_code(task):
        require(sandbox)


def groups_of(task: Task) -> tuple[str, ...]:
    """Return the metadata by which a task's results are also shown in groups: its ``groups``; optional."""
    return getattr(task, GROUPS, ())


def item_of(task: Task, sample: Sample) -> str | None:
    """Return what a sample is one of several wordings of, by which leaks are found; None where it says nothing.

    That is its cluster, beside the task's name: two tasks may number their rows alike.
    """
    cluster = sample.metadata.get("cluster")
    return None if cluster is None else f"{getattr(task, CLUSTERS, task.name)} {cluster}"


def is_sensitive(task: Task) -> bool:
    """Say whether a task's samples are only quoted by their first words: its ``sensitive``; optional."""
    return getattr(task, "sensitive", False) is True


@runtime_checkable
class HasReceipt(Protocol):
    """A task that finds out how a file is to be read, and says so; optional."""

    def receipt(self, split: str, source: Source | None) -> dict[str, Any]:
        """Return, as plain JSON, what the receipt of a split's rows adds: columns that were found, rows left out."""
        ...


@runtime_checkable
class MarksAnswers(Protocol):
    """A task that can tell an explicit answer from one that its scorer had to guess; optional."""

    def explicit(self, output: str) -> bool:
        """Say whether the output gives its answer behind a marker. Raise ``scorer_version`` when this changes."""
        ...


def find_task(name: str, folder: Path | None = None, sandbox: Choice = "bubblewrap") -> Task:
    """Return the task of that name, or the class in ``FILE.py:Class`` relative to ``folder``; ``a + b`` is both.

    ``sandbox`` keeps the code in that a task runs. Raises StudyError with the nearest valid name.
    """
    if JOINT in name:
        return Mixed({member: find_task(member, folder, sandbox) for member in name.split(JOINT)})
    task = _found(name, folder)
    if runs_code(task):
        setattr(task, SANDBOX, sandbox)
    return task


def _found(name: str, folder: Path | None) -> Task:
    if is_file(name):
        return _from_file(name, folder or Path.cwd())
    entries = installed()
    if name not in entries:
        raise StudyError(f"task: got {name!r}, expected a task{nearest(name, entries)} or FILE.py:Class")
    module, _, attribute = entries[name].partition(":")
    return _from_module(lambda: importlib.import_module(module), attribute, f"task {name}: {module}")


def training_split(name: str, folder: Path | None = None) -> str:
    """Return the training split of the task of that name. Raises StudyError for one that is only evaluated."""
    task = find_task(name, folder)
    if not task.train_split:
        raise StudyError(
            f"task {task.name}: has no training rows, expected a task to learn from; evaluate on it only: under train, "
            "and for worked examples, name another task"
        )
    return task.train_split


@cache
def installed() -> dict[str, str]:
    """Map every bundled and installed task's name to ``module:class``, importing none."""
    plugins = {e.name: e.value for e in importlib.metadata.entry_points(group=ENTRY_POINT)}
    return BUNDLED | plugins


def checked_rows(task: Task, split: str, source: Source | None) -> list[dict[str, Any]]:
    """Return a split's raw rows after checking that they have the columns the task needs."""
    if source is None or task.dataset is None:
        raise DataError(f"task {task.name}: needs a data source for the split {split!r}")
    rows = source.rows(split)
    require_columns(rows, task.dataset.columns, f"task {task.name}, split {split}")
    return rows


def checked_label(task: Task, split: str, index: int, label: Any, labels: Sequence[str]) -> str:
    """Return the word of a row's integer label. Raises DataError for one out of range: hidden labels are -1."""
    if not isinstance(label, int) or not 0 <= label < len(labels):
        raise DataError(
            f"task {task.name}, split {split}, row {index + 1}: got label {label!r}, expected 0 to {len(labels) - 1}"
        )
    return labels[label]


def load_samples(task: Task, split: str, source: Source | None) -> list[Sample]:
    """Load a split and check that it is not empty, that ids are unique and that no sample lacks a text.

    Raises DataError.
    """
    samples = list(task.load(split, source))
    if not samples:
        raise DataError(f"task {task.name}, split {split}: no rows, expected at least one")
    if len({s.id for s in samples}) != len(samples):
        raise DataError(f"task {task.name}, split {split}: sample ids repeat, expected unique ids: pairing needs them")
    for sample in samples:
        _check_texts(task, sample, f"task {task.name}, split {split}, sample {sample.id}")
    return samples


def _check_texts(task: Task, sample: Sample, where: str) -> None:
    """Refuse a sample whose target is missing or whose conversation has a turn without words: a null in the data."""
    if None in cast(Sequence[Any], sample.targets):
        raise DataError(f"{where}: got the target None, expected a text; mend or leave out the row")
    for message in task.messages(sample):
        content: Any = message.content
        if not isinstance(content, str) or not content.strip():
            columns = ", ".join(k for k, v in sample.fields.items() if v is None or not str(v).strip())
            raise DataError(
                f"{where}: got {content!r} as the {message.role}'s message (empty: {columns or 'no field'}), "
                "expected a text; mend or leave out the row"
            )


def question_text(task: Task, sample: Sample) -> str:
    """Return what a sample asks, without the words that a task puts around every question: what leaks are found by.

    That is the texts among its fields; a sample without any is known by what the user says.
    """
    texts = [value for value in sample.fields.values() if isinstance(value, str)]
    return "\n".join(texts or [m.content for m in task.messages(sample) if m.role == "user"])


def is_file(name: str) -> bool:
    """Say whether a task is a user's, ``FILE.py:Class``."""
    return ".py:" in name


def file_of(name: str, folder: Path) -> tuple[Path, str]:
    """Return the file and the class that ``FILE.py:Class`` names, relative to ``folder``."""
    file, _, attribute = name.rpartition(":")
    return (folder / file).resolve(), attribute


def _from_file(name: str, folder: Path) -> Task:
    path, attribute = file_of(name, folder)
    if not path.is_file():
        raise StudyError(f"task: {path} is not a file, expected FILE.py:Class")
    spec = importlib.util.spec_from_file_location(f"tunelab_user_task_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader

    def load() -> ModuleType:
        sys.modules[module.__name__] = module
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[module.__name__]
            raise
        return module

    return _from_module(load, attribute, f"task: {path}")


def _from_module(load: Callable[[], ModuleType], attribute: str, where: str) -> Task:
    """Return an instance of a module's class, whoever wrote it. Raises StudyError in one line."""
    try:
        module = load()
    except Exception as error:
        raise StudyError(f"{where} cannot be imported: {_one_line(error)}") from error
    if not hasattr(module, attribute):
        raise StudyError(f"{where} has no {attribute!r}{nearest(attribute, vars(module))}")
    return _built(getattr(module, attribute), f"{where}: {attribute}")


def _built(kind: Any, where: str) -> Task:
    """Return an instance of a class that has what a task must have."""
    if not isinstance(kind, type):
        raise StudyError(f"{where} is {kind!r}, expected a class")
    try:
        task: Any = kind()
    except Exception as error:
        raise StudyError(f"{where}() failed, expected a class that needs no arguments: {_one_line(error)}") from error
    missing = [name for name in (*CONSTANTS, *METHODS) if not hasattr(task, name)]
    if missing:
        raise StudyError(f"{where} has no {', '.join(missing)}; see tunelab.tasks.task.Task for what a task must have")
    for name, expected in CONSTANTS.items():
        if not isinstance(getattr(task, name), expected):
            raise StudyError(f"{where}.{name}: got {getattr(task, name)!r}, expected {expected.__name__}")
    judged = OF_JUDGED if any(hasattr(task, name) for name in OF_JUDGED) else ()
    for name in (*METHODS, *((CHOICES,) if has_choices(task) else ()), *judged):
        if not callable(found := getattr(task, name, None)):
            raise StudyError(f"{where}.{name}: got {found!r}, expected a method")
    groups: Any = groups_of(task)
    if not isinstance(groups, tuple) or not all(isinstance(name, str) for name in cast(tuple[Any, ...], groups)):
        raise StudyError(f"{where}.{GROUPS}: got {groups!r}, expected a tuple of names of sample metadata")
    if not task.metrics or not all(isinstance(metric, Metric) for metric in task.metrics):
        raise StudyError(f"{where}.metrics: got {task.metrics!r}, expected one Metric or more, the headline first")
    return task


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
