"""The processes that compare answers start, answer, end and are replaced, and every comparison has one verdict."""

import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import wait_until

from tunelab.scoring.latex import pool as pools
from tunelab.scoring.latex.pool import WORKERS, ComparisonError, Limits, Pool, shared
from tunelab.scoring.latex.scored import solution_score
from tunelab.scoring.score import Outcome

ENDLESS = "9^{9^{9^{9}}}"
FROM_A_WORKER = "from tunelab.scoring.latex.worker import serve; serve(settings)"


@pytest.fixture(scope="module")
def pool():
    with Pool() as found:
        yield found


@pytest.mark.parametrize("limits", [Limits(cpu=1, wall=1e4), Limits(cpu=60, wall=0.5)], ids=["processor", "clock"])
def test_a_comparison_that_does_not_end_is_a_timeout_and_its_process_is_gone(limits):
    with Pool(limits) as pool:
        assert pool.verdict("5", "5.0") == "equal"
        first = worker_of(pool)
        assert pool.verdict("5", ENDLESS) == "timeout"
        assert not there(first)
        assert pool.verdict("5", "5.0") == "equal"
        assert worker_of(pool) != first


def worker_of(pool):
    """The process that waits for the next comparison."""
    [worker] = pool._idle
    return worker.process.pid


def there(pid):
    """Whether a process is there, be it as a zombie."""
    return Path(f"/proc/{pid}").exists()


def at_work(pid):
    """Whether a process runs: one that is dead has no command line."""
    path = Path(f"/proc/{pid}/cmdline")
    return path.exists() and bool(path.read_bytes())


def test_one_process_makes_many_comparisons_and_has_no_limit_of_time_while_it_waits(pool):
    assert pool.verdict("5", "6") == "different"
    first = worker_of(pool)
    assert [pool.verdict(str(n), f"{n}.0") for n in range(40)] == ["equal"] * 40
    assert worker_of(pool) == first
    assert resource.prlimit(first, resource.RLIMIT_CPU) == resource.getrlimit(resource.RLIMIT_CPU)
    assert resource.prlimit(first, resource.RLIMIT_AS)[0] == Limits().memory


def test_memory_is_bounded():
    with Pool(Limits(memory=200 * 2**20, cpu=60, wall=60)) as pool:
        assert pool.verdict("5", "2^{4000000000}") == "different"
        assert pool.verdict("5", "5.0") == "equal"


def test_a_process_that_has_grown_is_not_asked_again():
    with Pool(Limits(kept=1)) as pool:
        assert [pool.verdict("5", "5.0"), pool.verdict("5", "6")] == ["equal", "different"]
        assert not pool._idle


def test_a_process_that_was_killed_while_it_waited_loses_nothing(pool):
    pool.verdict("5", "5.0")
    os.kill(worker_of(pool), signal.SIGKILL)
    assert pool.verdict("5", "5.0") == "equal"


def test_a_process_that_is_killed_at_work_is_replaced_once():
    with Pool(Limits(cpu=1)) as pool:
        pool.verdict("5", "5.0")
        threading.Timer(0.3, os.kill, (worker_of(pool), signal.SIGKILL)).start()
        assert pool.verdict("5", ENDLESS) == "timeout"  # the second process came to its limit
        assert pool.verdict("5", "5.0") == "equal"


@pytest.mark.parametrize(
    ("start", "why"),
    [
        ("sys.exit(1)", "it did not start"),
        ("sys.modules['math_verify'] = None; " + FROM_A_WORKER, "ModuleNotFoundError: import of math_verify"),
        (
            "import os, tunelab.scoring.latex.worker as w; w._answer = lambda *_: os._exit(3); w.serve(settings)",
            "it ended with status 3",
        ),
    ],
)
def test_what_nobody_could_compare_is_unscored_and_says_why(monkeypatch, start, why):
    monkeypatch.setattr(pools, "BOOT", pools.BOOT.replace(FROM_A_WORKER, start))
    with Pool() as pool:
        with pytest.raises(ComparisonError, match=f"math-verify's process: .*{why}.*, 2 times"):
            pool.verdict("5", "5.0")
        monkeypatch.setattr("tunelab.scoring.latex.scored.shared", lambda: pool)
        score = solution_score([r"\boxed{5}"], r"\boxed{5.0}")
    assert (score.outcome, score.values, score.answer) == (Outcome.UNSCORED, {}, "5.0")
    assert why in score.explanation
    assert solution_score([r"\boxed{5}"], r"\boxed{5}").outcome is Outcome.CORRECT  # needs no process


def test_several_threads_share_a_pool_and_no_verdict_goes_astray():
    pairs = [(str(n), f"{n % 7}.0") for n in range(60)]
    with Pool() as pool, ThreadPoolExecutor(2 * WORKERS) as threads:
        found = list(threads.map(lambda pair: pool.verdict(*pair), pairs))
        assert found == ["equal" if n == n % 7 else "different" for n in range(60)]
        assert 1 < len(pool._idle) <= WORKERS


def test_an_interrupted_comparison_leaves_no_verdict_for_the_next_one():
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    main = threading.main_thread().ident
    try:
        with Pool() as pool:
            pool.verdict("5", "5.0")
            threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGUSR1)).start()
            with pytest.raises(KeyboardInterrupt):
                pool.verdict("5", "(x+y+z)^{300}")
            assert [pool.verdict("5", "5.0"), pool.verdict("5", "6")] == ["equal", "different"]
    finally:
        signal.signal(signal.SIGUSR1, before)


SCRIPT = """
import atexit, os, sys, threading, time
atexit.register(lambda: print("at the end", os.path.exists(f"/proc/{{worker}}")))
from tunelab.scoring.latex.pool import Limits, Pool, shared
pool = shared()
assert pool.verdict("5", "5.0") == "equal"
worker = pool._idle[-1].process.pid
{rest}
"""
ENDINGS = {
    "while it waits": "print(worker, flush=True)\ntime.sleep(60)",
    "at work": (
        "pool = Pool(Limits(cpu=1))\npool.verdict('5', '6')\nworker = pool._idle[-1].process.pid\n"
        f"threading.Timer(0.2, print, (worker,), dict(flush=True)).start()\npool.verdict('5', '{ENDLESS}')"
    ),
    "while a fork of ours has the other end": (
        "child = os.fork()\nif child: print(worker, child, flush=True)\nelse: os.close(1)\ntime.sleep(60)"
    ),
}


@pytest.mark.parametrize("when", ENDINGS)
def test_a_process_of_ours_that_is_killed_leaves_no_worker(when):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(rest=ENDINGS[when])], stdout=subprocess.PIPE, text=True
    ) as run:
        worker, *children = map(int, run.stdout.readline().split())
        assert at_work(worker)
        run.kill()
    wait_until(lambda: not at_work(worker))
    for child in children:
        os.kill(child, signal.SIGKILL)


def ran(rest):
    """What a process of ours prints; at its end its worker is gone, which is seen after all else has been undone."""
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(rest=rest)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    said, _, end = done.stdout.rpartition("at the end ")
    assert end.strip() == "False"
    return said.split()


def test_workers_end_with_their_process_and_leave_no_zombie():
    assert ran("print('done')") == ["done"]
    pool = Pool()
    pool.verdict("5", "5.0")
    pid = worker_of(pool)
    pool.close()
    assert not there(pid)


def test_a_fork_has_workers_of_its_own_and_ends_without_those_of_its_parent():
    found = ran(
        "sys.stdout.flush()\n"
        "if os.fork() == 0:\n"
        "    assert shared() is not pool and shared().verdict('5', '6') == 'different'\n"
        "    assert shared()._idle[-1].process.pid != worker\n"
        "    sys.stdout = open(os.devnull, 'w')\n"
        "    sys.exit()\n"
        "assert os.wait()[1] == 0\n"
        "print(pool.verdict('5', '5.0'), pool._idle[-1].process.pid == worker)"
    )
    assert found == ["equal", "True"]


def test_a_large_process_with_torch_and_threads_has_small_workers_that_last():
    found = ran(
        "import torch\n"
        "large = bytearray(os.urandom(1) * (400 * 2**20))\n"
        "threading.Thread(target=time.sleep, args=(1,)).start()\n"
        "torch.ones(200, 200) @ torch.ones(200, 200)\n"
        "with Pool() as fresh:\n"
        "    fresh.verdict('5', '5.0')\n"
        "    first = fresh._idle[-1].process.pid\n"
        "    maps = [open(f'/proc/{pid}/maps').read() for pid in ('self', first)]\n"
        "    print(fresh.verdict('5', '5.0'), fresh._idle[-1].process.pid == first)\n"
        "print(*('libtorch' in names for names in maps))"
    )
    assert found == ["equal", "True", "True", "False"]


def test_a_process_has_one_shared_pool():
    assert shared() is shared()
