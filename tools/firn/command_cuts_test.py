#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing is cut, and no copy is bad, without a word: whatever the command does then tells.

usage: command_cuts_test.py FIRN [unittest arguments]
"""
import resource
import shutil
import signal
import subprocess

import command_support
from command_support import CORRUPT, DONE, IO, CommandTest, tree_of

ADDED = b"bytes that are not firn's"


class Cuts(CommandTest):
    def make_archive(self):
        self.import_lines([b"line %d" % number for number in range(30)], "--items-per-section", 10)

    def make_freezer(self):
        text = b"".join(b"content %d\n" % number for number in range(30))
        self.output("freezer", "import", self.store, "-", "--lines", stdin=text)

    def make_metadata(self):
        for value in ("value", "another"):
            self.output("metadata", "put", self.store, "key", value)

    def add(self, path):
        with open(path, "ab") as file:
            file.write(ADDED)

    def saved(self):
        folder = self.store / "lost-found"
        return [path.read_bytes()[8:] for path in folder.iterdir()] if folder.exists() else []

    def expect_told(self, files, write):
        """Bytes were added to these files of a closed store: reading tells and changes nothing, the
        next writer saves them, cuts them off and tells."""
        sizes = {path: path.stat().st_size - len(ADDED) for path in files}
        before = tree_of(self.store)
        ran = self.expect(CORRUPT, "verify", self.store)
        found, = self.json_lines("verify", self.store, code=CORRUPT)
        info, = self.json_lines("info", self.store)
        self.assertEqual(tree_of(self.store), before)
        self.assertEqual({(damage["file"], damage["offset"], damage["length"])
                          for damage in found["damage"]},
                         {(str(path), size, len(ADDED)) for path, size in sizes.items()})
        self.assertIn("nothing is lost", ran.stderr.decode())
        for path, size in sizes.items():
            place = f"{path.parent.name}/{path.name} at file offset {size}, {len(ADDED)} bytes"
            self.assertIn(f"{path} at file offset {size}, {len(ADDED)} bytes".encode(), ran.stdout)
            self.assertTrue(any(place in line for line in info["pending"]), info["pending"])
        ran = self.expect(DONE, *write)
        told = ran.stderr.decode()
        self.assertEqual(self.saved(), [ADDED] * len(sizes))
        text = self.output("info", self.store).decode()
        for path, size in sizes.items():
            place = f"{path.parent.name}/{path.name} at file offset {size}, {len(ADDED)} bytes"
            self.assertEqual(told.count(f"cut by recovery: {place}, saved as lost-found/"), 1, told)
            self.assertIn(f"recovery     cut: {place}, saved as lost-found/", text)
        self.output("verify", self.store, "--deep")

    def test_behind_the_files_of_an_archive(self):
        for partition in ("index", "values"):
            for write in (("archive", "prune", self.store, "--before", 10),
                          ("archive", "import", self.store, self.folder / "lines", "--lines")):
                (self.folder / "lines").write_bytes(b"more\n")
                self.make_archive()
                path = sorted((self.store / partition).iterdir())[1]
                size = path.stat().st_size
                self.add(path)
                self.expect_told([path], write)
                self.assertEqual(path.stat().st_size, size)
                shutil.rmtree(self.store)

    def test_behind_the_files_of_a_freezer(self):
        for write in (("freezer", "rebuild", self.store),
                      ("freezer", "put", self.store, "more")):
            self.make_freezer()
            files = [self.index_file(), self.values_file()]
            for path in files:
                self.add(path)
            self.expect_told(files, write)
            shutil.rmtree(self.store)

    def test_behind_a_copy_of_metadata(self):
        self.make_metadata()
        for path in sorted((self.store / "state").iterdir()):
            self.add(path)
            damage, = self.json_lines("verify", self.store, code=CORRUPT)[0]["damage"]
            self.assertEqual(damage["file"], str(path))
            ran = self.expect(DONE, "metadata", "put", self.store, "key", "another")
            self.assertIn(f"state/{path.name}", ran.stderr.decode())
            self.output("verify", self.store)

    def test_more_than_is_shown(self):
        self.import_lines([b"line %d" % number for number in range(30)], "--items-per-section", 1)
        for path in (self.store / "values").iterdir():
            self.add(path)
        text = self.output("info", self.store).decode()
        self.assertEqual(text.count("pending      "), 21)
        self.assertIn("pending      and 10 more\n", text)
        ran = self.expect(DONE, "archive", "prune", self.store, "--before", 1)
        self.assertEqual(ran.stderr.count(b"cut by recovery: "), 20)
        self.assertIn(b"and 10 more\n", ran.stderr)
        text = self.output("info", self.store).decode()
        self.assertEqual(text.count("recovery     cut: "), 16)
        self.assertIn("recovery     and 14 more\n", text)

    def test_the_end_of_a_killed_writer(self):
        self.make_archive()
        with subprocess.Popen([self.firn, "archive", "import", str(self.store), "-", "--lines",
                               "--sync-every", "1", "--ack"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as writer:
            writer.stdin.write(b"acknowledged\n")
            writer.stdin.flush()
            writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        path = sorted((self.store / "values").iterdir())[-1]
        size = path.stat().st_size
        self.add(path)
        found, = self.json_lines("verify", self.store)
        torn, = found["torn_ends"]
        self.assertEqual((torn["file"], torn["offset"]), (str(path), size))
        ran = self.expect(DONE, "archive", "prune", self.store, "--before", 10)
        self.assertIn("not saved: values that were written ahead", ran.stderr.decode())
        self.assertEqual(self.saved(), [])
        self.assertIn(b"not saved: values that", self.output("info", self.store))

    def told_copies(self, code, verb, *arguments):
        """The lines about copies. The exit code must be this one."""
        ran = self.expect(code, verb, self.store, *arguments)
        return sorted(line for line in ran.stdout.decode().splitlines()
                      if line.startswith("damaged copy: ")), ran

    def expect_copy_told(self, path, code):
        before = tree_of(self.store)
        copy = self.folder / "salvaged"
        said, ran = self.told_copies(code, "verify")
        self.assertEqual(len(said), 1, ran.stdout)
        self.assertIn(str(path), said[0])
        self.assertNotIn(b": no damage;", ran.stdout)
        self.assertEqual(self.told_copies(code, "salvage", copy)[0], said)
        shutil.rmtree(copy)
        self.assertEqual(tree_of(self.store), before)

    def test_a_first_commit_that_was_cut_off_is_no_loss(self):
        """A file may not grow beyond a limit in the middle of the commit: nobody was told of it."""
        value = self.folder / "value"
        value.write_bytes(bytes(100_000))
        self.expect(IO, "metadata", "put", self.store, "key", "--file", value,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000,) * 2),
                    restore_signals=False)
        left, right = (self.store / "state" / side.hex() for side in (b"left", b"right"))
        self.assertEqual((left.stat().st_size, right.stat().st_size), (8, 60_000))
        self.expect_copy_told(right, DONE)
        left.unlink()
        self.expect_copy_told(right, DONE)
        self.assertEqual(self.json_lines("metadata", "list", self.store), [])
        self.expect(DONE, "metadata", "put", self.store, "key", "--file", value)
        self.assertIn(b": no damage;", self.output("verify", self.store))

    def test_one_missing_copy_needs_no_backup(self):
        for make in (self.make_archive, self.make_freezer, self.make_metadata):
            make()
            for path in sorted(self.store.glob("*/*")):
                if path.name not in (b"left".hex(), b"right".hex()):
                    continue
                path.unlink()
                advice = self.expect(CORRUPT, "verify", self.store).stderr.decode()
                self.assertIn("the next commit writes this one again", advice)
                self.assertNotIn("firn salvage", advice)
                write = ("metadata", "put", self.store, "key", path.name)
                if make != self.make_metadata:
                    kind = self.json_lines("info", self.store)[0]["kind"]
                    write = (kind, "import", self.store, "-", "--lines")
                self.expect(DONE, *write, stdin=b"more\n")
                self.assertIn(b": no damage;", self.output("verify", self.store))
            shutil.rmtree(self.store)

    def test_one_bad_copy_is_told_by_verify_and_salvage_in_the_same_words(self):
        makers = (self.make_archive, self.make_freezer, self.make_metadata)
        for make in makers:
            make()
            copies = [path for path in sorted(self.store.glob("*/*"))
                      if path.name in (b"left".hex(), b"right".hex())]
            self.assertEqual(len(copies), 4 if make == makers[2] else 2)
            for path in copies:
                content = path.read_bytes()
                # A commit to the manifest may have been cut off; none to a store that was closed.
                torn = DONE if path.parent.name == "manifest" else CORRUPT
                for changed, code in ((content[:-1] + bytes([content[-1] ^ 1]), torn),
                                      (content[:-1], torn), (content + b"x", torn),
                                      (content[:8], torn), (None, CORRUPT)):
                    path.unlink()
                    if changed is not None:
                        path.write_bytes(changed)
                    self.expect_copy_told(path, code)
                    path.write_bytes(content)
            self.output("verify", self.store)
            shutil.rmtree(self.store)


if __name__ == "__main__":
    command_support.main()
