"""`python -m tests.trials.child MODULE FLAGS`: a command of the program, with a guard taken out or a fault put in."""

import runpy
import sys

from tests.trials.sabotage import apply_sabotage

if __name__ == "__main__":
    apply_sabotage()
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
