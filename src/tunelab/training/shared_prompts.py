"""GRPO's training forward pass with every prompt computed once: its completions are branches that go on from it.

Loss, normaliser and metrics are TRL's; it is only told the same log-probabilities in another way. Completions whose
advantage is zero, as those of a group without differences are, move nothing when there is no divergence to hold: they
are scored, as the metrics want them, without a backward pass. TRL shuffles the completions of a step before it cuts
them into passes; the passes of a step are one sum, so completions of one prompt are brought together again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

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


Rows = dict[str, Any]
"""What TRL knows of the rows of a pass: values of every row, or one of all."""


def by_prompt(passes: Sequence[Rows]) -> list[Rows]:
    """Deal the rows of a step's passes anew, equal prompts one after another; passes stay as large as they were."""
    prompts = [
        tuple(ids[seen].tolist())
        for rows in passes
        for ids, seen in zip(rows["prompt_ids"], rows["prompt_mask"].bool(), strict=True)
    ]
    order = sorted(range(len(prompts)), key=lambda number: prompts.index(prompts[number]))
    return split_tensor_dict(
        {name: _in_order([rows[name] for rows in passes], order) for name in passes[0]}, len(passes)
    )


def _in_order(values: Sequence[Any], order: Sequence[int]) -> Any:
    """Return what all rows have of one kind in another order; what is one for all stays."""
    if isinstance(values[0], list):
        joined = [value for of_pass in values for value in of_pass]
        return [joined[number] for number in order]
    return values[0] if values[0] is None or values[0].ndim == 0 else torch.cat(list(values))[list(order)]


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
    _buffered_inputs: list[Rows] | None
    _still: torch.Tensor | None = None
    """Which rows of the batch move nothing, while its loss is computed."""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """Return the rows of the next pass, of those that TRL has drawn and shuffled for all passes of a step.

        A loss of means over the tokens of each pass (bnpo) goes by what stands together, and is left alone.
        """
        before = self._buffered_inputs
        rows = super()._prepare_inputs(generation_batch)
        made = self._buffered_inputs
        if made is None or made is before or len(made) == 1 or self.loss_type == "bnpo":
            return rows
        self._buffered_inputs = made = by_prompt(made)
        return made[self._step % len(made)]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        still = (inputs["advantages"] == 0) & (self.beta == 0)
        if bool(still.all()):  # a backward pass there must be, so the shortest completion has one
            still[inputs["completion_mask"].sum(1).argmin()] = False
        self._still = still
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
