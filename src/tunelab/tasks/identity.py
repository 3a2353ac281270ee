"""What a task is known by: its rows and its scorer apart, so that a new scorer neither retrains nor generates anew.

A task that is installed declares two versions. A user's file is known by its code instead, so that nobody has to
remember to raise a number: the scorer by the whole file, the rows by what is left of the file when everything that
only the scorer uses is taken out. Comments, docstrings and layout do not count. The code is followed by name and
not run: what ``load``, ``messages``, ``target`` and ``choices`` name, directly or through other functions, stays;
so does whatever is no function.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tunelab.tasks.find import file_of, is_file
from tunelab.tasks.mixed import Mixed
from tunelab.tasks.task import Task

OF_ROWS = ("load", "messages", "target", "choices")
NOT_OF_ROWS = {"metrics", "scorer_version", "stop", "max_new_tokens"}
"""Constants that only scoring or decoding read; where decoding's count they are settings of their own."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def rows_identity(task: Task, name: str, folder: Path | None = None) -> dict[str, Any]:
    """Return what changes when samples, prompts or targets can change."""
    known: dict[str, Any] = {"name": task.name, "version": task.version}
    if is_file(name):
        path, kind = file_of(name, folder or Path.cwd())
        known["code"] = _digest(_rows_code(_parsed(path), kind))
    return known


def scorer_identity(task: Task, name: str, folder: Path | None = None) -> dict[str, Any]:
    """Return what changes when an output can earn another score."""
    if isinstance(task, Mixed):
        return {"members": [scorer_identity(member, n, folder) for n, member in task.members.items()]}
    known: dict[str, Any] = {"name": task.name, "version": task.scorer_version}
    if is_file(name):
        known["code"] = _digest([_parsed(file_of(name, folder or Path.cwd())[0])])
    return known


def _rows_code(tree: ast.Module, kind: str) -> list[ast.AST]:
    """Return the code of a file without the functions and constants that only scoring uses."""
    functions = [node for node in _parts(tree, kind) if isinstance(node, Function)]
    kept: list[ast.AST] = [node for node in _parts(tree, kind) if not isinstance(node, Function)]
    asked = {*OF_ROWS, *_names(kept)}
    while new := [f for f in functions if f not in kept and (f.name in asked or f.name.startswith("__"))]:
        kept += new
        asked |= _names(new)
    return kept


def _parts(tree: ast.Module, kind: str) -> list[ast.AST]:
    """Return the statements of a module, with those of the task's class in its place."""
    parts: list[ast.AST] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == kind:
            own = [n for n in node.body if not _assigned(n) & NOT_OF_ROWS]
            parts += [*node.bases, *node.decorator_list, *own]
        else:
            parts.append(node)
    return parts


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return every identifier in the code, and every string: getattr takes those."""
    parts = [part for node in nodes for part in ast.walk(node)]
    found = {part.id for part in parts if isinstance(part, ast.Name)}
    found |= {part.attr for part in parts if isinstance(part, ast.Attribute)}
    return found | {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop statements that are a mere string."""
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def _parsed(path: Path) -> ast.Module:
    return _WithoutDocstrings().visit(ast.parse(path.read_text(encoding="utf-8")))


def _digest(nodes: Iterable[ast.AST]) -> str:
    return hashlib.sha256("\n".join(ast.dump(node) for node in nodes).encode()).hexdigest()
