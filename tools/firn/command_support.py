# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command share: running it, reading its JSON, comparing trees of files."""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

DONE, USAGE, NOT_FOUND, CORRUPT, LOCKED, IO = range(6)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def tree_of(folder):
    """Every file below a folder with its content, mode and time of change."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[str(path.relative_to(folder))] = (
                path.read_bytes(), status.st_mode & 0o777, status.st_mtime_ns)
    return found


class CommandTest(unittest.TestCase):
    firn = ""  # the program; set by main()

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-command-"))
        self.folder.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.folder)
        self.store = self.folder / "store"

    def run_firn(self, *arguments, stdin=b"", **options):
        command = [options.pop("program", self.firn)] + [str(a) for a in arguments]
        return subprocess.run(command, input=stdin, stdout=options.pop("stdout", subprocess.PIPE),
                              stderr=subprocess.PIPE, timeout=120, check=False, **options)

    def expect(self, code, *arguments, **options):
        ran = self.run_firn(*arguments, **options)
        self.assertEqual(ran.returncode, code, f"{arguments}: {ran.stderr.decode()}")
        if code != DONE:
            self.assertRegex(ran.stderr.decode(), r"(^|\n)firn: \w+: .")
        return ran

    def output(self, *arguments, **options):
        return self.expect(DONE, *arguments, **options).stdout

    def json_lines(self, *arguments, code=DONE, **options):
        return [json.loads(line) for line in
                self.expect(code, *arguments, "--json", **options).stdout.splitlines()]

    def failure(self, code, *arguments, **options):
        """The text of a failure, which must be the same with --json."""
        plain = self.expect(code, *arguments, **options).stderr.decode()
        last = self.json_lines(*arguments, code=code, **options)[-1]
        masked = re.sub(r"[\x00-\x1f\x7f]", lambda control: f"\\x{ord(control[0]):02x}",
                        last["error"]["message"])
        self.assertIn(masked.split(";")[0], plain)
        return plain

    def import_lines(self, lines, *arguments):
        text = b"".join(line + b"\n" for line in lines)
        self.output("archive", "import", self.store, "-", "--lines", *arguments, stdin=text)

    def make_tree(self, count=20):
        """Files of many sizes, modes and times in nested folders."""
        root = self.folder / "tree"
        chance = random.Random(7)
        for number in range(count):
            folder = root / f"d{number % 3}" / f"e{number % 5}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"file {number}"
            path.write_bytes(chance.randbytes(chance.choice([0, 1, 100, 4084, 70_000])))
            path.chmod(chance.choice([0o644, 0o600, 0o755, 0o444]))
            os.utime(path, ns=(0, chance.choice([0, 1, 1_700_000_000_123_456_789, -1,
                                                 -1_500_000_000])))
        return root

    def values_file(self):
        return next((self.store / "values").iterdir())

    def index_file(self):
        return next((self.store / "index").iterdir())

    def open_import(self, *arguments, **options):
        """A writer at work: it takes lines and acknowledges each."""
        return subprocess.Popen([self.firn, "archive", "import", self.store, "-", "--lines",
                                 "--ack", "--sync-every", "1", *arguments],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                **{"stderr": subprocess.DEVNULL, **options})


def main():
    """Runs the tests of the calling script: `X_test.py FIRN [unittest arguments]`."""
    CommandTest.firn = os.path.abspath(sys.argv.pop(1))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    unittest.main()
