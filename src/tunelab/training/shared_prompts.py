"""GRPO's training forward pass with every prompt computed once: its completions are branches that go on from it.

Loss, normaliser and metrics are TRL's; it is only told the same log-probabilities in another way. Completions whose
advantage is zero, as those of a group without differences are, move nothing when there is no divergence to hold: they
are scored, as the metrics want them, without a backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from tunelab.models.packed_attention import packed_attention
from tunelab.training.packing import EXACT, ROUNDED, mean_loss, padded_loss, unpackable
from tunelab.training.rows import IGNORED


@dataclass(frozen=True)
class Tree:
    """Completions behind their prompts, end to end in one row; ``places`` predict ``targets``, one after another."""

    ids: list[int]
    positions: list[int]
    branches: list[tuple[int, list[int]]]
    places: list[int]
    targets: list[int]

    def inputs(self, device: Any) -> dict[str, Any]:
        """Return what a model reads of it, under packed attention."""
        ids, positions = (torch.tensor([values], device=device) for values in (self.ids, self.positions))
        return {"input_ids": ids, "position_ids": positions, "branches": self.branches, "use_cache": False}


def grow(rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Tree:
    """Lay out pairs of prompt and completion ids; equal prompts are laid once."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, (prompt, _) in enumerate(rows):
        groups.setdefault(tuple(prompt), []).append(number)
    ids: list[int] = []
    positions: list[int] = []
    places: dict[int, list[int]] = {}
    for prompt, members in groups.items():
        last = len(ids) + len(prompt) - 1
        ids += prompt
        positions += range(len(prompt))
        for number in members:
            completion = rows[number][1]
            places[number] = [last, *range(len(ids), len(ids) + len(completion))][: len(completion)]
            ids += completion
            positions += range(len(prompt), len(prompt) + len(completion))
    return Tree(
        ids,
        positions,
        [(len(prompt), [len(rows[n][1]) for n in members]) for prompt, members in groups.items()],
        [place for number in range(len(rows)) for place in places[number]],
        [token for _, completion in rows for token in completion],
    )


def unsharable(model: Any, prompts: Sequence[Sequence[int]], exact: bool) -> str | None:
    """Return why completions are to be padded for a causal model, or None where a tree says the same of them."""
    longest, shortest = max(prompts, key=len), min(prompts, key=len)
    pairs = [(longest, longest[:9]), (shortest, longest[:4]), (longest, longest[-5:])]
    rows = [{"input_ids": [*p, *c], "labels": [*[IGNORED] * len(p), *c]} for p, c in pairs]
    if reason := unpackable(model, rows, exact):
        return reason
    tree = grow(pairs)
    with torch.no_grad(), packed_attention(model):
        hidden = model.base_model(**tree.inputs(model.device)).last_hidden_state
    places, targets = (torch.tensor(values, device=model.device) for values in (tree.places, tree.targets))
    ours = mean_loss(model, hidden[:, [*places, 0]], torch.cat([targets.new_tensor([IGNORED]), targets])[None])
    with torch.no_grad():
        theirs = padded_loss(model, rows)
    if not abs(ours - theirs) <= (EXACT if exact else ROUNDED):
        return f"completions have a loss of {ours:.6f} behind a shared prompt, of {theirs:.6f} padded"
    return None


class SharedPromptTrainer(GRPOTrainer):
    """Scores completions on trees, with the model that ``add_scored_places`` was applied to."""

    policy: Any
    """The model without its adapter's wrapper, whose attention is switched."""
    _still: torch.Tensor | None = None
    """Which rows of the batch move nothing, while its loss is computed."""

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        still = inputs["advantages"] == 0
        self._still = still if self.beta == 0 and not bool(still.all()) else torch.zeros_like(still)
        found = super()._compute_loss(model, inputs)
        self._still = None
        return found

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, **settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return log-probabilities and entropies of completions, (rows, logits_to_keep), zero beside them."""
        if self._still is None:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, **settings
            )
        kept = attention_mask[:, -logits_to_keep:].bool()
        log_probs = input_ids.new_zeros(kept.shape, dtype=torch.float32)
        entropies = torch.zeros_like(log_probs)
        for chosen, learning in ((self._still, False), (~self._still, True)):
            if bool(chosen.any()):
                rows = _rows(input_ids[chosen], attention_mask[chosen], logits_to_keep)
                with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
                    found = self._scored(model, grow(rows))
                where = kept & chosen[:, None]
                log_probs = log_probs.masked_scatter(where, found["log_probs"])
                entropies = entropies.masked_scatter(where, found["entropy"].detach())
        return log_probs, entropies, None

    def _scored(self, model: Any, tree: Tree) -> Mapping[str, torch.Tensor]:
        device = self.accelerator.device
        with packed_attention(self.policy), self.accelerator.autocast():
            return model(
                **tree.inputs(device),
                places=torch.tensor(tree.places, device=device),
                targets=torch.tensor(tree.targets, device=device),
            )


def _rows(ids: torch.Tensor, mask: torch.Tensor, completion: int) -> list[tuple[list[int], list[int]]]:
    """Take the padding off prompts and completions."""
    return [
        (row[:-completion][seen[:-completion]].tolist(), row[-completion:][seen[-completion:]].tolist())
        for row, seen in zip(ids, mask.bool(), strict=True)
    ]
