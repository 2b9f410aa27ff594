#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The verbs of `firn freezer` on temporary stores.

usage: command_freezer_test.py FIRN [unittest arguments]
"""
import shutil
import signal
import struct
import subprocess

import command_support
from command_support import (CORRUPT, DONE, LOCKED, NOT_FOUND, USAGE, CommandTest, crc32c, sha256,
                             tree_of)


class FreezerTest(CommandTest):
    def import_lines(self, lines, *arguments):
        text = b"".join(line + b"\n" for line in lines)
        return self.output("freezer", "import", self.store, "-", "--lines", *arguments, stdin=text)

    def get(self, content):
        return self.output("freezer", "get", self.store, "--key", sha256(content))

    def expect_all(self, contents):
        for content in contents:
            self.assertEqual(self.get(content), content)

    def stat(self):
        return self.json_lines("freezer", "stat", self.store)[0]

    def table_file(self):
        return next((self.store / "table").iterdir())


LINES = [b"line %d" % number for number in range(200)]


class Items(FreezerTest):
    def test_files_are_found_by_the_hash_of_their_content(self):
        tree = self.make_tree()
        self.output("freezer", "import", self.store, tree)
        files = tree_of(tree)
        self.expect_all(content for content, _, _ in files.values())
        listed = self.json_lines("freezer", "list", self.store)
        keys = {sha256(content) for content, _, _ in files.values()}
        self.assertEqual(len(listed), len(keys))
        self.assertEqual({item["key"] for item in listed}, keys)
        self.output("verify", self.store, "--deep")

    def test_what_is_there_already_is_not_put_again(self):
        self.import_lines(LINES)
        ran = self.run_firn("freezer", "import", self.store, "-", "--lines", "--json",
                            stdin=b"line 1\nnew\n")
        self.assertIn(b'"known":1', ran.stdout)
        self.assertEqual(self.stat()["items"], len(LINES) + 1)

    def test_files_of_equal_content_are_put_once(self):
        folder = self.folder / "equal"
        folder.mkdir()
        for name in ("one", "two", "three"):
            (folder / name).write_bytes(b"the same")
        (folder / "other").write_bytes(b"another")
        for _ in range(3):
            self.output("freezer", "import", self.store, folder)
            (folder / "two").touch()
            self.assertEqual(self.stat()["items"], 2)

    def test_one_value_is_put_and_found(self):
        key = self.output("freezer", "put", self.store, "hello").decode().strip()
        self.assertEqual(key, sha256(b"hello"))
        self.assertEqual(self.get(b"hello"), b"hello")
        content = bytes(range(256)) * 300
        self.output("freezer", "put", self.store, "--file", "-", "--key", "ab" * 32, stdin=content)
        got = self.output("freezer", "get", self.store, "--key", "ab" * 32)
        self.assertEqual(got, content)
        self.output("freezer", "put", self.store, "newer", "--key", "ab" * 32)
        self.assertEqual(self.output("freezer", "get", self.store, "--key", "ab" * 32), b"newer")
        self.assertEqual(self.stat()["items"], 3)

    def test_absent_keys_are_said_to_be_absent(self):
        self.import_lines(LINES)
        self.output("freezer", "contains", self.store, "--key", sha256(LINES[7]))
        self.failure(NOT_FOUND, "freezer", "get", self.store, "--key", sha256(b"absent"))
        said = self.json_lines("freezer", "contains", self.store, "--key", sha256(b"absent"),
                               code=NOT_FOUND)[0]
        self.assertFalse(said["present"])

    def test_acknowledgements_count_the_items_of_this_import(self):
        self.import_lines(LINES)
        acks = self.import_lines([b"a", b"b", b"c", LINES[0], b"d"], "--ack", "--sync-every", "2")
        self.assertEqual(acks.decode().split("\n")[:-1], ["synced 2", "synced 4", "synced 5"])

    def test_a_killed_import_keeps_what_it_acknowledged(self):
        command = [self.firn, "freezer", "import", str(self.store), "-", "--lines", "--ack",
                   "--sync-every", "10", "--table-size", "1"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as importer:
            importer.stdin.write(b"".join(b"item %d\n" % number for number in range(95)))
            importer.stdin.flush()
            acknowledged = 0
            while acknowledged < 90:
                acknowledged = int(importer.stdout.readline().split()[1])
            importer.send_signal(signal.SIGKILL)
        self.expect_all(b"item %d" % number for number in range(acknowledged))
        self.failure(NOT_FOUND, "freezer", "get", self.store, "--key", sha256(b"item 1000"))
        self.import_lines([b"item %d" % number for number in range(300)])
        self.expect_all(b"item %d" % number for number in range(300))
        self.output("verify", self.store, "--deep")


class Tables(FreezerTest):
    def test_a_lost_table_is_rebuilt_with_the_same_answers(self):
        self.import_lines(LINES, "--table-size", "2")
        before = self.table_file().read_bytes()
        self.table_file().unlink()
        self.expect_all(LINES)
        self.output("freezer", "rebuild", self.store)
        self.assertEqual(len(self.table_file().read_bytes()), len(before))
        self.expect_all(LINES)
        self.output("verify", self.store, "--deep")

    def test_damage_to_the_table_is_found_and_mended(self):
        self.import_lines(LINES)
        content = bytearray(self.table_file().read_bytes())
        slot = next(at for at in range(8, len(content), 29) if any(content[at:at + 29]))
        content[slot + 3] ^= 0x40
        self.table_file().write_bytes(content)
        said = self.expect(CORRUPT, "verify", self.store)
        self.assertIn(b"table/", said.stdout)
        self.assertIn(b"nothing is lost, 'firn freezer rebuild", said.stderr)
        self.expect_all(LINES)
        self.output("freezer", "rebuild", self.store)
        self.output("verify", self.store)

    def test_a_large_empty_table_takes_no_space(self):
        self.import_lines(LINES[:20], "--table-size", str(1 << 22))
        status = self.table_file().stat()
        self.assertEqual(status.st_size, 8 + 58 * (1 << 22))
        self.assertLess(status.st_blocks * 512, 1 << 20)
        self.expect_all(LINES[:20])
        self.output("freezer", "rebuild", self.store)
        self.assertLess(self.table_file().stat().st_blocks * 512, 1 << 20)
        self.expect_all(LINES[:20])
        self.output("verify", self.store)

    def test_damage_to_a_value_is_reported_not_returned(self):
        self.import_lines(LINES)
        values = next((self.store / "values").iterdir())
        content = bytearray(values.read_bytes())
        content[8 + 3] ^= 1
        values.write_bytes(content)
        self.failure(CORRUPT, "freezer", "get", self.store, "--key", sha256(LINES[0]))
        self.assertEqual(self.get(LINES[1]), LINES[1])
        self.failure(CORRUPT, "verify", self.store, "--deep")


class Advice(FreezerTest):
    """Whatever is wrong with the files: the right content, or an error that says what to do."""

    def make_other(self, lines):
        other = self.folder / "other"
        text = b"".join(line + b"\n" for line in lines)
        self.output("freezer", "import", other, "-", "--lines", stdin=text)
        return other

    def exchange(self, other, partition):
        shutil.rmtree(self.store / partition)
        shutil.copytree(other / partition, self.store / partition)

    def expect_advice(self, *arguments, advice="firn freezer rebuild |firn salvage"):
        ran = self.run_firn(*arguments)
        said = ran.stderr.decode()
        self.assertIn(ran.returncode, (DONE, CORRUPT), said)
        if ran.returncode == CORRUPT:
            self.assertRegex(said, advice)
        return ran

    def expect_right_or_advice(self, **of_verify):
        """Verbs that change nothing first, then a put, a rebuild and a look at what that left."""
        for line in LINES[::40]:
            ran = self.expect_advice("freezer", "get", self.store, "--key", sha256(line))
            self.assertIn(ran.stdout, (line, b""))
        self.expect_advice("freezer", "stat", self.store)
        self.expect_advice("info", self.store)
        self.expect_advice("freezer", "list", self.store)
        self.expect_advice("verify", self.store, "--deep", **of_verify)
        self.expect_advice("freezer", "put", self.store, "new value")
        self.expect_advice("freezer", "rebuild", self.store)
        self.expect_advice("verify", self.store, "--deep")

    def test_a_table_of_any_other_length(self):
        self.import_lines(LINES)
        whole = self.table_file().read_bytes()
        for length in 0, 8, 100, len(whole) - 1, len(whole) + 1, 2 * len(whole):
            with self.subTest(length=length):
                self.table_file().write_bytes((whole + bytes(length))[:length])
                said = self.expect(CORRUPT, "verify", self.store)
                self.assertIn(b"shorter" if length < len(whole) else b"longer", said.stdout)
                self.assertIn(b"firn freezer rebuild STORE", said.stdout)
                self.expect_right_or_advice()
                self.output("verify", self.store, "--deep")
                self.expect_all(LINES)
                whole = self.table_file().read_bytes()

    def test_something_else_in_the_place_of_the_table(self):
        """A rebuild cannot take it away: who is told to rebuild is told to move it away first."""
        for name, replace in (("table/7461626c65", lambda path: path.mkdir()),
                              ("table", lambda path: path.write_bytes(b"text"))):
            with self.subTest(name=name):
                self.import_lines(LINES)
                place = self.store / name
                place.rename(self.folder / f"table of {name}".replace("/", " "))
                replace(place)
                told = (f"{self.store}/{name}'.*s (not )?a directory.* move it away.*; nothing is "
                        "lost, run `firn freezer rebuild STORE`")
                for depth in (), ("--deep",):
                    said = self.expect(CORRUPT, "verify", self.store, *depth)
                    self.assertRegex(said.stdout.decode(), told)
                    self.assertIn(b"move away what is in the table's place, then 'firn freezer",
                                  said.stderr)
                self.assertRegex(self.output("info", self.store).decode(), told)
                self.expect_all(LINES)
                for verb in ("put", self.store, "new value"), ("rebuild", self.store):
                    refusal = self.failure(CORRUPT, "freezer", *verb)
                    self.assertRegex(refusal, f"{self.store}/{name}'.* move it away")
                place.rename(self.folder / f"moved from {name}".replace("/", " "))
                self.output("freezer", "rebuild", self.store)
                self.output("verify", self.store, "--deep")
                self.expect_all(LINES)
                shutil.rmtree(self.store)

    def test_cut_and_damaged_keys_and_values(self):
        self.import_lines(LINES)
        for partition in "index", "values":
            path = next((self.store / partition).iterdir())
            whole = path.read_bytes()
            flipped = whole[:500] + bytes([whole[500] ^ 4]) + whole[501:]
            for change, content in (("end", whole[:-1]), ("half", whole[:len(whole) // 2]),
                                    ("header", whole[:8]), ("nothing", b""), ("bit", flipped),
                                    ("magic", b"x" + whole[1:])):
                with self.subTest(partition=partition, change=change):
                    shutil.copytree(self.store, self.folder / "copy")
                    path.write_bytes(content)
                    self.expect_right_or_advice()
                    shutil.rmtree(self.store)
                    (self.folder / "copy").rename(self.store)
            with self.subTest(partition=partition, change="missing"):
                shutil.copytree(self.store, self.folder / "copy")
                shutil.rmtree(self.store / partition)
                self.expect_right_or_advice()
                shutil.rmtree(self.store)
                (self.folder / "copy").rename(self.store)

    def test_records_that_lead_forward_or_nowhere(self):
        self.import_lines(LINES)
        path = next((self.store / "index").iterdir())
        whole = path.read_bytes()
        page, record, key = 4084, 60, 32
        for section, position in (0, 5), (0, 6), (0, 100_000), (7, 0):
            with self.subTest(section=section, position=position):
                content = bytearray(whole)
                at = 8 + 5 * record + key
                content[at:at + 16] = struct.pack(">QQ", section, position)
                content[8 + page + 2:8 + page + 6] = struct.pack(">I", crc32c(content[8:8 + page]))
                path.write_bytes(content)
                said = self.failure(CORRUPT, "freezer", "stat", self.store)
                self.assertIn(f"record 5 of key section 0 leads forward, to record {position} of "
                              f"section {section}", said)
                said = self.expect(CORRUPT, "verify", self.store)
                self.assertIn(b"leads forward", said.stdout)
                self.assertNotIn(b"nothing is lost", said.stderr)  # no rebuild mends it
                self.expect_right_or_advice()
                shutil.rmtree(self.store)
                self.import_lines(LINES)

    def test_a_record_that_names_an_impossible_value(self):
        """It is damage, of this record alone, and the rest is listed and checked."""
        self.import_lines(LINES)
        path = next((self.store / "index").iterdir())
        whole = path.read_bytes()
        page, record, key = 4084, 60, 32
        for offset, size in (20, 0), (20, 3), (2**64 - 1, 20), (2**63, 20), (1 << 40, 20):
            with self.subTest(offset=offset, size=size):
                content = bytearray(whole)
                at = 8 + 5 * record + key + 16
                content[at:at + 12] = struct.pack(">QI", offset, size)
                content[8 + page + 2:8 + page + 6] = struct.pack(">I", crc32c(content[8:8 + page]))
                path.write_bytes(content)
                for arguments in (), ("--deep",):
                    said = self.expect(CORRUPT, "verify", self.store, *arguments)
                    self.assertIn(b"damaged in 1 place", said.stderr)
                self.expect_right_or_advice()
                listed = self.expect(CORRUPT, "freezer", "list", self.store)
                self.assertGreaterEqual(len(listed.stdout.splitlines()), len(LINES))
                shutil.rmtree(self.store)
                self.import_lines(LINES)

    def test_files_of_another_freezer(self):
        for lines in ([b"other %d" % number for number in range(count)] for count in (90, 500)):
            other = self.make_other(lines)
            for partition in "index", "table", "manifest":
                with self.subTest(count=len(lines), partition=partition):
                    self.import_lines(LINES)
                    self.exchange(other, partition)
                    said = self.expect(CORRUPT, "verify", self.store)
                    self.assertRegex(said.stdout.decode() + said.stderr.decode(),
                                     "another store|not of one state|known durable")
                    self.expect_right_or_advice()
                    shutil.rmtree(self.store)
            shutil.rmtree(other)

    def test_a_lost_manifest(self):
        """Reading goes on; nothing is written under a guess."""
        self.import_lines(LINES, "--page-size", "1000")
        told = "--key-size", 32, "--page-size", 1000
        shutil.rmtree(self.store / "manifest")
        got = self.output("freezer", "get", self.store, "--key", sha256(LINES[0]), *told)
        self.assertEqual(got, LINES[0])
        before = tree_of(self.store)
        for arguments in (), ("--page-size", 1000), ("--key-size", 32):
            for verb in ("put", "value"), ("rebuild",), ("import", __file__):
                said = self.failure(USAGE, "freezer", verb[0], self.store, *verb[1:], *arguments)
                self.assertIn("restore the partition 'manifest'", said)
                self.assertIn("firn salvage SRC DST", said)
        after = tree_of(self.store)
        before.pop("LOCK"), after.pop("LOCK")
        self.assertEqual(after, before)
        self.output("freezer", "put", self.store, "value", *told)
        self.output("verify", self.store, "--deep", *told)
        copy = self.folder / "copy"
        self.output("salvage", self.store, copy, *told)
        self.assertEqual(len(self.json_lines("freezer", "list", copy)), len(LINES) + 1)

    def test_a_manifest_whose_files_are_lost(self):
        self.import_lines(LINES)
        files = {path: path.read_bytes() for path in (self.store / "manifest").iterdir()}
        copies = [path for path in files if path.name in (b"left".hex(), b"right".hex())]
        for lost in (files, copies, copies[:1], copies[1:]):
            with self.subTest(lost=[path.name for path in lost]):
                for path in lost:
                    path.unlink()
                said = self.expect(CORRUPT, "verify", self.store)
                of_verify = {}
                if len(lost) == 1:
                    self.assertEqual(said.stdout.count(b"damaged copy: "), 1)
                    self.assertIn(lost[0].name.encode(), said.stdout)
                    of_verify["advice"] = "the next commit writes this one again"
                self.expect_right_or_advice(**of_verify)
                shutil.rmtree(self.store)
                self.import_lines(LINES)
                files = {path: path.read_bytes() for path in (self.store / "manifest").iterdir()}

    def test_a_key_journal_of_another_freezer_with_as_many_items(self):
        lines = [b"other %d" % number for number in range(200)]
        other = self.make_other(lines)
        for partitions in ("index",), ("index", "values"), ("index", "values", "table"):
            with self.subTest(partitions=partitions):
                self.import_lines(LINES)
                for partition in partitions:
                    self.exchange(other, partition)
                extra = {"get": ("--key", sha256(LINES[0])), "put": ("value",)}
                for verb in "verify", "freezer get", "freezer put", "freezer list":
                    said = self.expect(CORRUPT, *verb.split(), self.store,
                                       *extra.get(verb.split()[-1], ()))
                    self.assertIn(b"files of another store", said.stderr + said.stdout)
                self.output("freezer", "rebuild", self.store)
                if "values" in partitions:  # it goes by the key journal, which is another one's
                    self.output("verify", self.store, "--deep")
                    self.expect_all(lines)
                shutil.rmtree(self.store)


class Requests(FreezerTest):
    def test_wrong_requests_are_refused_and_make_nothing(self):
        self.failure(NOT_FOUND, "freezer", "get", self.store, "--key", "00" * 32)
        for size in "3", "0", "-1", "4294967295", "4294967296", "1e3", "":
            self.failure(USAGE, "freezer", "import", self.store, "-", "--lines", "--table-size",
                         size)
        for size in "0", "1025":
            said = self.failure(USAGE, "freezer", "put", self.store, "value", "--key-size", size)
            self.assertIn("1 and 1024", said)
        for family in "archive", "freezer":
            self.failure(USAGE, family, "import", self.store, "-", "--lines", "--partition",
                         "index=no/slash")
        self.assertFalse(self.store.exists())
        self.failure(NOT_FOUND, "freezer", "import", self.store, self.folder / "no")
        self.failure(USAGE, "freezer", "import", self.store, "-", "--lines", "--key-size", "20")
        self.import_lines(LINES)
        self.failure(USAGE, "freezer", "get", self.store, "--key", "xyz")
        self.failure(USAGE, "freezer", "get", self.store, "--key", "00")
        self.failure(USAGE, "freezer", "stat", self.store, "--page-size", "512")
        self.failure(USAGE, "archive", "stat", self.store)
        self.expect_all(LINES)

    def test_a_second_writer_is_refused(self):
        self.import_lines(LINES)
        command = [self.firn, "freezer", "import", str(self.store), "-", "--lines", "--ack",
                   "--sync-every", "1"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as importer:
            importer.stdin.write(b"held\n")
            importer.stdin.flush()
            importer.stdout.readline()
            self.failure(LOCKED, "freezer", "put", self.store, "value")
            importer.stdin.close()
            self.assertEqual(importer.wait(), DONE)

    def test_info_says_what_it_is(self):
        self.import_lines(LINES)
        info = self.json_lines("info", self.store)[0]
        self.assertEqual(info["kind"], "freezer")
        self.assertEqual(info["freezer"]["items"], len(LINES))
        self.assertTrue(info["clean"])


if __name__ == "__main__":
    command_support.main()
