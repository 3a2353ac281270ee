"""``tunelab schema``."""

from __future__ import annotations

import json

from tunelab.study.schema import study_schema


def command() -> None:
    """tunelab schema > study.schema.json; then, in a study: # yaml-language-server: $schema=study.schema.json"""
    print(json.dumps(study_schema(), indent=1))
