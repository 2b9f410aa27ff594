#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C++ example of README.md is examples/archive.cc, and it does what it says.

usage: readme_example.py README EXAMPLE PROGRAM
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

EXPECTED = "the second value\n"


def main():
    readme, example, program = sys.argv[1:]
    blocks = re.findall(r"^```cpp\n(.*?)^```$", Path(readme).read_text(), flags=re.M | re.S)
    lines = Path(example).read_text().splitlines(keepends=True)
    while lines and lines[0].startswith("//"):
        lines.pop(0)
    if blocks != ["".join(lines)]:
        sys.exit(f"{readme} must have one cpp block, the code of {example}")
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        for run in ("a new store", "the same store again"):
            done = subprocess.run([program, store], capture_output=True, text=True)
            # The second run finds item 1 pruned, and says so.
            expected = (0, EXPECTED) if run == "a new store" else (1, "")
            if (done.returncode, done.stdout) != expected or (
                    done.returncode and "pruned" not in done.stderr):
                sys.exit(f"{run}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
