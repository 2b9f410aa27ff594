#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The table of `make coverage`: lines, branches and conditions (MC/DC) of the files that
coverage.toml names, and what is missing in them.

usage: coverage.py EXPORT [ROOT]     EXPORT is what `llvm-cov-19 export` wrote

A branch is one outcome of one condition, also of those that macros bring along: each TRY has two. A
condition counts as shown if it decided the whole decision alone, both ways. Instantiations of a
template are one: what any of them did is done. What cannot happen is no branch: that a CHECK fails,
and that a switch over an enumeration has none of its values; and a defaulted comparison is the
compiler's. Exits with an error if a file is below a threshold, or if a row of coverage.toml says
what is no longer so.
"""
import fnmatch
import json
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

EXPANSION, CONDITION = 1, 6  # kinds of regions in EXPORT
TESTS = ("*_test.cc", "*_fuzz.cc", "*_sim.cc", "*_sim.h", "*_test_support.h")


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def percent(done, total):
    return 100 * done / total if total else 100.0


class Counts:
    """[done, total] of each kind, without the exceptions."""

    def __init__(self):
        self.lines, self.branches, self.conditions, self.excepted = [0, 0], [0, 0], [0, 0], 0

    def add(self, other):
        for kind in ("lines", "branches", "conditions"):
            mine, theirs = getattr(self, kind), getattr(other, kind)
            mine[0], mine[1] = mine[0] + theirs[0], mine[1] + theirs[1]
        self.excepted += other.excepted

    def __str__(self):
        def cell(done, total):
            return f"{done}/{total} {percent(done, total):5.1f} %" if total else "-"
        return (f"{cell(*self.lines):>18} {cell(*self.branches):>18} {cell(*self.conditions):>16} "
                f"{self.excepted or '':>8}")


class File:
    """What was counted in one file. Places are (line, column, ...) of the file itself."""

    def __init__(self, path, text, lines):
        self.path, self.text, self.lines = path, text.splitlines(), lines
        self.branches = defaultdict(bool)  # (place, outcome): done
        self.conditions = defaultdict(bool)  # place: shown

    def add(self, function):
        for place, true, false in function.branches():
            if self.is_possible(place):
                self.branches[place, True] |= true > 0
                self.branches[place, False] |= false > 0
        for place, shown in function.conditions():
            if self.is_possible(place):
                self.conditions[place] |= shown

    def is_possible(self, place):
        line, at = self.text[place[0] - 1], place[1] - 1
        return not line[at:].startswith(("CHECK(", "DCHECK(")) and \
            not line[:at].endswith("switch (") and not line.endswith("= default;")

    def missing(self):
        """{line: what is missing there}"""
        lines = defaultdict(list)
        for (place, outcome), done in sorted(self.branches.items()):
            if not done:
                lines[place[0]].append(f"never {str(outcome).lower()}" +
                                       ("" if len(place) > 5 else f" at {place[1]}"))
        for place, shown in sorted(self.conditions.items()):
            if not shown:
                lines[place[0]].append(f"condition {place[-1] + 1} not shown")
        return {line: ", ".join(what) for line, what in lines.items()}

    def counts(self, excused):
        counts = Counts()
        counts.lines = [self.lines["covered"], self.lines["count"]]
        for table, count in ((self.branches, counts.branches),
                             (self.conditions, counts.conditions)):
            for place, done in table.items():
                line = place[0][0] if table is self.branches else place[0]
                if not done and excused(line):
                    counts.excepted += 1
                else:
                    count[0], count[1] = count[0] + done, count[1] + 1
        return counts


class Function:
    """One function of EXPORT: where its regions are in the file that it is written in."""

    def __init__(self, row):
        self.row, self.path = row, row["filenames"][0]
        self.sites = {region[6]: (region[5], tuple(region[:2]))
                      for region in row["regions"] if region[7] == EXPANSION}

    def place(self, file_id, span):
        """The span itself; within a macro, the place where that is used, then the span there."""
        inner = ()
        while file_id in self.sites:
            inner = (*span, *inner)
            file_id, span = self.sites[file_id]
        return (*span, *inner)

    def branches(self):
        """(place, true, false). Arguments of macros share a place: a number tells them apart."""
        seen = defaultdict(int)
        for *span, true, false, file_id, _, _ in self.row["branches"]:
            place = self.place(file_id, span)
            seen[place] += 1
            yield (*place, seen[place]), true, false

    def conditions(self):
        """(place, shown). Decisions do not tell their file: that one has their conditions."""
        within = defaultdict(list)
        for *span, _, _, file_id, _, kind in self.row["branches"]:
            if kind == CONDITION:
                within[file_id].append(span)
        used = set()
        for *span, _, _, conditions in self.row["mcdc_records"]:
            file_id = next(
                file_id for file_id, spans in sorted(within.items())
                if (file_id, *span) not in used and len(conditions) == sum(
                    span[:2] <= inner[:2] and inner[2:] <= span[2:] for inner in spans))
            used.add((file_id, *span))
            for number, shown in enumerate(conditions):
                yield (*self.place(file_id, span), number), shown


class Report:
    def __init__(self, export, root, rules):
        self.rules, self.errors = rules, []
        self.used = set()  # rows of exceptions
        self.files = {}
        data = json.loads(Path(export).read_text())["data"][0]
        for row in data["files"]:
            path = row["filename"].removeprefix(f"{root}/")
            if matches(path, rules["files"]) and not matches(path, TESTS):
                self.files[path] = File(path, (root / path).read_text(), row["summary"]["lines"])
        for pattern in rules["files"]:
            if not fnmatch.filter(self.files, pattern):
                self.errors.append(f"coverage.toml: no file {pattern}")
        for function in map(Function, data["functions"]):
            if file := self.files.get(function.path.removeprefix(f"{root}/")):
                file.add(function)

    def excused(self, file, line):
        for number, row in enumerate(self.rules.get("exceptions", [])):
            if row["file"] == file.path and row["line"] in file.text[line - 1]:
                self.used.add(number)
                return True
        return False

    def judge(self, path, counts):
        reached = {what: percent(*getattr(counts, what)) for what in ("branches", "conditions")}
        for what, percentage in reached.items():
            if percentage < self.rules[what]:
                self.errors.append(f"{path}: less than {self.rules[what]} % of {what}")

    def print(self):
        print(f"{'file':<40} {'lines':>14} {'branches':>18} {'conditions':>18} {'excepted':>9}")
        total = Counts()
        for path, file in sorted(self.files.items()):
            counts = file.counts(lambda line: self.excused(file, line))
            total.add(counts)
            if counts.branches[1] or counts.lines[1]:
                print(f"{path:<40} {counts}")
            self.judge(path, counts)
        print(f"{'all':<40} {total}")
        for path, file in sorted(self.files.items()):
            for line, what in sorted(file.missing().items()):
                if not self.excused(file, line):
                    print(f"{path}:{line}: {what}: {file.text[line - 1].strip()}")
        for number, row in enumerate(self.rules.get("exceptions", [])):
            if number not in self.used:
                self.errors.append(f"coverage.toml: nothing is missing in {row['file']} at "
                                   f"'{row['line']}'; remove the exception")


def main(export, root=Path(__file__).resolve().parent.parent):
    rules = tomllib.loads((Path(root) / "scripts/coverage.toml").read_text())
    report = Report(export, Path(root), rules)
    report.print()
    for error in report.errors:
        print(error, file=sys.stderr)
    return bool(report.errors)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
