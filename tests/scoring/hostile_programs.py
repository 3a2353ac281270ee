"""Programs that do not solve the task and want to pass, or to do harm. Each says why a naive runner is taken in.

All are asked for ``solve(7)``, which should be 49; none computes it.
"""

CHEATS = {
    "ends with success before the test runs": "import os\nos._exit(0)",
    "leaves with success before the test runs": "import sys\nsys.exit(0)",
    "ends with success inside the call": "import os\ndef solve(x):\n    os._exit(0)",
    "returns what equals everything": """
class Same:
    def __eq__(self, other):
        return True
def solve(x):
    return Same()
""",
    "returns a number that equals everything": """
class Same(int):
    __eq__ = lambda self, other: True
    __hash__ = int.__hash__
def solve(x):
    return Same(3)
""",
    "makes the failure of an assertion a success": """
import os, sys
sys.excepthook = lambda *failure: os._exit(0)
def solve(x):
    return None
""",
    "ends with success at exit": """
import atexit, os
atexit.register(os._exit, 0)
def solve(x):
    return None
""",
    "has a signal end the process with success": """
import os, signal
signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
signal.setitimer(signal.ITIMER_REAL, 0.05)
def solve(x):
    while True:
        pass
""",
    "replaces the exception that an assertion raises": """
import builtins, os
class Passed(BaseException):
    def __init__(self, *words):
        os._exit(0)
builtins.AssertionError = Passed
def solve(x):
    raise AssertionError
""",
    "reads the expected value in the caller's constants": """
import sys
def solve(x):
    numbers = [found for found in sys._getframe(1).f_code.co_consts if isinstance(found, int)]
    return max(numbers, default=None)
""",
    "reads the expected value in the frames above": """
import ast, sys
def solve(x):
    frame = sys._getframe()
    while frame is not None:
        for name, value in frame.f_globals.items():
            if isinstance(value, str) and "assert solve" in value:
                return ast.literal_eval(value.rpartition("==")[2].strip())
        frame = frame.f_back
""",
    "reads the expected value off its own command line": """
import ast
def solve(x):
    line = open("/proc/self/cmdline").read().strip(chr(0))
    return ast.literal_eval(line.rpartition("==")[2].strip())
""",
    "reads the expected value from the memory of its process": """
import ast, gc
def solve(x):
    for found in gc.get_objects():
        if isinstance(found, dict):
            for value in list(found.values()):
                if isinstance(value, str) and "assert solve" in value:
                    return ast.literal_eval(value.rpartition("==")[2].strip())
""",
}
"""Programs that pass where test and candidate share a process and its exit status is the verdict."""

LIARS = {
    "writes a verdict where answers go": """
import json, os, struct
def solve(x):
    body = json.dumps({"kind": "passed", "stage": "", "reason": ""}).encode()
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, struct.pack(">I", len(body)) + body)
        except OSError:
            pass
""",
    "answers twice, with and without a value": """
import json, os, struct
def solve(x):
    for reply in ({"value": 1, "raised": 2}, {}, [], None, {"passed": True}):
        body = json.dumps(reply).encode()
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, struct.pack(">I", len(body)) + body)
            except OSError:
                pass
""",
    "announces more bytes than there are": """
import os
def solve(x):
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, bytes([255] * 4))
        except OSError:
            pass
""",
    "answers with a nest as deep as a message is long": """
import os, struct
def solve(x):
    body = b"[" * 1000000
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, struct.pack(">I", len(body)) + body)
        except OSError:
            pass
""",
    "answers with a set of what cannot be in one": """
import sys
def solve(x):
    sys.modules["__main__"].encode = lambda value, remote: {"set": [[1], {"dict": []}]}
""",
    "answers with an object that does not exist": """
import sys
def solve(x):
    sys.modules["__main__"].encode = lambda value, remote: {"remote": 10**9}
""",
    "answers with a function": "def solve(x):\n    return solve",
    "answers with a number of a million digits": "def solve(x):\n    return 1 << 4000000",
    "answers with an endless sequence": """
def solve(x):
    while True:
        yield 49
""",
    "raises the end of a sequence": "def solve(x):\n    raise StopIteration",
    "raises what fails to say what it is": """
class Silent(Exception):
    def __str__(self):
        raise Silent
def solve(x):
    raise Silent
""",
    "ends every process that it can reach": "import os, signal\nos.kill(-1, signal.SIGKILL)\ndef solve(x): return 0",
    "ends its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\ndef solve(x): return 0",
    "is no program": "def solve(x:",
    "defines another name": "def resolve(x):\n    return 49",
    "waits for somebody to type": "def solve(x):\n    return int(input())",
}

BOMBS = {
    "runs forever": "def solve(x):\n    while True:\n        pass",
    "runs forever and does not hear that its time is over": """
import signal
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
def solve(x):
    while True:
        pass
""",
    "recurses until the stack ends": """
import sys
sys.setrecursionlimit(10**9)
def solve(x):
    return solve(x) + 1
""",
    "sleeps": "import time\ndef solve(x):\n    time.sleep(1000)",
    "forks without end": """
import os
def solve(x):
    while True:
        try:
            os.fork()
        except OSError:
            pass
""",
    "starts threads without end": """
import threading, time
def solve(x):
    while True:
        threading.Thread(target=time.sleep, args=(1000,)).start()
""",
    "takes all memory": "def solve(x):\n    kept = []\n    while True:\n        kept.append(bytearray(2**24))",
    "prints without end": "def solve(x):\n    while True:\n        print('x' * 100000)",
    "answers without end": """
import os
def solve(x):
    while True:
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, b"x" * 65536)
            except OSError:
                pass
""",
    "fills its folder": """
import os
def solve(x):
    for number in range(100000):
        with open(f"/tmp/{number}", "wb") as file:
            file.write(b"x" * 2**20)
""",
    "leaves a child that holds its way to answer": """
import os, time
def solve(x):
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(1000)
""",
}

SEALED = {
    "reads files of the machine": """
import os
def found():
    paths = ["/etc/passwd", "/etc/hostname", "/root", "/home", "/work", "/var", "/sys", "/proc/1/root/etc/passwd"]
    return [path for path in paths if os.path.exists(path)]
""",
    "reads the environment": """
import os
def found():
    listed = open("/proc/self/environ").read().split(chr(0))
    names = {*os.environ, *(entry.partition("=")[0] for entry in listed)}
    return sorted(names - {"", "PWD", "LC_CTYPE", "PYTHONHASHSEED"})
""",
    "sees other processes": """
import os
def found():
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
""",
    "writes outside its folder": """
import os
def found():
    written = []
    for folder in ("/", "/usr", "/usr/lib", "/dev", "/dev/shm", "/proc", "/proc/self", "/proc/sys/kernel"):
        try:
            open(folder + "/written", "w").close()
            written.append(folder)
        except OSError:
            pass
    return written
""",
    "writes outside through symbolic links": """
import os
def found():
    written = []
    for number, target in enumerate(("/usr/lib", "/", "/proc/1/root/usr", "/proc/self/root", "../../usr")):
        os.symlink(target, f"/tmp/link{number}")
        try:
            open(f"/tmp/link{number}/written", "w").close()
            written.append(target)
        except OSError:
            pass
    return written
""",
    "undoes what keeps it in": """
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
def found():
    done = []
    if libc.unshare(0x10000000) == 0:
        done.append("a user namespace")
    if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0:
        done.append("a mount")
    if libc.mount(None, b"/usr", None, 0x1020, None) == 0:
        done.append("a writable /usr")
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        try:
            resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            done.append(f"limit {limit}")
        except (OSError, ValueError):
            pass
    try:
        os.setuid(0)
        done.append("root")
    except OSError:
        pass
    return done
""",
    "writes a large file": """
def found():
    try:
        with open("/tmp/large", "wb") as file:
            for _ in range(64):
                file.write(b"x" * 2**20)
                file.flush()
        return ["a large file"]
    except OSError:
        return []
""",
}
"""Programs whose ``found()`` names what they could do: nothing, in a sandbox that keeps what it promises."""

SOCKETS = """
import socket
def found(port):
    reached = []
    for address in (("127.0.0.1", port), ("1.1.1.1", 53), ("8.8.8.8", 443)):
        try:
            socket.create_connection(address, 1).close()
            reached.append(address[0])
        except OSError:
            pass
    return reached
"""
