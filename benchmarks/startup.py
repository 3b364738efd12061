"""What starting costs: python benchmarks/startup.py [ENTRY].

The first lines are processor time, in units of importing torch. The last one is what a user waits for: the seconds that
`zoo.load` of a bundled entry adds to `import torch`, in new processes, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

TASKS = {
    "import zoo": "import zoo",
    "zoo list": "import sys; sys.argv = ['zoo', 'list']; from zoo.cli import main; main()",
    "zoo.load('faces-dcgan'), torch imported": "import zoo; zoo.load('faces-dcgan')",
}
GOAL = 0.3  # seconds that loading may add


def measure(code: str, *, imported: str, clock: str = "process_time") -> float:
    """Measure the seconds of a piece of code in a new process, after importing what `imported` says.

    Args:
        clock: the function of `time` that is read; `process_time` counts the processor's time on all its cores.
    """
    script = f"{imported}\nimport time\nstart = time.{clock}()\n{code}\nimport sys\n"
    script += f"print(time.{clock}() - start, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stderr.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("entry", nargs="?", default="faces-dcgan", help="a bundled entry")
    parser.add_argument("--rounds", type=int, default=5, help="of processor times the lowest is taken, else the median")
    options = parser.parse_args()
    rounds = range(options.rounds)
    torch_seconds = min(measure("import torch", imported="") for _ in rounds)
    for task, code in TASKS.items():
        imported = "import torch, PIL.Image" if "torch imported" in task else ""
        seconds = min(measure(code, imported=imported) for _ in rounds)
        print(f"{task:<42} {seconds / torch_seconds:.0%} of the time of importing torch")
    code = f"import zoo; zoo.load({options.entry!r})"
    added = [measure(code, imported="import torch", clock="perf_counter") for _ in rounds]
    print(
        f"zoo.load({options.entry!r}) adds {statistics.median(added):.2f} s to import torch "
        f"({min(added):.2f} to {max(added):.2f}, {len(added)} processes; the goal is {GOAL} s)"
    )


if __name__ == "__main__":
    main()
