"""Rollouts: the completions that GRPO learns from, what they earned, and the file that keeps it.

Draws are keyed by seed, step, sample and index, and the prompts of a step are a function of the seed and the step,
so a resumed run asks and draws what an undisturbed one would have. The engine that evaluates draws them, every prompt
read once for its group; where it cannot, transformers does.

A completion ends where its own task ends it, by stop string or budget, as in an evaluation of that task.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from tunelab.data.mixtures import TASK
from tunelab.data.sample import Sample
from tunelab.errors import StepError
from tunelab.files import append_lines, resume_lines, sync_file, write_lines
from tunelab.formats.renderer import Renderer
from tunelab.generation.batches import run_within
from tunelab.generation.decoding import Decoding, Request
from tunelab.generation.engine.answerers import why_plain
from tunelab.generation.engine.generator import PackedGenerator
from tunelab.generation.engine.model import shared_ids
from tunelab.generation.local import LocalGenerator
from tunelab.generation.vllm import Drawn, draw
from tunelab.scoring.judges.judge import Verdict
from tunelab.scoring.score import Outcome
from tunelab.tasks.mixed import own_task
from tunelab.tasks.scored import score_all
from tunelab.tasks.task import Task
from tunelab.training.groups import ROLLOUTS, SILENT, fewest_together, teaches
from tunelab.training.job import Job
from tunelab.training.judged import JudgedRewards
from tunelab.training.rewards import Completion, combined, components

if TYPE_CHECKING:
    from trl.trainer.grpo_trainer import GRPOTrainer

PATIENCE = 20
"""Steps without any difference within any group after which a run is given up: it cannot learn."""


@dataclass(frozen=True)
class Question:
    """A training sample with its rendered prompt."""

    sample: Sample
    text: str
    ids: list[int]


def questions(samples: Sequence[Sample], task: Task, renderer: Renderer) -> dict[str, Question]:
    """Render every prompt once, by sample id."""
    rendered = ((s, renderer.prompt(task.messages(s))) for s in samples)
    return {s.id: Question(s, prompt.text, prompt.ids) for s, prompt in rendered}


def _count_silences(group: dict[str, Any], verdicts: Mapping[str, Verdict]) -> None:
    """Count why judges said nothing of a completion, by judge and reason; nothing is written where all did."""
    for name, verdict in verdicts.items():
        if verdict.value is None:
            reasons = group.setdefault(SILENT, {}).setdefault(name, {})
            reasons[verdict.reason] = reasons.get(verdict.reason, 0) + 1


class Rollouts(TrainerCallback):
    """Makes completions for the trainer, scores them, and keeps a line a group."""

    def __init__(
        self,
        job: Job,
        asked: dict[str, Question],
        task: Task,
        renderer: Renderer,
        judges: JudgedRewards | None = None,
    ) -> None:
        self.questions = asked
        self.sampled: Any = None
        """The model that the latest completions were drawn from."""
        self.drawn_by: dict[str, str] | None = None
        """What draws them, for the facts of a record; None before it is known."""
        self._job = job
        self._task = task
        self._renderer = renderer
        self._judges = judges or JudgedRewards(task, job.recipe.grpo.rewards, {})
        self._path = job.directory / ROLLOUTS
        self._varied = False
        self._together = job.hardware.rollout_batch_size

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget rollouts after the checkpoint that training resumes from."""
        kept = [row for row in resume_lines(self._path) if row["step"] < state.global_step]
        self._varied = any(map(teaches, kept))
        self._together = fewest_together(kept, self._job.hardware.rollout_batch_size)
        write_lines(self._path, kept)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Bring the lines to the disk before the checkpoint that follows them counts as whole."""
        sync_file(self._path)

    def generate(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """Return prompt and completion ids for sample ids, each of which occurs once per completion wanted."""
        self.sampled = trainer.accelerator.unwrap_model(trainer.model)  # pyright: ignore[reportArgumentType]
        requests = self._requests(prompts)
        self.sampled.eval()
        generator = self._generator(requests, trainer.state.global_step)
        if self._job.hardware.rollouts == "vllm":
            drawn = draw(trainer.vllm_generation, requests, generator)
        else:
            drawn = Drawn(self._draw(requests, generator))
        self.sampled.train()
        outputs = [generator.output(request, ids) for request, ids in zip(requests, drawn.ids, strict=True)]
        return {
            "prompt_ids": [request.ids for request in requests],
            "completion_ids": [ids or [self._renderer.tokenizer.pad_token_id] for ids in drawn.ids],
            "logprobs": drawn.logprobs,
            "answer": [output.output for output in outputs],
            "made": [Completion(o.output, o.output_tokens, o.finish == "length") for o in outputs],
        }

    def reward(
        self, prompts: list[str], made: list[Completion], trainer_state: Any, **columns: Any
    ) -> list[float | None]:
        """Return what each completion earns; None where the task's scorer or a judge of its task could not say it."""
        declared = self._job.recipe.grpo.rewards
        samples = [self.questions[sample_id].sample for sample_id in prompts]
        tasks = [own_task(self._task, sample) for sample in samples]
        asked = self._judges.start(samples, [completion.text for completion in made])
        scores = score_all(self._task, samples, lambda i: tasks[i].score(samples[i], made[i].text))
        judged = asked.result()
        rewards: list[float | None] = []
        groups: dict[str, dict[str, Any]] = {}
        for i, sample in enumerate(samples):
            verdicts = {name: verdict.value for name, verdict in judged[i].items()}
            earned = components(tasks[i], scores[i], made[i], declared, self.budget(sample), verdicts)
            rewards.append(combined(earned, declared.weights()))
            group = groups.setdefault(sample.id, self._group(sample, earned))
            group["rewards"].append(rewards[-1])
            for name, value in earned.items():
                group["components"][name].append(value)
            group["clipped"] += int(made[i].clipped)
            group["no_answer"] += int(scores[i].outcome in (Outcome.NO_ANSWER, Outcome.UNSCORED))
            _count_silences(group, judged[i])
        self._keep(trainer_state.global_step, groups)
        self._judges.heard(judged)
        return rewards

    def budget(self, sample: Sample) -> int:
        """Return the most tokens that a completion of a prompt has."""
        return self._job.recipe.grpo.max_new_tokens or own_task(self._task, sample).max_new_tokens

    @property
    def longest(self) -> int:
        """The most tokens that a prompt and its completion have together."""
        return max(len(question.ids) + self.budget(question.sample) for question in self.questions.values())

    def _decoding(self, step: int) -> Decoding:
        grpo, budget = self._job.recipe.grpo, self._job.recipe.grpo.max_new_tokens or self._task.max_new_tokens
        return Decoding(budget, grpo.temperature, grpo.top_p, seed=self._job.seed * 1_000_003 + step)

    def _generator(self, requests: Sequence[Request], step: int) -> LocalGenerator:
        """Return what draws in a step: a new one each time, as weights change and the engine keeps a prefix's keys."""
        decoding = self._decoding(step)
        if self.drawn_by is None:
            self.drawn_by = self._drawer()
        if self.drawn_by["engine"] != "packed":
            return LocalGenerator(self.sampled, self._renderer, decoding)
        shared = shared_ids([request.ids for request in requests])
        return PackedGenerator(self.sampled, self._renderer, decoding, slots=self._together, shared=shared)

    def _drawer(self) -> dict[str, str]:
        if self._job.hardware.rollouts == "vllm":
            return {"engine": "vllm"}
        why = why_plain(self.sampled, self._job.hardware.generation)
        return {"engine": "plain", "why": why} if why else {"engine": "packed"}

    def _draw(self, requests: Sequence[Request], generator: LocalGenerator) -> list[list[int]]:
        """Return the new ids of all requests, fewer at a time from where they do not fit into memory."""
        before = self._together
        if isinstance(generator, PackedGenerator):
            drawn = generator.draw(requests)
            self._together = generator.slots
        else:
            drawn = self._draw_in_batches(requests, generator)
        if self._together < before:
            warnings.warn(
                f"grpo: out of memory; completions are now drawn {self._together} at a time instead of {before}, and "
                "may round otherwise",
                stacklevel=2,
            )
        return drawn

    def _draw_in_batches(self, requests: Sequence[Request], generator: LocalGenerator) -> list[list[int]]:
        drawn: list[list[int]] = []
        size = self._job.hardware.rollout_batch_size
        for start in range(0, len(requests), size):
            batch = requests[start : start + size]
            ids, self._together = run_within(batch, generator.draw, self._together)
            drawn += ids
        return drawn

    def _group(self, sample: Sample, names: Iterable[str]) -> dict[str, Any]:
        group: dict[str, Any] = {"rewards": [], "components": {name: [] for name in names}, "clipped": 0}
        fewer = self._together < self._job.hardware.rollout_batch_size
        of = {TASK: sample.metadata[TASK]} if TASK in sample.metadata else {}
        return {**of, **group, "no_answer": 0, **({"drawn_together": self._together} if fewer else {})}

    def _requests(self, prompts: Sequence[str]) -> list[Request]:
        drawn: dict[str, int] = {}
        requests: list[Request] = []
        for sample_id in prompts:
            question, index = self.questions[sample_id], drawn.get(sample_id, 0)
            drawn[sample_id] = index + 1
            stops, budget = own_task(self._task, question.sample).stop, self.budget(question.sample)
            requests.append(Request(sample_id, index, question.text, question.ids, stops=stops, budget=budget))
        return requests

    def _keep(self, step: int, groups: dict[str, dict[str, Any]]) -> None:
        """Append a line a group; give up when in ``PATIENCE`` steps no group has differed in what the task says."""
        append_lines(self._path, [{"step": step, "id": i, **group} for i, group in groups.items()])
        self._varied = self._varied or any(map(teaches, groups.values()))
        if not self._varied and step + 1 >= PATIENCE:
            raise StepError(
                f"grpo: in {PATIENCE} steps no group of {self._job.recipe.grpo.num_generations} completions differed "
                "in the task's reward: nothing can be learnt; raise temperature or num_generations, or use easier rows"
            )
