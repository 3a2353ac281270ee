"""The loops written by hand reach what the trainers reach, and a step of ours has the gradients of plain PyTorch."""

import runpy
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from tunelab import Evaluate, Format, Study, Train, run
from tunelab.formats.renderer import Renderer
from tunelab.models.load import load_model, load_tokenizer
from tunelab.models.spec import resolve
from tunelab.stats import wilson
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Recipe
from tunelab.training.rows import IGNORED, supervised_rows
from tunelab.training.sft import train_sft

EXAMPLES = Path(__file__).parents[2] / "examples"
METHODS = ("sft", "grpo")
TEST_ROWS = 200


@pytest.fixture(scope="module")
def by_hand():
    """What each example's ``main`` returns: accuracy before and after."""
    return {name: runpy.run_path(str(EXAMPLES / f"{name}_by_hand.py"))["main"]() for name in METHODS}


@pytest.fixture(scope="module")
def by_trainer(tmp_path_factory):
    """Accuracies of the same trainings in a study, and of the base."""
    root = tmp_path_factory.mktemp("trainers")
    recipe = {"adaptation": "full", "epochs": 1, "batch_size": 16, "format": "chat"}
    study = Study(
        study="by-hand",
        question="Do the trainers reach what the loops by hand reach?",
        model="tiny",
        task="arithmetic",
        formats={"chat": Format(template="chat")},
        train={
            "sft": Train(method="sft", loss="completion", lr=1e-4, rows=320, **recipe),
            "grpo": Train(method="grpo", lr=3e-5, rows=480, **recipe),
        },
        evaluate={"chat": Evaluate(format="chat", rows=TEST_ROWS)},
    )
    compared = run(study, store=root / "store", results=root / "results")
    return {cell["variant"]: cell["metrics"]["numeric"]["value"] for cell in compared["cells"]}


@pytest.mark.parametrize("method", METHODS)
def test_a_loop_by_hand_lifts_accuracy_beyond_chance(by_hand, method):
    before, after = (wilson(round(TEST_ROWS * accuracy), TEST_ROWS) for accuracy in by_hand[method])
    assert after.low > before.high, "intervals that do not meet: that of the difference excludes 0"


@pytest.mark.parametrize("method", METHODS)
def test_a_loop_by_hand_reaches_what_the_trainer_reaches(by_hand, by_trainer, method):
    before, after = by_hand[method]
    assert before == by_trainer["base"]
    assert after == pytest.approx(by_trainer[method], abs=0.1)


@pytest.mark.parametrize("micro", [8, 2])
@pytest.mark.parametrize("loss", ["all", "completion"])
def test_one_step_of_sft_has_the_loss_and_gradients_of_plain_pytorch(tmp_path, loss, micro):
    task, tokenizer = find_task("arithmetic"), load_tokenizer(resolve("tiny"))
    samples = load_samples(task, "train", None)[:8]
    renderer = Renderer(tokenizer, Format(template="chat"))
    rows = supervised_rows(samples, task, renderer, loss, max_length=512, max_too_long=0.0)
    facts, found = one_step(tmp_path, rows, tokenizer, loss, micro)
    wanted_loss, wanted = plain_step(rows.rows)
    assert facts["final_loss"] == pytest.approx(wanted_loss, rel=1e-4)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        # Sums in another order: entries far smaller than a tensor's largest carry its rounding.
        atol = 1e-5 * float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=atol, msg=name)


def one_step(folder, rows, tokenizer, loss, micro):
    """Train for one step of all rows; return its facts and the gradients before clipping, by parameter."""
    recipe = Recipe(method="sft", adaptation="full", loss=loss, lr=1e-4, epochs=1, batch_size=len(rows.rows))
    hardware = Hardware("cpu", micro, False, ())
    job = Job(recipe, "fp32", 0, hardware, folder, folder / "scratch", lambda *_: None)
    job.scratch.mkdir()
    model = load_model(resolve("tiny"), "cpu", "fp32")
    gradients = {}
    for name, weight in model.named_parameters():
        # Runs after every backward pass: the last one leaves the accumulated gradient.
        weight.register_post_accumulate_grad_hook(lambda w, name=name: gradients.update({name: w.grad.clone()}))
    return train_sft(job, rows, model, tokenizer), gradients


def plain_step(rows):
    """Return the mean loss per supervised token and its gradients, a row at a time, without padding."""
    model = load_model(resolve("tiny"), "cpu", "fp32")
    total = torch.zeros(())
    count = sum(label != IGNORED for row in rows for label in row["labels"][1:])
    for row in rows:
        logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
        total = total + cross_entropy(logits, torch.tensor(row["labels"][1:]), ignore_index=IGNORED, reduction="sum")
    (total / count).backward()
    return float(total.detach()) / count, {name: weight.grad for name, weight in model.named_parameters()}
