"""The base that stays loaded: adapters of one base follow each other without its being read anew.

One base is kept at most, the last that was asked for here. Whatever else is loaded gives its memory back first, so a
process never holds more models than it did without it. An adapter is taken off before the base is used again, which
restores it bit for bit where it is plain LoRA; after any other adapter the base is loaded anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunelab.models.memory import give_back, trim


@dataclass
class Resident:
    """A base, by all that decides what it is, and what was last put onto it."""

    key: str | None = None
    base: Any = None
    adapted: Any = None

    def take(self, key: str, load: Callable[[], Any]) -> Any:
        """Return the base of a key without an adapter: the one that is kept, or a new one in its place."""
        if self.key != key or not self._bare():
            self.release()
            self.base, self.key = load(), key
        return self.base

    def release(self) -> None:
        """Give the memory back."""
        if self.key is None:
            return
        held = [weakref.ref(model) for model in (self.base, self.adapted) if model is not None]
        self.key = self.base = self.adapted = None
        if any(model() is not None for model in held):
            give_back()
        else:
            trim()

    def _bare(self) -> bool:
        """Take the adapter off, and say whether the base is as it was loaded."""
        adapted, self.adapted = self.adapted, None
        if adapted is None:
            return True
        if not all(_is_plain(config) for config in adapted.peft_config.values()):
            return False
        adapted.unload()
        return True


def _is_plain(config: Any) -> bool:
    """Say whether an adapter leaves the weights of its base alone: LoRA, begun without decomposing them."""
    return str(config.peft_type.value) == "LORA" and isinstance(config.init_lora_weights, bool)


resident = Resident()
"""The base of this process."""
