"""`kill -9` at each moment that matters: a function in a process that ends just before its n-th file operation."""

import os
import signal
import sys

OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def killed(at, function, *arguments):
    """Call a function in a process that is killed before the file operation number `at` that it makes; whether it was.

    Operations are those that write, rename or remove.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event, told):
            nonlocal count
            if event in OPERATIONS or (event == "open" and told[2] & WRITES):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            function(*arguments)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
