"""Become a child that cannot outlive its parent, then execute the given program.

The supervisor runs this file as a script: `python -I -S launcher.py PARENT_PID UID GID PROGRAM ARG…` (UID and GID -1:
keep the user). It is a program and not a hook after fork, because such hooks are unsafe in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    parent, uid, gid = (int(number) for number in argv[:3])
    program = argv[3:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, which resets it; it survives the exec below.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(125)
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.exit(f"{program[0]} cannot be executed: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
