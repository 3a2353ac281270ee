"""YAML as studies and overrides are written: keys are words, each written once.

YAML 1.1 reads the word ``on`` as true and keeps the last of two equal keys. Both would change a study silently.
"""

from __future__ import annotations

from typing import Any

import yaml

BOOLEAN, TEXT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str"
MERGE = "tag:yaml.org,2002:merge"


def parse(text: str) -> Any:
    """Return the plain data that a YAML text holds. Raises yaml.YAMLError, also for a key that is written twice."""
    return yaml.load(text, Loader=_Loader)


class _Loader(yaml.SafeLoader):
    """Takes keys by their letters and refuses a repeated one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        written = [key for key, _ in node.value if key.tag != MERGE]
        for key in written:
            if key.tag == BOOLEAN:
                key.tag = TEXT
        keys = [self.construct_object(key, deep=deep) for key in written]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is written twice", node.start_mark
                )
        return super().construct_mapping(node, deep)
