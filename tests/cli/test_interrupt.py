"""An interrupt is heard once, wherever it arrives."""

import subprocess
import sys

import pytest

BEGIN = """
import os, signal, time, weakref
from tunelab.cli.interrupt import hear_interrupts
hear_interrupts()
def ask(*_): os.kill(os.getpid(), signal.{asked})
class Dropping:
    def __del__(self): ask()
class Plain: pass
def in_a_destructor(): Dropping()
class Failing:
    def __del__(self):
        try:
            ask()
            time.sleep(1)
        finally:
            1 / 0
def in_a_destructor_that_fails(): Failing()
def in_a_callback():
    held = Plain()
    watched = weakref.ref(held, ask)
    del held
"""
END = """
try:
    {where}()
    time.sleep(20)
    print("never heard")
except KeyboardInterrupt:
    ask()  # the terminal's, after the supervisor's
    time.sleep(0.2)
    print("tidied up")
"""


@pytest.mark.parametrize("asked", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("where", ["ask", "in_a_destructor", "in_a_destructor_that_fails", "in_a_callback"])
def test_an_interrupt_is_heard_once_wherever_it_arrives(where, asked):
    script = BEGIN.format(asked=asked) + END.format(where=where)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == ("tidied up\n", "", 0)


def test_who_asks_again_later_is_heard_again():
    script = (
        BEGIN.format(asked="SIGINT")
        + """
from tunelab.cli import interrupt
interrupt.SAME_SECONDS = 0.3
for _ in range(2):
    try:
        ask()
        time.sleep(20)
    except KeyboardInterrupt:
        print("heard")
    time.sleep(0.4)
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("heard\nheard\n", "")


def test_other_errors_that_python_drops_are_still_told():
    script = BEGIN.format(asked="SIGINT") + "Plain.__del__ = lambda self: 1 / 0\nPlain()\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert "ZeroDivisionError" in done.stderr
