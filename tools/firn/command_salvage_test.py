#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""firn salvage: what can be read of a damaged store of any kind, in a new one; the damaged one is
left as it is."""
import os
import shutil
import subprocess

import command_support
from command_support import (CORRUPT, DONE, IO, LOCKED, NOT_FOUND, USAGE, CommandTest, sha256,
                             tree_of)

NOBODY = 65534


class Salvage(CommandTest):
    def setUp(self):
        super().setUp()
        self.copy = self.folder / "copy"

    def salvage(self, code, *arguments):
        """The losses and the summary; the damaged store stays as it is to the last bit."""
        before = tree_of(self.store)
        lines = self.json_lines("salvage", self.store, self.copy, *arguments, code=code)
        self.assertEqual(tree_of(self.store), before)
        summary = lines.pop()
        self.assertEqual("error" in summary, code != DONE)
        self.assertEqual(len(lines), sum(summary[told] for told in ("losses", "torn_ends",
                                                               "damaged_copies", "unread")))
        return [line["lost"] for line in lines], summary

    def make_archive(self, count=300):
        """Ten items a section, in pages of which each holds a few records."""
        self.lines = [b"line %d of the store" % number * (number % 7 + 1)
                      for number in range(count)]
        self.import_lines(self.lines, "--items-per-section", "10", "--page-size", "200")

    def items_of(self, store):
        return {line["index"]: line["key"] for line in self.json_lines("archive", "list", store)}

    def flip(self, path, offset):
        content = bytearray(path.read_bytes())
        content[offset] ^= 1
        path.write_bytes(content)

    def test_an_undamaged_archive_comes_over_whole(self):
        self.make_archive()
        self.output("archive", "prune", self.store, "--before", 25)
        losses, summary = self.salvage(DONE)
        self.assertEqual((losses, summary["items"], summary["kind"]), ([], 280, "archive"))
        self.assertEqual(self.items_of(self.copy), self.items_of(self.store))
        self.output("verify", self.copy, "--deep")
        geometry = [self.json_lines("info", store)[0]["geometry"] for store in
                    (self.store, self.copy)]
        self.assertEqual(geometry[0], geometry[1])
        self.assertEqual(self.json_lines("archive", "stat", self.copy)[0],
                         self.json_lines("archive", "stat", self.store)[0])

    def test_damage_in_the_middle_costs_what_it_covers(self):
        self.make_archive()
        value = sorted((self.store / "values").iterdir())[7]
        self.flip(value, 8 + 40)
        index = sorted((self.store / "index").iterdir())[12]
        self.flip(index, 8 + 212 + 5)  # the second page
        losses, summary = self.salvage(CORRUPT)
        self.assertEqual(summary["losses"], 2)
        known, = [loss for loss in losses if loss["index"] is not None]
        self.assertEqual((known["file"], known["index"] // 10), (str(value), 7))
        self.assertEqual(known["key"], sha256(self.lines[known["index"]]))
        unknown, = [loss for loss in losses if loss["index"] is None]
        self.assertEqual((unknown["file"], unknown["offset"], unknown["length"]),
                         (str(index), 8 + 212, 212))
        kept = self.items_of(self.copy)
        self.assertEqual(len(kept), summary["items"])
        missing = set(range(300)) - set(kept)
        self.assertLessEqual(len(missing), 1 + unknown["items"])
        self.assertTrue(all(number == known["index"] or number // 10 == 12 for number in missing))
        for number in set(kept) & {0, 75, 129, 299}:
            self.assertEqual(self.output("archive", "get", self.copy, "--index", number),
                             self.lines[number])
        ran = self.expect(CORRUPT, "salvage", self.store, self.folder / "another")
        self.assertIn(f"lost: {value} at file offset".encode(), ran.stdout)
        self.assertIn(b"in 2 places", ran.stderr)

    def test_any_file_missing(self):
        self.make_archive(40)
        for path in sorted(self.store.rglob("*")):
            if path.is_dir():
                continue
            content = path.read_bytes()
            path.unlink()
            is_data = path.parent.name in ("index", "values")
            is_needless = path.name in ("LOCK", "666c6f6f7273")
            _, summary = self.salvage(DONE if is_needless else CORRUPT)
            self.assertEqual(summary["items"], 30 if is_data else 40, path)
            path.write_bytes(content)
            shutil.rmtree(self.copy)

    def test_no_manifest(self):
        self.make_archive(40)
        shutil.rmtree(self.store / "manifest")
        _, summary = self.salvage(DONE, "--page-size", "200", "--items-per-section", "10")
        self.assertEqual((summary["items"], len(summary["notes"])), (40, 1))
        shutil.rmtree(self.copy)
        _, summary = self.salvage(CORRUPT)  # pages of another size
        self.assertEqual((summary["items"], summary["target_made"]), (0, False))
        self.assertFalse(self.copy.exists())

    def test_a_freezer_without_its_table(self):
        lines = [b"content %d" % number for number in range(100)]
        text = b"".join(line + b"\n" for line in lines)
        self.output("freezer", "import", self.store, "-", "--lines", stdin=text)
        shutil.rmtree(self.store / "table")
        losses, summary = self.salvage(DONE)
        self.assertEqual((losses, summary["items"], summary["kind"]), ([], 100, "freezer"))
        for line in lines[::9]:
            self.assertEqual(self.output("freezer", "get", self.copy, "--key", sha256(line)),
                             line)
        self.output("verify", self.copy, "--deep")
        shutil.rmtree(self.copy)
        self.flip(self.values_file(), 8 + 5)
        losses, summary = self.salvage(CORRUPT)
        self.assertEqual((losses[0]["key"], summary["items"]), (sha256(lines[0]), 99))

    def test_metadata(self):
        for number in range(5):
            self.output("metadata", "put", self.store, f"key{number}", f"value{number}")
        _, summary = self.salvage(DONE)
        self.assertEqual((summary["items"], summary["kind"]), (5, "metadata"))
        self.assertEqual(self.output("metadata", "get", self.copy, "key3"), b"value3")
        shutil.rmtree(self.copy)
        copies = sorted((self.store / "state").iterdir())
        self.flip(copies[0], 30)
        _, summary = self.salvage(CORRUPT)
        self.assertEqual(summary["items"], 5)
        shutil.rmtree(self.copy)
        self.flip(copies[1], 30)
        losses, summary = self.salvage(CORRUPT)
        self.assertFalse(summary["target_made"])
        self.assertFalse(self.copy.exists())
        self.assertGreater(len([loss for loss in losses if loss["key"]]), 0)

    def test_names_of_foreign_files_cannot_paint_the_terminal(self):
        self.make_archive(5)
        (self.store / "index" / "\x1b[31mred\n").write_text("x")
        losses, summary = self.salvage(CORRUPT)
        self.assertEqual((losses[0]["reason"], summary["items"]), ("it is no blob", 5))
        shutil.rmtree(self.copy)
        self.assertNotIn(b"\x1b", self.expect(CORRUPT, "salvage", self.store, self.copy).stdout)

    def test_the_new_store_must_be_elsewhere_and_empty(self):
        self.make_archive(5)
        inside = self.store / "new"
        link = self.folder / "link"
        link.symlink_to(self.store)
        full = self.folder / "full"
        full.mkdir()
        (full / "file").write_text("x")
        before = tree_of(self.store)
        for target in (self.store, inside, link, link / "new", f"{self.store}/../store/", full,
                       full / "file"):
            self.failure(USAGE, "salvage", self.store, target)
        self.assertEqual(tree_of(self.store), before)
        self.failure(NOT_FOUND, "salvage", self.folder / "nothing", self.copy)
        self.assertFalse(self.copy.exists())
        self.copy.mkdir()
        self.salvage(DONE)

    def test_a_store_with_a_writer_is_left_alone(self):
        self.make_archive(5)
        with subprocess.Popen([self.firn, "archive", "import", str(self.store), "-", "--lines",
                               "--ack", "--sync-every", "1"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as writer:
            writer.stdin.write(b"more\n")
            writer.stdin.flush()
            writer.stdout.readline()
            self.failure(LOCKED, "salvage", self.store, self.copy)
            self.assertFalse(self.copy.exists())
            writer.stdin.close()
        self.salvage(DONE)

    def test_what_cannot_be_opened_is_named_and_not_called_lost(self):
        self.make_archive(40)
        place = self.folder / "place"
        place.mkdir()
        place.chmod(0o777)
        program = self.folder / "firn"
        shutil.copy(self.firn, program)
        program.chmod(0o755)
        for path in self.store.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.store.chmod(0o755)
        as_nobody = {"program": str(program)}
        if os.getuid() == 0:  # who may do everything
            as_nobody["preexec_fn"] = lambda: os.setresuid(NOBODY, NOBODY, NOBODY)
        index, values, manifest = (self.store / name for name in ("index", "values", "manifest"))
        cases = [(index, 0), (values, 0), (manifest, None), (min(index.iterdir()), 30),
                 (min(values.iterdir()), 30), (manifest / b"left".hex(), 40)]
        for path, items in cases:
            mode = path.stat().st_mode
            path.chmod(0)
            lines = self.json_lines("salvage", self.store, place / "copy", code=IO, **as_nobody)
            ran = self.expect(IO, "salvage", self.store, place / "another", **as_nobody)
            path.chmod(mode)
            summary = lines.pop()
            told = [line["lost"] for line in lines]
            unread = [loss for loss in told if loss["unread"]]
            self.assertEqual(summary["unread"], len(unread))
            self.assertTrue(all("Permission denied" in loss["reason"] for loss in unread), unread)
            self.assertTrue(any(str(path) in loss["file"] or str(path) in loss["reason"]
                                for loss in unread), (path, unread))
            self.assertIn(b"could not be read: ", ran.stdout)
            self.assertIn(b"nothing is known to be lost", ran.stderr)
            if items is not None:
                self.assertEqual(summary["items"], items, path)
                self.assertEqual(summary["target_made"], items > 0)
            if path != manifest:  # without it nobody knows the page size
                self.assertEqual(summary["losses"], 0, told)
            for made in ("copy", "another"):
                shutil.rmtree(place / made, ignore_errors=True)
        self.store.chmod(0)
        self.assertIn("Permission denied",
                      self.failure(IO, "salvage", self.store, place / "copy", **as_nobody))
        self.store.chmod(0o755)

    def test_nobody_may_write_to_the_damaged_store(self):
        self.make_archive(40)
        (self.store / "LOCK").unlink()
        self.flip(self.values_file(), 20)
        folders = [self.store] + [path for path in self.store.rglob("*") if path.is_dir()]
        for path in self.store.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        for folder in folders:
            folder.chmod(0o555)
        times = [os.stat(folder).st_mtime_ns for folder in folders]
        _, summary = self.salvage(CORRUPT)
        self.assertEqual(summary["items"], 39)
        self.assertEqual([os.stat(folder).st_mtime_ns for folder in folders], times)
        self.assertFalse((self.store / "LOCK").exists())
        for folder in folders:
            folder.chmod(0o755)


if __name__ == "__main__":
    command_support.main()
