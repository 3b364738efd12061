"""What starting costs, in units of importing torch: python benchmarks/startup.py."""

from __future__ import annotations

import argparse
import subprocess
import sys

TASKS = {
    "import zoo": "import zoo",
    "zoo list": "import sys; sys.argv = ['zoo', 'list']; from zoo.cli import main; main()",
    "zoo.load('faces-dcgan'), torch imported": "import zoo; zoo.load('faces-dcgan')",
}


def measure(code: str, *, imported: str) -> float:
    """Measure the processor seconds of a piece of code in a new process, after importing what `imported` says."""
    script = f"{imported}\nimport time\nstart = time.process_time()\n{code}\nimport sys\n"
    script += "print(time.process_time() - start, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stderr.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="the lowest is taken")
    rounds = parser.parse_args().rounds
    torch_seconds = min(measure("import torch", imported="") for _ in range(rounds))
    for task, code in TASKS.items():
        imported = "import torch, PIL.Image" if "torch imported" in task else ""
        seconds = min(measure(code, imported=imported) for _ in range(rounds))
        print(f"{task:<42} {seconds / torch_seconds:.0%} of the time of importing torch")


if __name__ == "__main__":
    main()
