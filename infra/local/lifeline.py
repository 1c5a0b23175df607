"""Runs a Python module that stops when the process that started it is gone.

``python infra/local/lifeline.py MODULE [ARGUMENT…]`` with a pipe as standard input: the parent never writes to the
pipe, and the operating system closes it however the parent ends, `kill -9` included. No process is left behind.
Only the standard library is used, since the emulator runs this with its own interpreter.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def _stop_with_parent() -> None:
    os.read(0, 1)  # returns when the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = os.getcwd()  # noqa: PTH109 - what `python -m` puts there
    threading.Thread(target=_stop_with_parent, name="lifeline", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
