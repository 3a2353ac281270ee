"""One training of the scripts that a study replaces: TRL's trainer, tuned, on rows that are token ids already.

python train.py JOB.json

Nothing of tunelab is imported. Activations are not checkpointed, nothing is saved before the end, and the rows of a
forward pass are as many as were found to be fastest.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer


class Losses(TrainerCallback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.seen += [logs["loss"]] if "loss" in logs else []


def main() -> None:
    """Train what the job says; write the model, or its adapter, and ``losses.json``."""
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text())
    recipe, out, micro = job["recipe"], Path(job["out"]), job["micro"]
    rows = datasets.Dataset.from_list(json.loads(Path(job["rows"]).read_text()))
    model: Any = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    steps = math.ceil(math.ceil(len(rows) / recipe["batch_size"]) * recipe["epochs"])
    set_seed(recipe["seed"])
    if recipe["rank"]:
        model = get_peft_model(
            model,
            LoraConfig(
                r=recipe["rank"], lora_alpha=recipe["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        )
    losses = Losses()
    SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(out),
            seed=recipe["seed"],
            data_seed=recipe["seed"],
            learning_rate=recipe["lr"],
            num_train_epochs=recipe["epochs"],
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=recipe["batch_size"] // micro,
            lr_scheduler_type="linear",
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_steps=steps,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            activation_checkpointing=False,
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            report_to="none",
            max_length=None,
            dataloader_pin_memory=False,
        ),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        callbacks=[losses],
    ).train()
    model.save_pretrained(out)
    (out / "losses.json").write_text(json.dumps(losses.seen))


if __name__ == "__main__":
    main()
