"""``tunelab reproduce`` over a study that is finished."""


def test_the_models_of_a_finished_study_give_its_scores_again_without_training(tunelab, finished, tmp_path):
    first = finished / "results" / "quickstart-smoke"
    (tmp_path / "adapters").mkdir()
    taken = sorted(path.name for path in (first / "models").iterdir())[:2]
    for name in taken:
        (tmp_path / "adapters" / name).symlink_to(first / "models" / name)
    result = tunelab("reproduce", "quickstart", "--smoke", "--adapters", "adapters")
    assert result.returncode == 0, result.stderr
    again = tmp_path / "results" / "quickstart-reproduced-smoke"
    evaluated = sorted(path.name for path in (again / "eval").iterdir() if not path.name.startswith("base"))
    assert evaluated == sorted(f"{name}_eval_{e}" for name in taken for e in ("chat", "raw"))
    for folder in evaluated:
        for file in ("scores.jsonl", "outputs.jsonl"):
            assert (again / "eval" / folder / file).read_bytes() == (first / "eval" / folder / file).read_bytes()
    assert not (tmp_path / ".tunelab" / "train").exists()
    [left_out] = [line for line in result.stderr.splitlines() if "left out" in line]
    assert all(name not in left_out for name in taken)
    assert f"{taken[0]} is adopted from {tmp_path}/adapters/{taken[0]}" in result.stderr


def test_a_study_without_weights_is_a_mistake(tunelab):
    result = tunelab("reproduce", "quickstart", "--smoke")
    assert result.returncode == 2
    assert "no weights are known of" in result.stderr
    assert result.stderr.count("\n") == 1
