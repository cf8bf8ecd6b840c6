# SPDX-License-Identifier: BSD-2-Clause
"""How our scripts end when somebody else ends them: as a shell tells it, and without a traceback.

A signal S gives the status 128 + S, also where it is Python that notices: SIGINT by its
KeyboardInterrupt, SIGPIPE by a write to a reader that has gone.
"""

import os
import signal
import subprocess
import sys


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came. It passes wherever Ctrl-C does."""

    def __init__(self, number, _frame):
        super().__init__(signal.Signals(number).name)
        self.number = number


def _raise(number, frame):
    raise Ended(number, frame)


def status_of(ended):
    """The status after a KeyboardInterrupt."""
    return 128 + getattr(ended, "number", signal.SIGINT)


def call(main):
    """main(), which returns a status; -> the status to end with."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN: # nohup stays what it is
            signal.signal(number, _raise)
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt as ended:
        status = status_of(ended)
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
        # Python writes what is left when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def run(command, **arguments):
    """Runs a command that cleans up behind itself, and lets it; -> its status. `arguments` are for
    Popen."""
    with subprocess.Popen(command, **arguments) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.terminate()
            child.wait()
            raise
