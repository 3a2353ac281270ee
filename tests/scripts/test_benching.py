"""What benchmarks share: gates, when a ratio is void, the schema, the tables and the page that they stand in."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench
import bench_table
import plot_performance
from benching import Case, Gate, Peer, Results, Took, fastest, take_turns
from flop import Sizes, causal

DOCS = Path(__file__).parents[2] / "docs"
EQUAL = Gate("losses", {"loss": 2e-6}, {"loss": 1e-5})
UNLIKE = Gate("losses", {"loss": 2e-5}, {"loss": 1e-5})


def pairs(*seconds):
    return [(Took(one, one), Took(other, other)) for one, other in seconds]


def added(ours, theirs, gate=EQUAL, quick=False, **peer):
    results = Results(quick)
    results.add(Case("B1", "full", "a step", gate, 3e9), Peer("TRL", "P1", **peer), ours, [Took(t, t) for t in theirs])
    return results


def document(results, **more):
    return bench.merged([json.loads(json.dumps(results, default=vars)) | {"machine": more}], results.quick)


def test_tunelab_runs_before_and_after_its_peers_whose_order_turns():
    ran = []

    def run(name):
        ran.append(name)
        return Took(1.0, 1.0)

    turns = take_turns(lambda: run("us"), {"a": lambda: run("a"), "b": lambda: run("b")}, 2)
    assert ran == ["us", "a", "b", "us", "us", "b", "a", "us"]
    assert len(turns.ours) == len(turns.peers["a"]) == len(turns.peers["b"]) == 2


def test_a_ratio_is_that_of_medians_with_the_range_of_the_rounds():
    [line] = added(pairs((1.0, 1.0), (1.0, 1.0), (1.05, 0.95)), [2.0, 3.0, 2.5]).lines
    assert line.ratio == pytest.approx([2.5, 2.0, 3.0])
    assert line.itself == pytest.approx(1.0)


@pytest.mark.parametrize(("after", "void"), [(0.92, ""), (0.88, "A/A 1.14")])
def test_more_than_a_tenth_against_itself_is_void(after, void):
    [line] = added(pairs((1.0, after)), [2.0]).lines
    assert line.void == void
    assert (line.ratio is None) is bool(void)


def test_a_run_that_stands_for_both_is_no_comparison_with_itself():
    once = Took(1.0, 1.0)
    [line] = added([(once, once)], [2.0]).lines
    assert line.ratio is None
    assert line.void == "A/A was not measured"


def test_unlike_results_have_no_ratio_and_fail_the_run():
    results = added(pairs((1.0, 1.0)), [2.0], UNLIKE)
    assert results.lines[0].ratio is None
    assert results.finish(None) == 1
    assert added(pairs((1.0, 1.0)), [2.0]).finish(None) == 0


def test_a_refused_case_is_told_and_fails_the_run():
    results = Results()
    results.refuse(Case("B1", "full", "a step", UNLIKE))
    assert results.missing == ["B1 full: results differ (loss 2.0e-05)"]
    assert results.finish(None) == 1


def test_results_are_written_with_the_machine(tmp_path):
    results = added(pairs((1.0, 1.0)), [2.0], target=1.5)
    results.finish(tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    [line] = found["lines"]
    assert line["gate"]["largest"] == {"loss": 2e-6}
    assert line["gate"]["passed"]
    assert line["theirs"]["cpu"] == [2.0, 2.0, 2.0]
    assert found["machine"]["versions"]["torch"]


def test_the_fastest_batch_is_found():
    best, took = fastest("peer", (1, 8), lambda size: Took(2.0 if size == 1 else 1.0, 5.0))
    assert best == 8
    assert took[1].cpu == 2.0


def test_flop_of_a_forward_pass_are_those_of_its_matrices():
    sizes = Sizes(hidden=4, inner=8, layers=2, vocabulary=10)
    projections = 4 * 4 * 4 + 3 * 4 * 8
    assert sizes.forward(tokens=3, scored=1, pairs=6) == 2 * 2 * projections * 3 + 2 * 4 * 10 + 4 * 4 * 2 * 6
    assert causal(3) == 6
    assert causal(2, before=5) == 5 + 1 + 5 + 2


def test_tables_say_what_was_met_missed_void_and_not_measured():
    found = document(added(pairs((1.0, 1.0)), [2.0], target=1.5), versions={"torch": "2"}, cores=2, threads=1)
    other = document(added(pairs((1.0, 0.8)), [2.0], target=2.5), versions={}, cores=2, threads=1)
    missed = document(added(pairs((1.0, 1.0)), [2.0], target=2.5), versions={}, cores=2, threads=1)
    assert "**2.00** | 1.5, met |" in bench_table.markdown(found)
    assert "**2.00** | 2.5, missed |" in bench_table.markdown(missed)
    text = bench_table.markdown(other | {"missing": ["B2: nothing"]})
    assert "| void: A/A 1.25 | 2.5, open |" in text
    assert "- B2: nothing" in text
    assert "Smallest sizes" not in text


def test_small_sizes_have_no_aim_and_say_so():
    results = added(pairs((1.0, 1.0)), [2.0], quick=True, target=1.5)
    text = bench_table.markdown(document(results, versions={}, cores=2, threads=1))
    assert results.lines[0].target is None
    assert text.startswith("Smallest sizes")


def test_tables_take_their_place_in_a_page_and_nothing_else_changes():
    page = f"before\n\n{bench_table.BEGIN}\n\nold\n\n{bench_table.END}\n\nafter\n"
    made = bench_table.put(page, "new")
    assert made == page.replace("old", "new")
    assert bench_table.between(made) == "new"
    with pytest.raises(ValueError, match=r"expected .* in the page"):
        bench_table.put("a page without a place", "new")


def test_lines_of_benchmarks_that_did_not_run_stay_if_they_are_of_this_machine(tmp_path):
    here = {"versions": {"torch": "2"}, "cores": 2, "threads": 1}
    old = document(added(pairs((1.0, 1.0)), [2.0]), **here)
    new = old | {"lines": [old["lines"][0] | {"bench": "B4"}]}
    path = tmp_path / "performance.json"
    path.write_text(json.dumps(old))
    assert [line["bench"] for line in bench.kept(path, new, {"B4"})["lines"]] == ["B1", "B4"]
    assert [line["bench"] for line in bench.kept(path, new, {"B1", "B4"})["lines"]] == ["B4"]
    elsewhere = new | {"machine": here | {"cores": 64}}
    assert [line["bench"] for line in bench.kept(path, elsewhere, {"B4"})["lines"]] == ["B4"]


def test_a_program_that_fails_is_told_with_its_last_line(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise SystemExit('no room')")
    monkeypatch.setattr(bench, "SCRIPTS", tmp_path)
    asked = bench.argparse.Namespace(quick=True, rounds=None)
    found, well = bench.run(bench.Script("broken.py", ("B1",), 1), asked, {"B1"})
    assert not well
    assert found["missing"] == ["B1: broken.py ended with exit code 1: no room"]
    found, well = bench.run(bench.Script("absent.py", ("B2",), 1), asked, {"B2"})
    assert not well
    assert found["missing"] == ["B2: there is no scripts/absent.py"]


def test_the_picture_shows_ratios_and_what_is_void(tmp_path):
    lines = [*added(pairs((1.0, 1.0)), [2.0], target=1.5).lines, *added(pairs((1.0, 0.5)), [2.0]).lines]
    found = document(Results(lines=lines), versions={}, cores=2, threads=1)
    plot_performance.draw(found, tmp_path / "images" / "performance.png")
    assert (tmp_path / "images" / "performance.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_what_was_measured():
    found = json.loads((DOCS / "performance.json").read_text())
    assert bench_table.between((DOCS / "performance.md").read_text()) == bench_table.markdown(found)
