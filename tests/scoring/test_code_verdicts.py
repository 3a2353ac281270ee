"""A verdict says what happened, is the same every time, and comes from a sandbox that is used once."""

import os
import subprocess
import sys
import threading

import pytest
from processes import wait_until_gone, wait_until_there

from tunelab.errors import StepError
from tunelab.scoring.code import sandbox as sandboxes
from tunelab.scoring.code.candidate import decode, encode
from tunelab.scoring.code.pool import Pool, Program, SandboxError, shared
from tunelab.scoring.code.sandbox import Limits, Sandbox, refusal


@pytest.fixture(scope="module")
def pool(sandboxed):
    with Pool(ahead=2) as found:
        yield found


def judged(pool, source, *tests, names=("f",), setup=""):
    return pool.verdict(Program(source, names, tests, setup))


VALUES = {
    "nothing": "None",
    "truth": "[True, False]",
    "numbers": "[0, -1, 2**70, 10**5000, 0.1, -0.0, 1e308, 2j]",
    "infinity": "[float('inf'), -float('inf')]",
    "texts": "['', 'ä\\n', '\\ud800', chr(0)]",
    "bytes": "[b'', bytes(range(256)), bytearray(b'x')]",
    "nests": "[(), ((1,), [2, (3,)]), {1, 2}, frozenset({(1, 2)}), {}, {(1, 'a'): [{'b': {3}}]}]",
    "types": "[int, str, dict]",
}


@pytest.mark.parametrize("kind", VALUES)
def test_plain_data_crosses_the_border_both_ways_with_its_types(pool, kind):
    value = VALUES[kind]
    same = f"assert f({value}) == {value} and repr(f({value})) == repr({value})" if kind != "numbers" else ""
    assert judged(pool, "def f(x):\n    return x", same or f"assert f({value}) == {value}").passed
    assert judged(pool, f"def f():\n    return {value}", f"assert f() == {value}").passed
    assert judged(pool, f"def f():\n    return {value}", f"assert f() == [{value}]").kind == "failed"


def test_encode_and_decode_are_inverse_and_subclasses_become_their_base():
    class Sly(int):
        __eq__ = lambda self, other: True  # noqa: E731
        __hash__ = int.__hash__

    kept = []
    found = decode(encode([Sly(3), (Sly(4),)], kept.append), kept.__getitem__)
    assert found == [3, (4,)]
    assert {type(found[0]), type(found[1][0])} == {int}


@pytest.mark.parametrize(
    ("source", "test", "kind", "reason"),
    [
        ("def f(x): return x + 1", "assert f(1) == 2", "passed", ""),
        ("def f(x): return x + 2", "assert f(1) == 2", "failed", "test 1 of 1: assert f(1) == 2; last answer: 3"),
        ("def f(x): return 1 / 0", "assert f(1) == 2", "failed", "test 1 of 1: the program raised ZeroDivisionError"),
        ("def f(x): raise SystemExit", "assert f(1) == 2", "failed", "test 1 of 1: the program raised SystemExit"),
        ("def g(x): return 2", "assert f(1) == 2", "failed", "names: the program raised NameError"),
        ("def f(x: return 2", "assert f(1) == 2", "failed", "program: the program raised SyntaxError"),
        (
            "import numpy\ndef f(x): return 2",
            "assert f(1) == 2",
            "failed",
            "program: the program raised ModuleNotFound",
        ),
        ("def f(x): return [x]", "assert f(1) + 1 == 2", "failed", "test 1 of 1: assert f(1) + 1 == 2; TypeError"),
        ("import os\ndef f(x): os._exit(3)", "assert f(1)", "failed", "test 1 of 1: the program ended its process"),
        ("def f(x):\n    while True: pass", "assert f(1)", "timeout", "test 1 of 1: the processor time ran out"),
        (
            "def f(x): return 2",
            "assert f(len) == 2",
            "failed",
            "test 1 of 1: assert f(len) == 2; TypeError: the test hands",
        ),
    ],
)
def test_a_verdict_says_which_test_failed_and_how(pool, source, test, kind, reason):
    verdict = judged(pool, source, test)
    assert verdict.kind == kind
    assert f"{verdict.stage}: {verdict.reason}".startswith(reason or ": ")


def test_the_first_failing_test_is_the_one_that_is_told(pool):
    verdict = judged(pool, "def f(x): return x", "assert f(1) == 1", "assert f(2) == 3", "assert f(3) == 4")
    assert verdict.stage == "test 2 of 3"


def test_objects_of_the_program_can_be_built_called_and_handed_back(pool):
    pair = "class Pair:\n    def __init__(self, a, b=0): self.a, self.b = a, b"
    source = f"{pair}\ndef total(pairs): return sum(p.a + p.b for p in pairs)"
    test = "assert total([Pair(1, b=2), Pair(3)]) == 6"
    assert judged(pool, source, test, names=["Pair", "total"]).passed
    assert judged(pool, "def f(n): return (i for i in range(n))", "assert list(f(3)) == [0, 1, 2]").passed


def test_an_object_is_as_true_as_its_program_says_and_nothing_else_is_truth(pool):
    search = "import re\ndef f(text): return re.search('ab', text)"
    assert judged(pool, search, "assert f('cab')", "assert not f('cb')").passed
    assert judged(pool, search, "assert f('cb')").kind == "failed"
    odd = "class Odd:\n    __bool__ = lambda self: 'yes'\ndef f(): return Odd()"
    assert judged(pool, odd, "assert f()").kind == "failed"


def test_setup_is_the_tests_own_and_the_program_cannot_reach_it(pool):
    setup = "KNOWN = [1]\ndef double(x):\n    return 2 * x"
    assert judged(pool, "def f(x): return x + x", "assert f(4) == double(4)", setup=setup).passed
    stolen = judged(pool, "def f(x): return double(x)", "assert f(4) == double(4)", setup=setup)
    assert "NameError" in stolen.reason
    patched = "def double(x): return 0\ndef f(x): return 0"
    assert judged(pool, patched, "assert f(4) == double(4)", setup=setup).kind == "failed"
    assert judged(pool, "Node = int", "assert True", names=[], setup="root = Node(1)").stage == "setup"


def test_a_program_that_prints_and_asks_is_judged_by_its_answers(pool):
    assert judged(pool, "print('hello')\ndef f(x):\n    print(x)\n    return x", "assert f(1) == 1").passed
    assert judged(pool, "if __name__ == '__main__':\n    input()\ndef f(x): return x", "assert f(1) == 1").passed


def test_two_programs_never_share_a_sandbox(pool):
    source = "import os\ndef f():\n    seen = os.listdir('/tmp')\n    open('/tmp/left', 'w').close()\n    return seen"
    for _ in range(8):
        assert judged(pool, source, "assert f() == []").passed


def test_the_same_program_gets_the_same_verdict_and_reason(pool):
    program = "def f(x): return [*map(str, {'a', 'b', 'c', 'd'})]"
    tests = "import random\nassert f(random.random()) == random.random()"
    assert len({judged(pool, program, tests) for _ in range(6)}) == 1


def test_a_test_that_does_not_end_is_ended(sandboxed):
    with Pool(Sandbox(limits=Limits(wall=1.0)), ahead=1) as pool:
        verdict = judged(pool, "def f(x): return x", "while True: pass")
        assert (verdict.kind, verdict.stage) == ("timeout", "tests")
        assert judged(pool, "def f(x): return x", "assert f(1) == 1").passed


def test_several_threads_share_a_pool(pool):
    found = []
    run = lambda n: found.append(judged(pool, f"def f(): return {n}", f"assert f() == {n}").passed)  # noqa: E731
    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12


def test_judges_that_were_killed_are_started_again(sandboxed):
    with Pool(ahead=1) as pool:
        os.kill(pool._judges.pid, 9)
        pool._judges.wait()
        assert judged(pool, "def f(x): return x", "assert f(1) == 1").passed


def test_a_sandbox_that_does_not_start_is_no_verdict(monkeypatch, sandboxed):
    monkeypatch.setattr(Sandbox, "command", lambda self: ["/bin/false"])
    with Pool(ahead=1) as pool, pytest.raises(SandboxError, match="did not start"):
        judged(pool, "def f(x): return x", "assert f(1) == 1")


@pytest.mark.parametrize("choice", ["bubblewrap", "none"])
def test_a_killed_process_leaves_no_program_behind(sandboxed, tmp_path, choice):
    marker = f"{2000 + os.getpid()}.5"
    sleeper = f"import os\nos.execv('/usr/bin/sleep', ['sleep', '{marker}'])"
    script = tmp_path / "run.py"
    script.write_text(
        "from tunelab.scoring.code.pool import Pool, Program\nfrom tunelab.scoring.code.sandbox import Sandbox\n"
        f"Pool(Sandbox({choice!r})).verdict(Program({sleeper!r}, [], ['assert True']))\n"
    )
    with subprocess.Popen([sys.executable, str(script)]) as run:
        wait_until_there(marker)
        run.kill()
    wait_until_gone(marker)


def test_without_a_sandbox_the_same_verdicts_are_made():
    with Pool(Sandbox("none"), ahead=1) as pool:
        assert judged(pool, "def f(x): return x", "assert f(1) == 1").passed
        assert judged(pool, "import os\nos._exit(0)", "assert f(1) == 1").kind == "failed"
        assert judged(pool, "def f(x):\n    while True: pass", "assert f(1) == 1").kind == "timeout"


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without bubblewrap."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sandboxes, "_refusal", sandboxes._refusal.__wrapped__)


def test_a_machine_without_bubblewrap_is_refused_in_one_line_that_says_what_to_do(bare):
    why = refusal("bubblewrap")
    assert "bwrap" in why
    assert "apt-get install bubblewrap" in why
    assert "sandbox: none" in why
    assert "\n" not in why
    with pytest.raises(StepError, match="bwrap"):
        Pool()
    assert refusal("none") is None


def test_a_bubblewrap_that_does_not_keep_its_promise_is_refused(monkeypatch, tmp_path):
    (tmp_path / "bwrap").write_text('#!/bin/sh\nwhile [ "$1" != /usr/bin/python3 ]; do shift; done\nexec "$@"\n')
    (tmp_path / "bwrap").chmod(0o755)
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "does not work here" in sandboxes._refusal.__wrapped__()


def test_a_process_has_one_shared_pool():
    assert shared("none") is shared("none")
