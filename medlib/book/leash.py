"""A Python program as a child that ends with its parent, however that ends: a killed parent cannot end it itself.

The child reads from a pipe whose other end its parent alone has, and leaves as soon as that is closed.
"""

import os
import subprocess
import sys

_LEASHED = """
import os, runpy, sys, threading

def leave():
    os.read(0, 1)
    os._exit(1)

threading.Thread(target=leave, daemon=True).start()
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def run(module, *arguments, **options):
    """`python -m module arguments` on a leash, with options of `subprocess.run`: what that returns, outputs as text.

    >>> run("sphinx", "-W", "-b", "html", "source", "target").returncode
    0
    """
    command = [sys.executable, "-c", _LEASHED, module, *map(str, arguments)]
    end, hold = os.pipe()
    try:
        return subprocess.run(command, stdin=end, capture_output=True, text=True, **options)
    finally:
        os.close(end)
        os.close(hold)
