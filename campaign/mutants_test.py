#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The list of mutants fits the sources, and what no longer fits is noticed."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import mutants  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
ROW = {"title": "one is two", "file": "firn/journal/a.cc", "find": "return 1;",
       "replace": "return 2;", "test": "firn_journal_test ATest.WhenAsked_ThenOne"}
SOURCES = {"firn/journal/a.cc": "int one() { return 1; }\n",
           "firn/journal/a_test.cc": "TEST_F(ATest,\n       WhenAsked_ThenOne) {}\n",
           "sim/scenarios.cc": '{"journal", journal_scenario()},\n',
           "tools/firn/command_a_test.py": "class A(CommandTest):\n    def test_one(self): pass\n"}


class MutantsTest(unittest.TestCase):
    def problems(self, *changes):
        with tempfile.TemporaryDirectory() as root:
            for path, text in SOURCES.items():
                (Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(root) / path).write_text(text)
            rows = [mutants.Mutant(ROW | change) for change in changes]
            return [problem.split(": ")[-1] for problem in mutants.problems(rows, Path(root))]

    def test_the_list_fits_the_sources(self):
        rows = mutants.read_list(ROOT / "campaign/mutants.toml")
        self.assertGreaterEqual(len(rows), 60)
        self.assertEqual(list(mutants.problems(rows, ROOT)), [])

    def test_every_kind_of_test_is_found(self):
        for test in (ROW["test"], "firn_journal_test ATest.*",
                     "firn_long_test ATest.*", "firn_sim --scenario journal",
                     "command_a_test.py A.test_one"):
            with self.subTest(test):
                self.assertEqual(self.problems({"test": test}), [])

    def test_what_does_not_fit_is_told(self):
        for change, problem in [
                ({"find": "return 3;"}, "0 places to change, expected 1"),
                ({"find": "n"}, "3 places to change, expected 1"),
                ({"file": "firn/journal/b.cc"}, "0 places to change, expected 1"),
                ({"replace": ROW["find"]}, "1 places to change, expected 1"),
                ({"title": "what? (this)"}, "titles are plain words, for --only")]:
            with self.subTest(change):
                self.assertEqual(self.problems(change), [problem])

    def test_a_test_that_is_gone_is_told(self):
        for test in ("firn_journal_test ATest.WhenAsked", "firn_sim --scenario b",
                     "command_a_test.py A.test_two"):
            with self.subTest(test):
                self.assertEqual(self.problems({"test": test}), [f"there is no test {test}"])

    def test_two_of_a_title_are_told(self):
        self.assertEqual(self.problems({}, {}), ["there are two of this title"] * 2)

    def test_a_row_with_another_field_is_refused(self):
        with self.assertRaises(ValueError):
            mutants.Mutant(ROW | {"tset": ""})


if __name__ == "__main__":
    unittest.main()
