"""Training of classifiers, against plain PyTorch a row at a time and against itself after a kill."""

import dataclasses
import json
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from tunelab.data.sample import Sample
from tunelab.data.sources import BuiltinSource
from tunelab.errors import DataError, ModelError
from tunelab.formats.format import Format
from tunelab.formats.renderer import Renderer
from tunelab.generation.classify import Classifier
from tunelab.generation.decoding import ChoiceRequest
from tunelab.models.heads import ClassifierModel, load_classifier, new_heads
from tunelab.models.load import load_backbone, load_model, load_tokenizer
from tunelab.models.spec import resolve
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.classifier import classifier_rows, collate, loss, train_classifier
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Lora, Recipe

TASKS = {name: find_task(name) for name in ("sst2", "mnli", "arithmetic")}
HIDDEN = 96


class Killed(Exception):
    """What a kill looks like from inside."""


def samples():
    """Rows of two tasks with two and three classes, told apart by their metadata; those of sst2 are the main ones."""
    mixed = load_samples(TASKS["sst2"], "train", BuiltinSource("sst2"))
    for sample in load_samples(TASKS["mnli"], "train", BuiltinSource("mnli")):
        mixed.append(dataclasses.replace(sample, id=f"mnli-{sample.id}", metadata={"task": "mnli"}))
    return mixed


@dataclasses.dataclass(frozen=True)
class Bench:
    root: object
    renderer: Renderer

    def recipe(self, **settings):
        base = {"method": "sft", "head": "classifier", "adaptation": "full", "lr": 1e-3, "epochs": 1, "batch_size": 7}
        return Recipe(**base | {"schedule": "constant", "lora": Lora(rank=4, alpha=8, dropout=0.1)} | settings)

    def rows(self, **settings):
        return classifier_rows(samples(), TASKS, "sst2", self.renderer, self.recipe(**settings))

    def train(self, name, *, micro=7, seed=0, progress=lambda *_: None, checkpointing=False, **recipe):
        folder = self.root / name
        (folder / "scratch").mkdir(parents=True, exist_ok=True)
        hardware = Hardware("cpu", micro, checkpointing, ())
        job = Job(self.recipe(**recipe), "fp32", seed, hardware, folder, folder / "scratch", progress)
        backbone = load_backbone(resolve("tiny"), "cpu", "fp32")
        return train_classifier(job, self.rows(**recipe), backbone, self.renderer.pad_id)

    def load(self, name, adapter=False):
        return load_classifier(resolve("tiny"), "cpu", "fp32", self.root / name / "model", adapter)

    def metrics(self, name):
        return [json.loads(line) for line in (self.root / name / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, Renderer(load_tokenizer(resolve("tiny")), Format(template="chat")))


def plain(rows, heads, classes):
    """The mean cross entropy of the last token's logits, from the whole causal model, a row at a time."""
    model = load_model(resolve("tiny"), "cpu", "fp32")
    names = list(classes)
    losses = []
    for row in rows:
        hidden = model(torch.tensor([row["input_ids"]]), output_hidden_states=True).hidden_states[-1][0, -1]
        head = heads[names[row["task"]]]
        logits = head.weight @ hidden + head.bias
        losses.append(-torch.log_softmax(logits, dim=0)[row["labels"]])
    return model, sum(losses) / len(losses)


def test_loss_and_gradients_of_a_mixed_batch_equal_plain_pytorch(bench):
    rows = bench.rows()
    ours = ClassifierModel(
        load_backbone(resolve("tiny"), "cpu", "fp32"), new_heads(rows.classes, HIDDEN, 3), rows.classes
    )
    heads = new_heads(rows.classes, HIDDEN, 3)
    causal, expected = plain(rows.rows, heads, rows.classes)
    expected.backward()
    batch = collate(rows.rows, bench.renderer.pad_id)
    labels = batch.pop("labels")
    found = loss(ours(**batch), labels)
    found.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    oracle = {
        f"backbone.{n.removeprefix('model.')}": p.grad for n, p in causal.named_parameters() if "lm_head" not in n
    }
    oracle |= {f"heads.{n}": p.grad for n, p in heads.named_parameters()}
    gradients = {n: p.grad for n, p in ours.named_parameters()}
    assert gradients.keys() == oracle.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, oracle[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("micro", [7, 1])
def test_the_first_step_has_the_loss_and_the_gradient_of_its_rows(bench, micro):
    bench.train("one", micro=micro, batch_size=14)
    rows = bench.rows()
    heads = new_heads(rows.classes, HIDDEN, 0)
    model, expected = plain(rows.rows, heads, rows.classes)
    expected.backward()
    trained = [p.grad for p in (*model.parameters(), *heads.parameters()) if p.grad is not None]
    norm = torch.sqrt(sum((g**2).sum() for g in trained))
    [logged] = bench.metrics("one")
    assert logged["loss"] == pytest.approx(float(expected.detach()), rel=1e-4)
    assert logged["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_killed_and_resumed_equals_uninterrupted(bench, adaptation):
    def kill(done, total, unit):
        if done == 8:
            raise Killed

    recipe = {"adaptation": adaptation, "epochs": 5, "batch_size": 4, "schedule": "linear", "warmup": 0.2}
    whole = bench.train("whole", **recipe)
    with pytest.raises(Killed):
        bench.train("torn", progress=kill, **recipe)
    steps = []
    again = bench.train("torn", progress=lambda done, *_: steps.append(done), **recipe)
    assert (steps[0], again["steps"], whole["steps"]) == (6, 20, 20)
    lora = adaptation == "lora"
    one, other = bench.load("whole", lora).state_dict(), bench.load("torn", lora).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert again["final_loss"] == whole["final_loss"]
    assert [r["loss"] for r in bench.metrics("torn")] == [r["loss"] for r in bench.metrics("whole")]


def ask(bench, task, labels, n=None):
    """The training prompts of a task as requests."""
    found = [s for s in samples() if s.metadata.get("task", "sst2") == task][:n]
    prompts = [bench.renderer.prompt(TASKS[task].messages(s)) for s in found]
    return [ChoiceRequest(s.id, 0, p.text, p.ids, labels) for s, p in zip(found, prompts, strict=True)]


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_a_trained_classifier_answers_its_training_rows_by_the_head_of_their_task(bench, adaptation):
    bench.train("learn", adaptation=adaptation, lr=3e-3, epochs=60)
    model = bench.load("learn", adaptation == "lora")
    for task in ("sst2", "mnli"):
        asked = ask(bench, task, TASKS[task].choices(samples()[0]))
        together = Classifier(model, task, bench.renderer.pad_id).run(asked)
        alone = [Classifier(model, task, bench.renderer.pad_id).run([request])[0] for request in asked]
        golds = {s.id: s.targets[0] for s in samples()}
        assert [o.output for o in together] == [golds[o.id] for o in together]
        for one, other in zip(together, alone, strict=True):
            assert list(one.logprobs.values()) == pytest.approx(list(other.logprobs.values()), abs=1e-4)
            assert sum(map(math.exp, one.logprobs.values())) == pytest.approx(1, abs=1e-5)
            assert one.finish == "choice"


def test_an_adapter_is_saved_with_the_heads_and_without_the_backbone(bench):
    bench.train("lora", adaptation="lora", lr=1e-2, checkpoints=2)
    saved = {path.name for path in (bench.root / "lora" / "model").iterdir()}
    assert {"adapter_model.safetensors", "heads.safetensors", "heads.json"} <= saved
    assert "model.safetensors" not in saved
    base = load_backbone(resolve("tiny"), "cpu", "fp32").state_dict()
    model = bench.load("lora", adapter=True)
    kept = {n: w for n, w in model.backbone.get_base_model().state_dict().items() if "lora_" not in n}
    assert all(torch.equal(w, base[n.replace(".base_layer", "")]) for n, w in kept.items())
    new = new_heads(model.labels, HIDDEN, 0)
    assert not any(torch.equal(model.heads[task].weight, new[task].weight) for task in model.labels)
    for folder in (bench.root / "lora" / "checkpoints").iterdir():
        assert {"adapter_model.safetensors", "heads.safetensors"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_less_memory_in_training_changes_no_weight(bench, adaptation):
    for name, checkpointing in (("plain", False), ("thrifty", True)):
        bench.train(name, adaptation=adaptation, checkpointing=checkpointing)
    one, other = (bench.load(name, adaptation == "lora").state_dict() for name in ("plain", "thrifty"))
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], rtol=1e-4, atol=1e-6)


def test_equal_seeds_start_from_equal_heads_and_other_seeds_from_others(bench):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        bench.train(name, seed=seed)
    a, b, c = (bench.load(name).heads["mnli"].weight for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_task_without_a_head_and_other_labels_are_refused(bench):
    bench.train("small", max_steps=1)
    model = bench.load("small")
    with pytest.raises(ModelError, match="got the task 'qqp', expected one with a head: sst2, mnli"):
        Classifier(model, "qqp", 0)
    with pytest.raises(ModelError, match=r"got the labels \('positive', 'negative'\)"):
        Classifier(model, "sst2", 0).run(ask(bench, "sst2", ("positive", "negative"), 1))


def test_rows_that_have_no_class_are_refused(bench):
    recipe, odd = bench.recipe(), Sample("x", {"sentence": "fine"}, ("mixed",))
    with pytest.raises(DataError, match="task sst2, sample x: got the target 'mixed', expected one of negative, pos"):
        classifier_rows([odd], TASKS, "sst2", bench.renderer, recipe)
    with pytest.raises(DataError, match=r"task arithmetic.*has no choices"):
        classifier_rows(
            load_samples(TASKS["arithmetic"], "train", None)[:1], TASKS, "arithmetic", bench.renderer, recipe
        )


def test_the_receipt_counts_rows_and_names_the_classes(bench):
    rows = bench.rows()
    assert rows.receipt["classes"] == {
        "sst2": ["negative", "positive"],
        "mnli": ["entailment", "neutral", "contradiction"],
    }
    assert rows.receipt["rows"] == 14
    assert rows.receipt["tokens"] == sum(len(row["input_ids"]) for row in rows.rows)
    assert rows.preview.endswith("⟦positive⟧")
    with pytest.raises(DataError, match="are longer than max_length = 60"):
        bench.rows(max_length=60)


def test_labels_a_task_does_not_have_take_no_part_in_its_softmax(bench):
    rows = bench.rows()
    model = ClassifierModel(
        load_backbone(resolve("tiny"), "cpu", "fp32"), new_heads(rows.classes, HIDDEN, 0), rows.classes
    )
    batch = collate(rows.rows, bench.renderer.pad_id)
    logits = model(**{k: v for k, v in batch.items() if k != "labels"})["logits"].detach()
    of_two = batch["task"] == list(rows.classes).index("sst2")
    assert torch.isneginf(logits[of_two, 2]).all()
    assert torch.isfinite(logits[~of_two]).all()
    whole = cross_entropy(logits[of_two], batch["labels"][of_two])
    assert float(whole) == pytest.approx(float(cross_entropy(logits[of_two, :2], batch["labels"][of_two])))
