#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the programs of the campaign say and how they end, if they cannot do their work.

usage: stage_test.py PROGRAM...
"""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAMS = [Path(path).resolve() for path in sys.argv[1:]]
TAKES_FIRN = {"firn_kill", "firn_powercut"}
TAKES_DIRECTORY = TAKES_FIRN | {"firn_failed_calls"}


def run(program, *arguments, before=()):
    return subprocess.run([*before, str(program), *arguments], timeout=120, text=True,
                          capture_output=True)


def named(name):
    for program in PROGRAMS:
        if program.name == name:
            return program
    raise unittest.SkipTest(f"{name} is not built")


class StageTest(unittest.TestCase):
    def each(self):
        for program in PROGRAMS:
            with self.subTest(program.name):
                yield program

    def test_help_lists_the_flags_that_count(self):
        for program in self.each():
            ended = run(program, "--help")
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            self.assertIn("--only ROW", ended.stdout)
            self.assertEqual("--firn " in ended.stdout, program.name in TAKES_FIRN)
            self.assertEqual("--directory " in ended.stdout, program.name in TAKES_DIRECTORY)

    def test_a_flag_that_does_not_count_is_none(self):
        for program in self.each():
            flag = "--nothing" if program.name in TAKES_FIRN else "--firn"
            ended = run(program, flag, "/bin/true")
            self.assertEqual(ended.returncode, 2)
            self.assertIn(f"no flag {flag}", ended.stderr)

    def test_a_row_that_there_is_not_is_answered_with_the_rows(self):
        for program in self.each():
            ended = run(program, "--only", "nobody")
            self.assertEqual(ended.returncode, 2)
            self.assertRegex(ended.stderr, "no row 'nobody'; there are:\n  [a-z]")

    def test_a_directory_that_cannot_be_written_is_told(self):
        for program in self.each():
            if program.name not in TAKES_DIRECTORY:
                continue
            firn = ["--firn", "/bin/false"] if program.name in TAKES_FIRN else []
            ended = run(program, "--directory", "/dev/null/stores", *firn)
            self.assertEqual(ended.returncode, 2)
            self.assertIn("cannot write to '/dev/null/stores': Not a directory", ended.stderr)

    def test_kills_of_a_command_that_always_fails_end(self):
        with tempfile.TemporaryDirectory() as stores:
            ended = run(named("firn_kill"), "--firn", "/bin/false", "--directory", stores,
                        "--cases", "5")
        self.assertEqual(ended.returncode, 1)
        self.assertLessEqual(ended.stdout.count("VIOLATION"), 30)


class PowerCutTest(unittest.TestCase):
    """What this machine lacks is said, and nothing is run."""

    def missing(self, ended):
        self.assertEqual(ended.returncode, 1)
        self.assertNotIn("VIOLATION", ended.stdout)
        return ended.stderr

    def without(self, device):
        if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
            self.skipTest("hiding a device needs root")
        hide = f'[ ! -e {device} ] || mount --bind /dev/null {device} && exec "$0" "$@"'
        return self.missing(run(named("firn_powercut"), "--cases", "2", "--firn", "/bin/false",
                                before=["unshare", "-m", "sh", "-c", hide]))

    def test_without_root(self):
        program = named("firn_powercut")
        if os.geteuid() == 0:
            self.skipTest("this is root")
        self.assertIn("needs root", self.missing(run(program, "--firn", "/bin/false")))

    def test_without_loop_devices(self):
        self.assertIn("loop", self.without("/dev/loop-control"))

    def test_without_fuse(self):
        self.assertIn("FUSE", self.without("/dev/fuse"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
