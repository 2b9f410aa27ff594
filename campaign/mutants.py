#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tests of the tests: makes one mistake at a time in a copy of the sources, and runs the test
that must fail.

usage: mutants.py [--only REGEX] [--limit N] [--seed N] [--duration SECONDS] [--json FILE]
       mutants.py --list | --check

Mistakes and tests are in mutants.toml. --check says which of them no longer fit the sources. The
copy is build/mutants/source. A mutant that survives or does not compile makes the exit code 1, and
a line `replay:` repeats it. A test that fails without a mistake ends the run.
"""
import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

FIELDS = {"title", "file", "find", "replace", "test"}
PLAIN = ("firn_sim", "firn_schedules", "firn_relacy")  # run as they are told
NO_END = "no end within"
SPARE_SECONDS = 30  # that a test may take beyond 10 times of what it takes without a mistake


class Mutant:
    """One mistake. `test` is a line: a target, then what of it to run."""

    def __init__(self, row):
        if set(row) != FIELDS:
            raise ValueError(f"a mutant has {sorted(row)}, expected {sorted(FIELDS)}")
        self.title, self.file, self.test = row["title"], row["file"], row["test"]
        self.find, self.replace = row["find"].strip("\n"), row["replace"].strip("\n")
        self.program, *self.arguments = shlex.split(self.test)

    @property
    def name(self):
        return f"{self.file}: {self.title}"

    @property
    def target(self):
        return "firn_command" if self.program.endswith(".py") else self.program

    def command(self, build):
        if self.program.endswith(".py"):
            script = build.parent.parent / "tools/firn" / self.program
            return [sys.executable, str(script), str(build / "bin/firn"), *self.arguments]
        found = [path for path in build.rglob(self.program) if path.is_file()]
        if len(found) != 1:
            raise FileNotFoundError(f"{self.program}: found {found}")
        if self.program in PLAIN or self.program.endswith("_fuzz"):
            return [str(found[0]), *self.arguments]
        suite, case = self.arguments[0].split(".", 1)  # also of suites with parameters and types
        return [str(found[0]), f"--gtest_filter={suite}.{case}:*/{suite}.{case}/*:{suite}/*.{case}"]


def read_list(path):
    return [Mutant(row) for row in tomllib.loads(path.read_text())["mutant"]]


def problems(mutants, root):
    """What no longer fits the sources: a change that cannot be made, a test that is not there."""
    titles = [mutant.name for mutant in mutants]
    for mutant in mutants:
        if titles.count(mutant.name) > 1:
            yield f"{mutant.name}: there are two of this title"
        if not re.fullmatch(r"[\w ,:-]+", mutant.title):
            yield f"{mutant.name}: titles are plain words, for --only"
        path = root / mutant.file
        count = path.read_text().count(mutant.find) if path.is_file() else 0
        if count != 1 or mutant.find == mutant.replace:
            yield f"{mutant.name}: {count} places to change, expected 1"
        if not has_test(mutant, root):
            yield f"{mutant.name}: there is no test {mutant.test}"


def has_test(mutant, root):
    if mutant.program == "firn_sim":
        scenario = mutant.arguments[mutant.arguments.index("--scenario") + 1]
        return f'"{scenario}"' in (root / "sim/scenarios.cc").read_text()
    if mutant.program in PLAIN:
        return (root / "tests" / mutant.program.removeprefix("firn_") / "main.cc").is_file()
    if mutant.program.endswith("_fuzz"):
        name = mutant.program.removeprefix("firn_") + ".cc"
        return any([*root.glob(f"fuzz/{name}"), *root.glob(f"firn/*/{name}")])
    suite, case = mutant.arguments[0].replace("*", r"\w*").split(".", 1)
    if mutant.program.endswith(".py"):
        files, what = [root / "tools/firn" / mutant.program], rf"class {suite}\b(.|\n)*def {case}\("
    else:
        folder = mutant.program.split("_")[1]
        folder = {"long": "firn/*", "process": "tests/processes"}.get(folder, f"firn/{folder}")
        files = root.glob(f"{folder}/*_test.cc")
        what = rf"TEST\w*\(\s*{suite},\s*{case}\s*\)"
    return any(re.search(what, file.read_text()) for file in files)


class Copy:
    """The copy of the sources, and what is built of it."""

    def __init__(self, root):
        self.root, self.source = root, root / "build/mutants/source"
        self.build = self.source / "build/mutants"

    def refresh(self):
        """Only what differs is copied, so that little is built again."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=self.root, check=True,
                                capture_output=True)
        for name in listed.stdout.decode().split("\0"):
            original, copy = self.root / name, self.source / name
            if not original.is_file():
                continue
            content = original.read_bytes()
            if not copy.is_file() or copy.read_bytes() != content:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
                shutil.copymode(original, copy)
        self.run(["cmake", "--preset", "mutants"])

    def run(self, command, limit=None):
        """Whether it succeeded, and its output. Nothing that it started is left."""
        with subprocess.Popen(command, cwd=self.source, text=True, errors="replace",
                              start_new_session=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:
            try:
                output, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                output = f"{NO_END} {limit:.0f} seconds"
            finally:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        return process.returncode == 0, output

    def make(self, targets):
        return self.run(["cmake", "--build", str(self.build), "--target", *targets])


def end_of(output):
    return "".join(f"    {line}\n" for line in output.splitlines()[-12:])


def measure(copy, mutants):
    """Builds all, and returns how long each test takes without a mistake; fails if one does."""
    copy.refresh()
    built, output = copy.make(sorted({mutant.target for mutant in mutants}))
    if not built:
        sys.exit(f"mutants: the sources do not build:\n{end_of(output)}")
    seconds = {}
    for mutant in mutants:
        if mutant.test in seconds:
            continue
        begin = time.monotonic()
        passed, output = copy.run(mutant.command(copy.build))
        seconds[mutant.test] = time.monotonic() - begin
        if not passed or "[  PASSED  ] 0 tests" in output:
            sys.exit(f"mutants: without a mistake, {mutant.test} fails or runs nothing:\n"
                     f"{end_of(output)}")
    return seconds


def attempt(copy, mutant, limit):
    """What became of it: "killed", "hung", "survived" or "no mutant"; and the output."""
    path = copy.source / mutant.file
    original = path.read_text()
    try:
        path.write_text(original.replace(mutant.find, mutant.replace))
        built, output = copy.make([mutant.target])
        if not built:
            return "no mutant", output
        passed, output = copy.run(mutant.command(copy.build), limit)
        hung = output.startswith(NO_END)
        return ("survived" if passed else "hung" if hung else "killed"), output
    finally:
        path.write_text(original)  # also newer than what was built of the mutant


def in_order(mutants, seed):
    """The files in an order of the seed, the mutants of a file together, which builds less."""
    files = sorted({mutant.file for mutant in mutants})
    random.Random(seed).shuffle(files)
    return sorted(mutants, key=lambda mutant: files.index(mutant.file))


def hunt(root, mutants, arguments):
    begin = time.monotonic()
    copy = Copy(root)
    chosen = in_order(mutants, arguments.seed)[:arguments.limit]
    seconds = measure(copy, chosen)
    print(f"{len(seconds)} tests pass without a mistake, after {time.monotonic() - begin:.0f} s",
          flush=True)
    cases = violations = 0
    for mutant in chosen:
        if arguments.duration and time.monotonic() - begin > arguments.duration:
            break
        started = time.monotonic()
        outcome, output = attempt(copy, mutant, SPARE_SECONDS + 10 * seconds[mutant.test])
        print(f"{outcome:9} {time.monotonic() - started:5.1f} s  {mutant.name}", flush=True)
        cases += 1
        if outcome not in ("killed", "hung"):
            violations += 1
            print(f"  test: {mutant.test}\n{end_of(output) if outcome == 'no mutant' else ''}"
                  f"  replay: campaign/mutants.py --only '{mutant.name}'", flush=True)
    print(f"{cases} of {len(mutants)} mutants tried, {violations} not killed")
    if arguments.json:
        report = {"stage": "mutants", "cases": cases, "violations": violations,
                  "seconds": round(time.monotonic() - begin), "seed": arguments.seed}
        Path(arguments.json).write_text(json.dumps(report) + "\n")
    return 1 if violations else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="REGEX",
                        help="those whose `file: title test` it matches")
    parser.add_argument("--limit", type=int, help="at most so many")
    parser.add_argument("--seed", type=int, default=1, help="of their order")
    parser.add_argument("--duration", type=float, help="none is begun after so many seconds")
    parser.add_argument("--json", metavar="FILE", help="where the report goes")
    parser.add_argument("--list", action="store_true", help="what there is")
    parser.add_argument("--check", action="store_true", help="does the list fit the sources?")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    mutants = read_list(root / "campaign/mutants.toml")
    only = re.compile(arguments.only)
    mutants = [mutant for mutant in mutants if only.search(f"{mutant.name} {mutant.test}")]
    found = list(problems(mutants, root))
    if found or arguments.check:
        print("\n".join(found) or f"{len(mutants)} mutants fit the sources")
        return 1 if found else 0
    if arguments.list:
        print("\n".join(f"{mutant.name}\n    {mutant.test}" for mutant in mutants))
        return 0
    return hunt(root, mutants, arguments)


if __name__ == "__main__":
    sys.exit(main())
