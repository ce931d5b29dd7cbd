"""`python -m tests.trials.report RESULTS.jsonl > docs/trials.md`: what the trials printed, as a page.

RESULTS.jsonl holds the lines of `python -m tests.trials` and of `python -m tests.trials --sabotage`.
"""

import json
import re
import sys
from pathlib import Path

INTRODUCTION = """# Trials

The promise: a run that is interrupted, starved or fed rubbish either goes on to exactly the result it would have had,
or stops with one sentence that says why. It never loses more than one save interval, never reports a number computed on
part of the data, and never runs code from data.

Each trial makes its fault happen in real processes or on real files, counts how often it did ("exposure": a trial that
killed no run inside a save has shown nothing about saves), and is run once more on builds of the program that lack the
guard ("without"), on which it must fail. Two runs are compared with each other, never with stored values.

```sh
python -m tests.trials                  # all, about {minutes} minutes on two cores; NAME ... for some
python -m tests.trials --quick          # a small number of each
python -m tests.trials --sabotage       # every trial on every build without its guard; add --quick
```
"""
CLOSING = """
Not tried here, because it needs what these machines lack: a power cut (files and folders are synced before a checkpoint
gets its name), a network file system's locks, a GPU.
"""


def render(results: list[dict]) -> str:
    """The page: the last result of each trial, and of each trial without each of its guards."""
    trials = {result["trial"]: result for result in results if "passed" in result}
    without = {(result["trial"], result["sabotage"]): result for result in results if "sabotage" in result}
    seconds = sum(result["seconds"] for result in trials.values())
    lines = [INTRODUCTION.format(minutes=round(seconds / 60))]
    some = next(iter(trials.values()))
    versions = ", ".join(f"{name} {version}" for name, version in some["versions"].items())
    lines += [f"Last results: {some['machine']}; {versions}.", "Most trials shared the cores with another.", ""]
    lines += ["| | claim | cases | exposure | seconds | result |", "|---|---|---|---|---|---|"]
    for name, result in sorted(trials.items(), key=lambda item: int(item[0][1:])):
        exposure = "; ".join(f"{what}: {count:,}" for what, count in result["exposure"].items())
        claim = result["claim"][0].upper() + result["claim"][1:].rstrip(".")
        verdict = "passed" if result["passed"] else "**failed**: " + "; ".join(result["failures"][:2])
        lines.append(f"| {name} | {claim} | {result['n']:,} | {exposure} | {result['seconds']:.0f} | {verdict} |")
    lines += ["", "Without a guard, each must fail, and did so for the reason given:", ""]
    lines += ["| | without | noticed | for instance |", "|---|---|---|---|"]
    for (name, sabotage), result in sorted(without.items(), key=lambda item: int(item[0][0][1:])):
        said = re.sub(r"/\S*/trial-[^/]+/", "", result["failures"][0]) if result["failures"] else ""
        said = " ".join(said.replace("|", "\\|").split())
        shown = said if len(said) <= 120 else said[:117] + "..."
        lines.append(
            f"| {name} | {sabotage.replace('_', ' ')} | {'yes' if result['noticed'] else '**no**'} | {shown} |"
        )
    return "\n".join(lines) + "\n" + CLOSING


if __name__ == "__main__":
    print(render([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]), end="")
