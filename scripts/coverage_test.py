#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py counts what llvm-cov exports, and notices exceptions that have become wrong."""
import contextlib
import io
import json
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import coverage  # noqa: E402

SOURCE = """\
bool f(int a, int b) {
  TRY(g(a));
  CHECK(a > 0, "positive");
  return a == 1 && b == 2;
  switch (b) {
}
"""
RULES = """\
branches = 100
conditions = 95
files = ["firn/*"]
"""
EXCEPTION = '[[exceptions]]\nfile = "firn/a.cc"\nline = "{}"\nreason = "none"\n'


def function(path, calls_failed, first, second, shown):
    """f() as exported: {first, second} are (true, false) of the two conditions."""
    return {"filenames": [path, "/result.h", "/check.h"],
            "regions": [[2, 3, 2, 6, 1, 0, 1, 1], [3, 3, 3, 8, 1, 0, 2, 1]],
            "branches": [[4, 10, 4, 16, *first, 0, 0, 6], [4, 20, 4, 26, *second, 0, 0, 6],
                         [9, 5, 9, 9, calls_failed, 9, 1, 0, 4], [7, 5, 7, 9, 0, 9, 2, 0, 4],
                         [5, 11, 5, 12, 0, 9, 0, 0, 4]],
            "mcdc_records": [[4, 10, 4, 26, 0, 5, shown]]}


class CoverageTest(unittest.TestCase):
    def report(self, *functions, exceptions=""):
        """What is printed of firn/a.cc, and the errors."""
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for path, text in {"firn/a.cc": SOURCE, "firn/a_test.cc": "",
                               "scripts/coverage.toml": RULES + exceptions}.items():
                (root / path).parent.mkdir(exist_ok=True)
                (root / path).write_text(text)
            lines = {"summary": {"lines": {"count": 5, "covered": 4}}}
            data = {"files": [{"filename": f"{root}/firn/{path}"} | lines
                              for path in ("a.cc", "a_test.cc")],
                    "functions": [function(f"{root}/firn/a.cc", *row) for row in functions]}
            (root / "export.json").write_text(json.dumps({"data": [data]}))
            out, errors = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                failed = coverage.main(root / "export.json", root)
            self.assertEqual(failed, bool(errors.getvalue()))
            return out.getvalue(), errors.getvalue().splitlines()

    def test_everything_done(self):
        out, errors = self.report((1, (1, 1), (1, 1), [True, True]))
        self.assertEqual(errors, [])
        self.assertRegex(out, r"firn/a.cc +4/5  80.0 % +6/6 100.0 % +2/2 100.0 %")
        self.assertNotIn("a_test", out)

    def test_what_is_missing_is_named(self):
        out, errors = self.report((0, (1, 1), (1, 0), [True, False]))
        self.assertEqual(errors, ["firn/a.cc: less than 100 % of branches",
                                  "firn/a.cc: less than 95 % of conditions"])
        self.assertIn("firn/a.cc:2: never true: TRY(g(a));", out)
        self.assertIn("firn/a.cc:4: never false at 20, condition 2 not shown: ", out)

    def test_instantiations_are_one(self):
        _, errors = self.report((1, (1, 1), (1, 0), [True, False]),
                                (0, (0, 0), (0, 1), [False, True]))
        self.assertEqual(errors, [])

    def test_exceptions(self):
        missing = (0, (1, 1), (1, 1), [True, True])
        out, errors = self.report(missing, exceptions=EXCEPTION.format("TRY(g(a))"))
        self.assertEqual(errors, [])
        self.assertRegex(out, r"firn/a.cc .* 5/5 100.0 % .* 1\n")

    def test_an_exception_without_need_is_an_error(self):
        for line in ("TRY(g(a))", "TRY(h(a))"):
            _, errors = self.report((1, (1, 1), (1, 1), [True, True]),
                                    exceptions=EXCEPTION.format(line))
            self.assertEqual(errors, ["coverage.toml: nothing is missing in firn/a.cc at "
                                      f"'{line}'; remove the exception"])

    def test_every_exception_is_in_its_file(self):
        root = Path(__file__).resolve().parent.parent
        for row in tomllib.loads((root / "scripts/coverage.toml").read_text())["exceptions"]:
            is_there = row["line"] in (root / row["file"]).read_text()
            self.assertTrue(is_there, f"{row['file']} has no line with '{row['line']}'")


if __name__ == "__main__":
    unittest.main()
