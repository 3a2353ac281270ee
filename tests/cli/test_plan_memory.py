"""``tunelab plan`` tells memory beside its steps, at once and whatever there is."""

import json
import subprocess
import sys

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
"""A model of 70 billion parameters: no machine that tests run on has room to train it."""


def test_a_plan_has_memory_for_what_loads_a_model_and_for_nothing_else(tunelab):
    planned = json.loads(tunelab("plan", "quickstart", "hardware.device=cpu", "--json").stdout)
    assert planned["memory"]["device"] == "cpu"
    for step in planned["steps"]:
        assert (step["memory"] is not None) is (step["kind"] in ("train", "generate"))
        if step["memory"]:
            assert step["memory"]["bytes"] == sum(step["memory"]["parts"].values())
            assert step["memory"]["fits"] is (step["memory"]["bytes"] <= planned["memory"]["available"])


def test_what_does_not_fit_is_told_in_a_line_and_stops_nothing(tunelab, tmp_path):
    model = tmp_path / "large"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(CONFIG))
    result = tunelab("plan", "quickstart", "model=./large", "train=sft_chat", "hardware.device=cpu")
    assert result.returncode == 0
    printed = " ".join(result.stdout.split())
    assert "memory is an estimate, and stops nothing; cpu has" in printed
    assert "train/sft_chat would need about" in printed
    assert "no setting makes it fit, use a smaller model" in printed


def test_planning_on_a_cpu_imports_no_library_that_computes():
    code = "import sys; sys.argv = ['tunelab', 'plan', 'quickstart', 'hardware.device=cpu']\n"
    code += "from tunelab.cli import main\ntry:\n main()\nexcept SystemExit:\n pass\n"
    code += "print('heavy', {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert " memory " in result.stdout
    assert result.stdout.strip().endswith("heavy set()")
