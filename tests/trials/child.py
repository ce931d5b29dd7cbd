"""`python -m tests.trials.child MODULE FLAGS`: a command of the program, with a guard taken out or a fault put in."""

import runpy
import signal
import sys

from tests.trials.faults import apply_faults
from tests.trials.sabotage import apply_sabotage

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    apply_sabotage()
    apply_faults()
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
