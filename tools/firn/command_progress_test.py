#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a user at a terminal sees of long verbs while they work.

usage: command_progress_test.py FIRN [unittest arguments]
"""
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import command_support
from command_support import DONE, CommandTest


class Progress(CommandTest):
    def test_progress_on_a_terminal(self):
        for environment, has_escapes in (({"TERM": "xterm"}, True),
                                         ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
            ours, theirs = pty.openpty()
            with self.open_import(stderr=theirs, env=environment) as child:
                os.close(theirs)
                seen = b""
                while not re.search(rb"importing .*/s", seen):
                    child.stdin.write(b"line\n")
                    child.stdin.flush()
                    child.stdout.readline()
                    if select.select([ours], [], [], 0)[0]:
                        seen += os.read(ours, 4096)
                child.stdin.close()
                self.assertEqual(child.wait(), DONE)
            try:
                while chunk := os.read(ours, 4096):
                    seen += chunk
            except OSError:
                pass  # how the end of a terminal shows
            os.close(ours)
            self.assertEqual("\x1b" in seen.decode(), has_escapes)
            self.assertIn("imported", seen.decode())

    def seen_while_slow(self, shown, *arguments, same_terminal=False):
        """What a verb shows on a terminal that gets hardly any time, and whose output is read
        slowly, until it has shown this or has ended."""
        ours, theirs = pty.openpty()
        output, printed = os.pipe()
        os.set_blocking(ours, False), os.set_blocking(output, False)
        seen = {output: b"", ours: b""}

        def read(end, most):
            try:
                chunk = os.read(end, most)
            except BlockingIOError:
                return True
            except OSError:
                return False  # how the end of a terminal shows
            seen[end] += chunk
            return bool(chunk)

        with subprocess.Popen([self.firn, *map(str, arguments)], stdin=subprocess.DEVNULL,
                              stdout=theirs if same_terminal else printed, stderr=theirs,
                              env={"TERM": "xterm"}) as child:
            os.close(theirs), os.close(printed)
            while child.poll() is None and not re.search(shown, seen[ours].decode()):
                child.send_signal(signal.SIGSTOP)
                time.sleep(0.05)
                child.send_signal(signal.SIGCONT)
                time.sleep(0.001)
                read(ours, 1 << 16), read(output, 1 << 12)
            for end in seen:
                os.set_blocking(end, True)
                while read(end, 1 << 16):
                    pass
                os.close(end)
            self.assertEqual(child.wait(), DONE)
        return seen[ours].decode()

    def seen_while_reads_are_slow(self, shown, *arguments):
        """What a verb shows on a terminal when every read of a file takes a while, until it has
        shown this or has ended. Nobody waits for what it does then."""
        ours, theirs = pty.openpty()
        slow_reads = Path(self.firn).with_name("firn_slow_reads.so")
        self.assertTrue(slow_reads.exists(), f"{slow_reads} is built with the tests")
        seen = b""
        with subprocess.Popen([self.firn, *map(str, arguments)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=theirs,
                              env={"TERM": "xterm", "LD_PRELOAD": slow_reads}) as child:
            os.close(theirs)
            try:
                while not re.search(shown, seen.decode()) and (chunk := os.read(ours, 1 << 16)):
                    seen += chunk
            except OSError:
                pass  # how the end of a terminal shows
            os.close(ours)
            child.kill()
        return seen.decode()

    def test_every_long_verb_shows_what_is_done_the_rate_and_what_is_left(self):
        lines = [b"line %d" % number for number in range(20_000)]
        text = b"".join(line + b"\n" for line in lines)
        self.import_lines(lines, "--items-per-section", 100)
        freezer = self.folder / "freezer"
        self.output("freezer", "import", freezer, "-", "--lines", stdin=text)
        wide = self.folder / "wide"
        self.output("archive", "import", wide, "-", "--lines", "--items-per-section", 1,
                    stdin=text[:3_000])
        size = r"[\d.]+ [KM]?i?B"
        in_bytes = rf"{size} of {size} \(\d+ %\), {size}/s, [\d.]+ (s|min \d\d s) left"
        in_units = r"[\d,]+ {0} of [\d,]+ {0} \(\d+ %\), [\d,]+ {0}/s, [\d.]+ s left"
        items, sections = in_units.format("items"), in_units.format("sections")
        for seen, shown, arguments in (
                (self.seen_while_reads_are_slow, f"verifying {in_bytes}",
                 ("verify", self.store, "--deep")),
                (self.seen_while_reads_are_slow, f"verifying {in_bytes}",
                 ("verify", freezer, "--deep")),
                (self.seen_while_reads_are_slow, f"salvaging {in_bytes}",
                 ("salvage", self.store, self.folder / "copy")),
                (self.seen_while_reads_are_slow, f"salvaging {in_bytes}",
                 ("salvage", freezer, self.folder / "copy2")),
                (self.seen_while_slow, f"listing {items}", ("archive", "list", self.store)),
                (self.seen_while_slow, f"listing {items}",
                 ("archive", "list", self.store, "--from", 10, "--json")),
                (self.seen_while_slow, f"listing {items}", ("freezer", "list", freezer)),
                (self.seen_while_slow, f"exporting {in_bytes}",
                 ("archive", "export", self.store, "--lines")),
                (self.seen_while_slow, f"pruning {sections}",
                 ("archive", "prune", wide, "--before", 300))):
            with self.subTest(arguments=arguments):
                self.assertRegex(seen(shown, *arguments), shown)

    def test_a_long_open_shows_what_is_read_the_rate_and_what_is_left(self):
        text = b"".join(b"%d\n" % number for number in range(300_000))
        freezer = self.folder / "freezer"
        self.output("archive", "import", self.store, "-", "--lines", stdin=text)
        self.output("freezer", "import", freezer, "-", "--lines", stdin=text)
        size = r"[\d.]+ [KM]?i?B"
        in_bytes = rf"{size} of {size} \(\d+ %\), {size}/s, [\d.]+ (s|min \d\d s) left"
        for shown, arguments in ((f"opening {in_bytes}", ("archive", "stat", self.store)),
                                 (f"opening {in_bytes}", ("freezer", "stat", freezer)),
                                 (f"rebuilding {in_bytes}", ("freezer", "rebuild", freezer))):
            with self.subTest(arguments=arguments):
                self.assertRegex(self.seen_while_reads_are_slow(shown, *arguments), shown)

    def test_no_progress_between_lines_on_the_same_terminal(self):
        self.import_lines([b"line %d" % number for number in range(3000)])
        seen = self.seen_while_slow("never", "archive", "list", self.store, same_terminal=True)
        self.assertIn("2999\t", seen)
        self.assertNotIn("listing", seen)

    def test_no_progress_elsewhere(self):
        ran = self.expect(DONE, "archive", "import", self.store, __file__)
        self.assertRegex(ran.stderr.decode(), r"^imported 1 item, .*/s, .* items/s\).*\n$")


if __name__ == "__main__":
    command_support.main()
