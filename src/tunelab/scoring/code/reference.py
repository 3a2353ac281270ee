"""What a data set's own code tells of a problem: the names that the solution defines, and what tests need besides.

Reference solutions and tests are trusted; nothing here reads what a model wrote.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable

from tunelab.errors import DataError


def parsed(source: str, where: str) -> ast.Module:
    """Return the syntax of a data set's code. Raises DataError that begins with ``where``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old solutions have escapes that newer versions of Python warn of
        try:
            return ast.parse(source)
        except SyntaxError as error:
            raise DataError(f"{where}: got code that is no program ({error}), expected Python; mend the row") from None


def names_used(tree: ast.AST) -> set[str]:
    """Return every name that the code mentions."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def names_defined(tree: ast.Module) -> set[str]:
    """Return the functions and classes that a program defines at its top."""
    return {name for node in tree.body if isinstance(name := getattr(node, "name", None), str)}


def imports_of(tree: ast.Module, names: set[str]) -> str:
    """Return the imports of a program that bind any of the names."""
    return text_of(node for node in tree.body if _bound(node) & names)


def without(tree: ast.Module, name: str) -> str:
    """Return a program without the function of that name."""
    return text_of(node for node in tree.body if getattr(node, "name", "") != name)


def text_of(nodes: Iterable[ast.stmt]) -> str:
    """Return statements as source, one after the other."""
    return "\n".join(ast.unparse(node) for node in nodes)


def _bound(node: ast.stmt) -> set[str]:
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return set()
    return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
