"""Training of an encoder-decoder model, against plain PyTorch and against itself after a kill."""

import dataclasses
import json

import pytest
import torch

from tunelab.errors import DataError, StudyError
from tunelab.formats.format import Format
from tunelab.models.four_bit import FourBit
from tunelab.models.kind import decoder_start
from tunelab.models.load import load_model, load_renderer
from tunelab.models.spec import resolve
from tunelab.study.kinds import refuse_unlike
from tunelab.tasks.find import find_task
from tunelab.tasks.samples import load_samples
from tunelab.training.job import Hardware, Job
from tunelab.training.recipe import Lora, Recipe
from tunelab.training.rows import IGNORED, paired_rows
from tunelab.training.seq2seq import collate, train_seq2seq

TASK = find_task("arithmetic")


class Killed(Exception):
    """What a kill looks like from inside."""


def kill_at(step):
    def progress(done, total, unit):
        if done == step:
            raise Killed

    return progress


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TUNELAB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def renderer():
    return load_renderer(resolve("tiny-t5"), Format(template="raw"))


def rows(renderer, n=16, max_length=512, max_too_long=0.0):
    return paired_rows(load_samples(TASK, "train", None)[:n], TASK, renderer, max_length, max_too_long)


def without_dropout():
    model = load_model(resolve("tiny-t5"), "cpu", "fp32")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


def train(folder, renderer, *, n=16, micro=4, progress=lambda *_: None, model=None, **recipe):
    settings = {
        "method": "seq2seq",
        "adaptation": "full",
        "lr": 1e-3,
        "epochs": 1,
        "batch_size": 4,
        "schedule": "constant",
        "lora": Lora(rank=4, alpha=8, dropout=0.1),
        **recipe,
    }
    job = Job(Recipe(**settings), "fp32", 0, Hardware("cpu", micro, False, ()), folder, folder / "scratch", progress)
    job.scratch.mkdir(parents=True, exist_ok=True)
    model = model or load_model(resolve("tiny-t5"), "cpu", "fp32")
    return train_seq2seq(job, rows(renderer, n), model, renderer.tokenizer)


def trained(folder, adapter=False):
    """The weights as they are loaded to answer."""
    ref = resolve("tiny-t5")
    if adapter:
        return dict(load_model(ref, "cpu", "fp32", folder / "model").named_parameters())
    return dict(load_model(dataclasses.replace(ref, location=str(folder / "model")), "cpu", "fp32").named_parameters())


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("micro", [8, 2])
def test_an_optimiser_step_equals_plain_pytorch_on_the_rendered_ids(tmp_path, renderer, micro):
    train(tmp_path, renderer, n=8, micro=micro, batch_size=8, model=without_dropout())
    model, made = without_dropout(), rows(renderer, 8).rows
    learnt = sum(len(row["labels"]) for row in made)
    total = 0.0
    for row in made:  # alone, so unpadded; transformers shifts the labels itself and takes their mean
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        loss = model(input_ids=ids, labels=labels).loss * len(row["labels"]) / learnt
        loss.backward()
        total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0).step()
    [logged] = metrics(tmp_path)
    assert (logged["loss"], logged["grad_norm"]) == (pytest.approx(total, rel=1e-4), pytest.approx(norm, rel=1e-3))
    found, compared = trained(tmp_path), 0
    for name, weight in model.named_parameters():
        clear = gradients[name].abs() > 1e-5  # Adam's first step is the gradient's sign: noise where there is none
        compared += int(clear.sum())
        assert torch.allclose(found[name][clear], weight[clear], atol=1e-6)
    assert compared > 100_000


def test_labels_beyond_a_target_are_ignored_and_the_decoder_reads_it_behind_its_start(renderer):
    made = rows(renderer, 8).rows
    batch = collate(
        made, pad=renderer.pad_id, start=decoder_start(load_model(resolve("tiny-t5"), "cpu", "fp32").config)
    )
    assert len({len(row["labels"]) for row in made}) > 1
    for i, row in enumerate(made):
        target = len(row["labels"])
        assert batch["labels"][i, :target].tolist() == row["labels"]
        assert set(batch["labels"][i, target:].tolist()) <= {IGNORED}
        assert batch["decoder_input_ids"][i, :target].tolist() == [0, *row["labels"][:-1]]
        assert batch["attention_mask"][i].sum() == len(row["input_ids"])
        assert batch["input_ids"][i, : len(row["input_ids"])].tolist() == row["input_ids"]


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, renderer, adaptation):
    recipe = {"adaptation": adaptation, "epochs": 3, "schedule": "linear", "warmup": 0.2}
    whole = train(tmp_path / "whole", renderer, **recipe)
    with pytest.raises(Killed):
        train(tmp_path / "torn", renderer, progress=kill_at(8), **recipe)
    steps = []
    again = train(tmp_path / "torn", renderer, progress=lambda done, *_: steps.append(done), **recipe)
    assert steps == list(range(7, 13))
    assert whole["steps"] == again["steps"] == 12
    one, other = (trained(tmp_path / name, adaptation == "lora") for name in ("whole", "torn"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics(tmp_path / "whole")[-1]["loss"] == metrics(tmp_path / "torn")[-1]["loss"]


def test_an_adapter_is_saved_alone_and_goes_onto_encoder_and_decoder(tmp_path, renderer):
    train(tmp_path, renderer, adaptation="lora", lr=1e-2)
    assert json.loads((tmp_path / "model" / "adapter_config.json").read_text())["task_type"] == "SEQ_2_SEQ_LM"
    moved = {name for name, w in trained(tmp_path, True).items() if "lora_B" in name and float(w.abs().max()) > 0}
    assert any(".encoder." in name for name in moved)
    assert any(".EncDecAttention." in name for name in moved)
    assert not any(name.startswith("model") for name in (p.name for p in (tmp_path / "model").iterdir()))


def test_qlora_learns_over_4_bit_weights_and_is_loaded_over_the_same(tmp_path, renderer):
    four_bit = FourBit("nf4", True, "fp32")
    model = load_model(resolve("tiny-t5"), "cpu", "fp32", four_bit=four_bit)
    train(tmp_path, renderer, adaptation="qlora", model=model, n=8, epochs=12, lr=1e-2, lora=Lora(rank=8, alpha=16))
    losses = [row["loss"] for row in metrics(tmp_path)]
    assert losses[-1] < 0.9 * losses[0]
    again = load_model(resolve("tiny-t5"), "cpu", "fp32", tmp_path / "model", four_bit)
    ids = {"input_ids": torch.arange(5, 65)[None], "decoder_input_ids": torch.arange(5, 15)[None]}
    with torch.inference_mode():
        one, other = (found.eval()(**ids).logits for found in (model, again))
    assert float((one - other).abs().max()) < 1e-4


def test_training_lowers_the_loss_on_its_rows(tmp_path, renderer):
    train(tmp_path, renderer, n=8, epochs=30, lr=3e-3)
    losses = [row["loss"] for row in metrics(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]


def test_rows_with_a_side_that_is_too_long_are_counted_or_refused(renderer):
    whole = rows(renderer, 16)
    lengths = [max(len(row["input_ids"]), len(row["labels"])) for row in whole.rows]
    limit = sorted(lengths)[8]
    kept = [row for row, length in zip(whole.rows, lengths, strict=True) if length <= limit]
    cut = rows(renderer, 16, limit, 1.0)
    assert cut.rows == kept
    assert (cut.receipt["rows"], cut.receipt["too_long"]) == (len(kept), 16 - len(kept))
    assert cut.receipt["supervised_tokens"] == sum(len(row["labels"]) for row in kept)
    assert cut.receipt["tokens"] == sum(len(row["labels"]) + len(row["input_ids"]) for row in kept)
    with pytest.raises(
        DataError, match=f"are longer than max_length = {limit} tokens, .*set max_length to {max(lengths)}"
    ):
        rows(renderer, 16, limit, 0.1)


def test_the_preview_marks_the_target(renderer):
    made = rows(renderer, 1)
    assert made.preview.endswith(f"</s>⟦{renderer.tokenizer.decode(made.rows[0]['labels'])}⟧")


@pytest.mark.parametrize(
    ("method", "kind", "expected"),
    [("grpo", "encoder-decoder", "seq2seq"), ("seq2seq", "causal", "sft or grpo or dpo")],
)
def test_a_method_for_the_other_kind_of_model_is_refused(method, kind, expected):
    with pytest.raises(
        StudyError, match=f"^train.a.method: got '{method}' for m, .* {kind} model, expected {expected}$"
    ):
        refuse_unlike("train.a.method", method, "m", kind)
