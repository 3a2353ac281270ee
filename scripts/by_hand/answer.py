"""One evaluation of the scripts that a study replaces: a model answers prompts, by lm-eval or by ``generate``.

python answer.py JOB.json

Nothing of tunelab is imported. An adapter is merged into its base. ``with: lm-eval`` hands the prompts to lm-eval's
model class, without its tasks; ``with: plain`` generates from padded batches, and scores choices one pass a batch.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Answer what the job asks; write a row an answer."""
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text())
    rows = json.loads(Path(job["rows"]).read_text())
    tokenizer = AutoTokenizer.from_pretrained(job["model"], padding_side="left")
    answer = {"lm-eval": lm_eval, "plain": plain}[job["with"]]
    with torch.inference_mode():
        found = answer(load(job), tokenizer, rows, job)
    Path(job["out"]).write_text(json.dumps([{"id": r["id"], **f} for r, f in zip(rows, found, strict=True)]))


def load(job: dict[str, Any]) -> Any:
    """Load the trained model: its own weights, or the base with the adapter merged into it."""
    adapter = Path(job["trained"], "adapter_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(job["model"] if adapter else job["trained"], dtype=torch.float32)
    if not adapter:
        return model.eval()
    from peft import PeftModel

    return PeftModel.from_pretrained(model, job["trained"]).merge_and_unload().eval()


def best(values: dict[str, float]) -> dict[str, Any]:
    """Return the likeliest label, with what it was chosen by."""
    return {"output": max(values, key=values.__getitem__), "logprobs": values}


def lm_eval(model: Any, tokenizer: Any, rows: list[dict[str, Any]], job: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer by lm-eval's model class."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=job["batch"], max_length=2048)
    if job["how"] == "choose":
        asked = [
            ((row["id"], label), encode(tokenizer, row["prompt"]), encode(tokenizer, text))
            for row in rows
            for label, text in row["labels"].items()
        ]
        values = iter(value for value, _ in lm._loglikelihood_tokens(asked, disable_tqdm=True))
        return [best({label: next(values) for label in row["labels"]}) for row in rows]
    kwargs = {"until": [], "max_gen_toks": job["budget"], "do_sample": False}
    asked = [Instance("generate_until", {}, (row["prompt"], kwargs), i) for i, row in enumerate(rows)]
    return [{"output": text.strip()} for text in lm.generate_until(asked, disable_tqdm=True)]


def plain(model: Any, tokenizer: Any, rows: list[dict[str, Any]], job: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer in padded batches, longest prompts first."""
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["prompt"]))
    answer, found = choose if job["how"] == "choose" else write, dict[int, dict[str, Any]]()
    for start in range(0, len(order), job["batch"]):
        batch = order[start : start + job["batch"]]
        found |= zip(batch, answer(model, tokenizer, [rows[i] for i in batch], job), strict=True)
    return [found[i] for i in range(len(rows))]


def write(model: Any, tokenizer: Any, rows: list[dict[str, Any]], job: dict[str, Any]) -> list[dict[str, Any]]:
    """Generate greedily."""
    batch = tokenizer([row["prompt"] for row in rows], add_special_tokens=False, padding=True, return_tensors="pt")
    made = model.generate(**batch, max_new_tokens=job["budget"], do_sample=False)[:, batch["input_ids"].shape[1] :]
    return [{"output": text.strip()} for text in tokenizer.batch_decode(made, skip_special_tokens=True)]


def choose(model: Any, tokenizer: Any, rows: list[dict[str, Any]], job: dict[str, Any]) -> list[dict[str, Any]]:
    """Add up the log-probabilities of each label's tokens; where each label is one token, one pass is enough."""
    labels = [{name: encode(tokenizer, text) for name, text in row["labels"].items()} for row in rows]
    prompts = [encode(tokenizer, row["prompt"]) for row in rows]
    if all(len(ids) == 1 for each in labels for ids in each.values()):
        ends = logprobs(model, tokenizer, prompts, 1)[:, -1]
        return [best({k: float(e[i[0]]) for k, i in each.items()}) for e, each in zip(ends, labels, strict=True)]
    flat = [(p + ids, ids) for p, each in zip(prompts, labels, strict=True) for ids in each.values()]
    values = []
    for start in range(0, len(flat), len(rows)):
        part = flat[start : start + len(rows)]
        found = logprobs(model, tokenizer, [ids for ids, _ in part], 1 + max(len(label) for _, label in part))
        values += [
            float(row[-len(label) - 1 : -1].gather(1, torch.tensor(label)[:, None]).sum())
            for row, (_, label) in zip(found, part, strict=True)
        ]
    each_value = iter(values)
    return [best({name: next(each_value) for name in each}) for each in labels]


def logprobs(model: Any, tokenizer: Any, ids: list[list[int]], last: int) -> torch.Tensor:
    """Return log-probabilities after the last tokens of each row, (rows, last, vocabulary); rows are padded left."""
    batch = tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
    places = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    return model(**batch, position_ids=places, logits_to_keep=last).logits.log_softmax(-1)


def encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


if __name__ == "__main__":
    main()
