"""No hostile program passes a test that it should fail, survives its verdict, or slows down the next one."""

import os
import socket
import subprocess
import sys

import pytest
from hostile_programs import BOMBS, CHEATS, LIARS, SEALED, SOCKETS
from processes import wait_until_gone

from tunelab.scoring.code.pool import Pool, Program
from tunelab.scoring.code.sandbox import Limits, Sandbox

TEST = "assert solve(7) == 49"
HONEST = Program("def solve(x):\n    return x * x", ["solve"], [TEST])


BUILTINS = "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.all = lambda x: True\ndef solve(x):\n    return 3"


@pytest.fixture(scope="module")
def pool(sandboxed):
    with Pool(ahead=2) as found:
        yield found


@pytest.fixture(scope="module")
def hurried(sandboxed):
    with Pool(Sandbox(limits=Limits(wall=2.0)), ahead=2) as found:
        yield found


def naive(source, test=TEST):
    """Run program and test in one process, as a runner does that believes its exit status."""
    run = "import sys; source = sys.argv[1]; exec(compile(source, 'x', 'exec'))"
    command = [sys.executable, "-S", "-c", run, f"{source}\n{test}"]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_an_honest_program_passes(pool):
    assert pool.verdict(HONEST).passed


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_that_takes_a_naive_runner_in_fails_here(pool, cheat):
    assert naive(CHEATS[cheat])
    verdict = pool.verdict(Program(CHEATS[cheat], ["solve"], [TEST]))
    assert (verdict.kind, bool(verdict.reason)) == ("failed", True)


@pytest.mark.parametrize("test", ["assert abs(solve(7) - 49) < 1", "assert all([solve(7) == 49])"])
def test_builtins_are_those_of_the_judge(pool, test):
    assert naive(BUILTINS, test)
    assert pool.verdict(Program(BUILTINS, ["solve"], [test])).kind == "failed"


@pytest.mark.parametrize("liar", LIARS)
def test_no_answer_but_the_right_one_passes(pool, liar):
    verdict = pool.verdict(Program(LIARS[liar], ["solve"], [TEST]))
    assert (verdict.kind, bool(verdict.reason)) == ("failed", True)
    assert pool.verdict(HONEST).passed


@pytest.mark.parametrize("test", ["assert all(map(solve, [1, 2]))", "assert list(map(solve, [7])) == []"])
def test_a_test_that_goes_through_answers_is_not_ended_by_one(pool, test):
    ends = Program(LIARS["raises the end of a sequence"], ["solve"], [test])
    assert pool.verdict(ends).kind == "failed"


@pytest.mark.parametrize("test", ["assert solve(7) != 48", "assert 49 in [solve(7)]", "assert [solve(7)] == [49]"])
def test_an_object_of_the_candidates_is_neither_equal_nor_different(pool, test):
    assert pool.verdict(Program(CHEATS["returns what equals everything"], ["solve"], [test])).kind == "failed"


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_bomb_outlasts_its_limits(pool, hurried, bomb):
    assert not hurried.verdict(Program(BOMBS[bomb], ["solve"], [TEST])).passed
    assert pool.verdict(HONEST).passed


def test_nobody_passes_by_ending_while_the_test_swallows_exceptions(pool):
    test = "try:\n    solve(7)\nexcept BaseException:\n    pass"
    for name in ("ends with success inside the call", "ends with success before the test runs"):
        assert pool.verdict(Program(CHEATS[name], ["solve"], [test])).kind == "failed"


@pytest.mark.parametrize("attempt", SEALED)
def test_the_sandbox_keeps_what_it_promises(pool, attempt):
    verdict = pool.verdict(Program(SEALED[attempt], ["found"], ["assert found() == []"]))
    assert verdict.passed, verdict


def test_no_socket_leads_out_not_even_to_this_machine(pool):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        verdict = pool.verdict(Program(SOCKETS, ["found"], [f"assert found({port}) == []"]))
    assert verdict.passed, verdict


def test_children_do_not_outlive_the_verdict(pool):
    marker = f"{1000 + os.getpid()}.25"
    orphan = f"""
import os, subprocess
def solve(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/usr/bin/sleep", ["sleep", "{marker}"])
        os._exit(0)
    subprocess.Popen(["/usr/bin/sleep", "{marker}"], start_new_session=True)
    return 49
"""
    assert pool.verdict(Program(orphan, ["solve"], [TEST])).passed
    wait_until_gone(marker)
