"""The tree of a study's tasks: groups within groups, and what a group's name stands for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from tunelab.errors import StudyError, nearest

Tree = Mapping[str, Any]


def check_tree(tree: Tree) -> None:
    """Raise ValueError unless every node is a mapping of groups or a list of task names, each group and task once.

    A group may be called like a task: mathematics is both.
    """
    groups = [path[-1] for path, _ in nodes(tree)]
    tasks = [task for path, below in nodes(tree) if len(path) == 1 for task in below]
    for names in (groups, tasks):
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"got {name!r} twice, expected every group and task once")


Node = tuple[tuple[str, ...], tuple[str, ...]]
"""The names on the path to a node, and the tasks below it."""


def nodes(tree: Tree, above: tuple[str, ...] = ()) -> Iterator[Node]:
    """Yield every group, a group before the groups within it."""
    for name, below in tree.items():
        path = (*above, name)
        yield path, leaves(below)
        if isinstance(below, Mapping):
            yield from nodes(cast(Tree, below), path)


def places(tree: Tree) -> Iterator[Node]:
    """Yield every group and every task, each before what is below it; and first the root, where there are many."""
    if len(tree) > 1:
        yield (), leaves(tree)
    for path, tasks in nodes(tree):
        yield path, tasks
        below = tree
        for name in path:
            below = below[name]
        if not isinstance(below, Mapping):
            yield from (((*path, task), (task,)) for task in tasks)


def leaves(below: Any) -> tuple[str, ...]:
    """Return the tasks below a node, in the file's order."""
    if isinstance(below, Mapping):
        return tuple(task for part in cast(Tree, below).values() for task in leaves(part))
    if not isinstance(below, list | tuple) or not all(isinstance(task, str) for task in cast(Sequence[Any], below)):
        raise ValueError(f"got {below!r}, expected a list of task names, or groups of them by name")
    return tuple(cast(Sequence[str], below))


def leaf_weights(declared: Mapping[str, float], tasks: Sequence[str], tree: Tree, where: str) -> dict[str, float]:
    """Return each task's weight: its own, or an equal part of its group's.

    A name of both means the group, unless another task of the group has a weight of its own. Raises StudyError, naming
    the setting ``where``, for a weight of nothing, a task that has none, or a task that two weights speak of.
    """
    groups = {path[-1]: [task for task in below if task in tasks] for path, below in nodes(tree)}
    found: dict[str, float] = {}
    for name, weight in declared.items():
        members = _weighed(name, tasks, groups.get(name, []), declared)
        if not members:
            known = [*tasks, *groups]
            raise StudyError(
                f"{where}: got {name!r}, expected a task of {', '.join(tasks)} or a group of them{nearest(name, known)}"
            )
        for task in members:
            if task in found:
                raise StudyError(f"{where}: {task} has two weights, expected one; name it or its group")
            found[task] = weight / len(members)
    if missing := [task for task in tasks if task not in found]:
        raise StudyError(f"{where}: {missing[0]} has none; add it, or leave the task out")
    return found


def _weighed(name: str, tasks: Sequence[str], members: Sequence[str], declared: Collection[str]) -> Sequence[str]:
    """Return the tasks that a weight is of."""
    apart = any(member in declared for member in members if member != name)
    return [name] if name in tasks and (apart or not members) else members
