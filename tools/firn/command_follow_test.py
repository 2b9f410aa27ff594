# SPDX-License-Identifier: Apache-2.0
"""The verbs that read, beside one that writes in another process."""
import subprocess
import threading
import unittest

from command_support import DONE, LOCKED, NOT_FOUND, CommandTest, main


class FollowTest(CommandTest):
    def writer(self, *arguments):
        return subprocess.Popen([self.firn, *arguments], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def importing(self, kind="archive", sync_every=1):
        return self.writer(kind, "import", self.store, "-", "--lines", "--ack", "--sync-every",
                           str(sync_every))

    def write_line(self, writer, line, acknowledged):
        writer.stdin.write(line + b"\n")
        writer.stdin.flush()
        self.assertEqual(writer.stdout.readline(), b"synced %d\n" % acknowledged)

    def files(self):
        return {str(path): path.read_bytes() for path in self.store.rglob("*") if path.is_file()}

    def test_every_verb_that_reads_an_archive(self):
        with self.importing() as writer:
            self.write_line(writer, b"a", 0)
            self.write_line(writer, b"b", 1)
            before = self.files()
            self.assertEqual(self.output("archive", "get", self.store, "--index", 1), b"b")
            self.assertEqual(len(self.output("archive", "list", self.store).splitlines()), 2)
            self.assertEqual(self.json_lines("archive", "stat", self.store)[0]["items"], 2)
            self.assertEqual(self.output("archive", "gaps", self.store), b"")
            self.assertEqual(self.output("archive", "export", self.store, "--lines"), b"a\nb\n")
            self.output("verify", self.store)
            self.output("verify", self.store, "--deep")
            info, = self.json_lines("info", self.store)
            self.assertEqual(info["archive"]["items"], 2)
            self.assertIn(str(writer.pid), info["locked_by"])
            self.assertEqual(self.files(), before, "a verb that reads has written")
            self.expect(NOT_FOUND, "archive", "get", self.store, "--index", 2)
            self.failure(LOCKED, "archive", "prune", self.store, "--before", 1)
            self.write_line(writer, b"c", 2)
            self.assertEqual(self.output("archive", "get", self.store, "--index", 2), b"c")
            writer.stdin.close()
            self.assertEqual(writer.wait(), DONE)

    def test_every_verb_that_reads_a_freezer(self):
        with self.importing("freezer") as writer:
            self.write_line(writer, b"a", 1)
            before = self.files()
            key = self.output("freezer", "list", self.store).split()[0].decode()
            self.assertEqual(self.output("freezer", "get", self.store, "--key", key), b"a")
            self.output("freezer", "contains", self.store, "--key", key)
            self.assertEqual(self.json_lines("freezer", "stat", self.store)[0]["items"], 1)
            self.output("verify", self.store, "--deep")
            self.output("info", self.store)
            self.assertEqual(self.files(), before, "a verb that reads has written")
            self.expect(LOCKED, "freezer", "rebuild", self.store)
            writer.stdin.close()
            self.assertEqual(writer.wait(), DONE)

    def test_an_import_at_full_speed_is_read_meanwhile(self):
        lines = [b"line %d" % number for number in range(10_000)]
        acknowledged = [-1]

        def collect(writer):
            for line in writer.stdout:
                acknowledged[0] = int(line.split()[1])

        def feed(writer):
            writer.stdin.write(b"".join(line + b"\n" for line in lines))
            writer.stdin.close()

        with self.importing(sync_every=100) as writer:
            threads = [threading.Thread(target=work, args=(writer,)) for work in (collect, feed)]
            for thread in threads:
                thread.start()
            last = -1
            while writer.poll() is None:
                known = acknowledged[0]
                if known < 0:
                    continue
                shown = self.output("archive", "export", self.store, "--lines").splitlines()
                self.assertGreater(len(shown), max(known, last))
                self.assertEqual(shown, lines[:len(shown)])
                last = len(shown) - 1
                self.output("verify", self.store, "--deep")
            for thread in threads:
                thread.join()
            self.assertEqual(writer.returncode, DONE)
        exported = self.output("archive", "export", self.store, "--lines")
        self.assertEqual(exported.splitlines(), lines)

    def test_metadata_that_is_changed_meanwhile(self):
        self.output("metadata", "put", self.store, "n", 0)
        done = threading.Event()

        def change():
            for number in range(1, 50):
                self.output("metadata", "put", self.store, "n", number)
            done.set()

        changing = threading.Thread(target=change)
        changing.start()
        last = 0
        while not done.is_set():
            shown = int(self.output("metadata", "get", self.store, "n"))
            self.assertGreaterEqual(shown, last)
            last = shown
            self.output("verify", self.store)
        changing.join()
        self.assertEqual(self.output("metadata", "get", self.store, "n"), b"49")


if __name__ == "__main__":
    main()
