"""How tasks are found by name, and what is checked of one before it is used.

Bundled tasks are named in ``BUNDLED``; installed packages add theirs under the entry point ``tunelab.tasks``; a file
of the user's is named ``./my_task.py:Math500``. Whoever wrote it, what a task lacks is said in one line.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from tunelab.errors import StudyError, nearest
from tunelab.scoring.code.sandbox import Choice
from tunelab.scoring.score import Metric
from tunelab.tasks.mixed import JOINT, Mixed
from tunelab.tasks.sandboxed import SANDBOX, runs_code
from tunelab.tasks.task import CHOICES, GROUPS, OF_JUDGED, Task, groups_of, has_choices

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
    "math": "tunelab.tasks.math:Math",
    "math500": "tunelab.tasks.math500:Math500",
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
