#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the built command on temporary stores: every verb, every exit code, crashes, full disks.

usage: command_test.py FIRN [unittest arguments]
"""
import hashlib
import json
import os
import pty
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

FIRN = ""
DONE, USAGE, NOT_FOUND, CORRUPT, LOCKED, IO = range(6)
NOBODY = 65534


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
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-command-"))
        self.folder.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.folder)
        self.store = self.folder / "store"

    def run_firn(self, *arguments, stdin=b"", **options):
        command = [options.pop("program", FIRN)] + [str(a) for a in arguments]
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
        self.assertIn(last["error"]["message"].split(";")[0], plain)
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


class Files(CommandTest):
    def test_a_tree_comes_back_as_it_was(self):
        tree = self.make_tree()
        (tree / "link").symlink_to("/etc/passwd")
        (tree / "empty").mkdir()
        self.output("archive", "import", self.store, tree)
        self.output("archive", "export", self.store, "--to", self.folder / "out")
        back = self.folder / "out" / str(tree).lstrip("/")
        self.assertEqual(tree_of(back), tree_of(tree))

    def test_items_are_found_by_index_and_by_key(self):
        tree = self.make_tree()
        self.output("archive", "import", self.store, tree)
        listed = self.json_lines("archive", "list", self.store)
        self.assertEqual([item["index"] for item in listed], list(range(20)))
        self.assertEqual([item["path"] for item in listed], sorted(i["path"] for i in listed))
        for item in listed:
            content = Path("/" + item["path"]).read_bytes()
            self.assertEqual(item["key"], sha256(content))
            self.assertEqual(item["size"], len(content))
            self.assertEqual(self.output("archive", "get", self.store, "--index", item["index"]),
                             content)
            self.assertEqual(self.output("archive", "get", self.store, "--key", item["key"]),
                             content)
            raw = self.output("archive", "get", self.store, "--index", item["index"], "--raw")
            line, rest = raw.split(b"\n", 1)
            self.assertEqual(rest, content)
            about = json.loads(line)
            status = Path("/" + item["path"]).stat()
            self.assertEqual(list(about), ["path", "mode", "mtime", "size"])
            self.assertEqual(about["mode"], status.st_mode & 0o7777)
            self.assertEqual(round(float(about["mtime"]), 3), round(status.st_mtime, 3))

    def test_the_stored_value_is_a_byte_vector_of_the_original(self):
        (self.folder / "a").write_bytes(b"x" * 300)
        self.output("archive", "import", self.store, self.folder / "a")
        raw = self.output("archive", "get", self.store, "--index", 0, "--raw")
        length = bytes([len(raw) & 0x7F | 0x80, len(raw) >> 7])
        stored = self.values_file().read_bytes()[8:]
        self.assertEqual(stored, length + raw + struct.pack(">I", crc32c(length + raw)))

    def test_import_continues_after_the_last_index(self):
        (self.folder / "a").write_bytes(b"first")
        (self.folder / "b").write_bytes(b"second")
        self.output("archive", "import", self.store, self.folder / "a")
        summary = self.json_lines("archive", "import", self.store, self.folder / "b")[-1]
        self.assertEqual((summary["first_index"], summary["last_index"]), (1, 1))
        self.assertEqual(self.output("archive", "get", self.store, "--index", 1), b"second")

    def test_paths_are_stored_without_anything_that_leads_upwards(self):
        below = self.folder / "x" / "y"
        below.mkdir(parents=True)
        (self.folder / "x" / "f").write_bytes(b"1")
        for path in ("../f", "./../f", "../../x/f"):
            self.output("archive", "import", self.store, path, cwd=below)
        self.assertEqual([i["path"] for i in self.json_lines("archive", "list", self.store)],
                         ["f", "f", "x/f"])

    def test_names_that_are_no_utf8_come_back(self):
        tree = self.folder / "tree"
        tree.mkdir()
        for name in (b"caf\xe9", "naïve".encode(), b'quo"te\n', b"\xed\xa0\x80"):
            Path(os.fsdecode(os.path.join(os.fsencode(tree), name))).write_bytes(name)
        self.output("archive", "import", self.store, ".", cwd=tree)
        self.output("archive", "export", self.store, "--to", self.folder / "out")
        self.assertEqual(tree_of(self.folder / "out"), tree_of(tree))
        self.json_lines("archive", "list", self.store)

    def test_the_last_one_of_a_path_wins(self):
        path = self.folder / "a"
        for content in (b"long ago", b"now"):
            path.write_bytes(content)
            self.output("archive", "import", self.store, "a", cwd=self.folder)
        self.output("archive", "export", self.store, "--to", self.folder / "out")
        self.assertEqual((self.folder / "out" / "a").read_bytes(), b"now")

    def test_a_store_inside_the_imported_folder_is_left_out(self):
        tree = self.make_tree(5)
        store = tree / "store"
        for _ in range(2):
            self.output("archive", "import", store, tree)
        paths = {item["path"] for item in self.json_lines("archive", "list", store)}
        self.assertEqual(len(paths), 5)

    def test_paths_that_cannot_be_imported(self):
        link = self.folder / "link"
        link.symlink_to("/etc")
        os.mkfifo(self.folder / "pipe")
        self.failure(NOT_FOUND, "archive", "import", self.store, self.folder / "nothing")
        self.failure(USAGE, "archive", "import", self.store, link)
        self.failure(USAGE, "archive", "import", self.store, self.folder / "pipe")
        self.assertFalse(self.store.exists())

    def test_a_file_that_is_too_large_is_left_out(self):
        tree = self.folder / "tree"
        tree.mkdir()
        (tree / "a").write_bytes(b"a")
        with open(tree / "large", "wb") as large:
            large.truncate(5 << 30)
        ran = self.expect(IO, "archive", "import", self.store, tree)
        self.assertIn("large' has more than 42949", ran.stderr.decode())
        self.assertEqual(len(self.json_lines("archive", "list", self.store)), 1)

    def test_an_empty_folder_and_an_empty_file(self):
        (self.folder / "tree").mkdir()
        self.output("archive", "import", self.store, self.folder / "tree")
        self.assertEqual(self.json_lines("archive", "stat", self.store)[0]["items"], 0)
        (self.folder / "tree" / "empty").write_bytes(b"")
        self.output("archive", "import", self.store, self.folder / "tree")
        self.assertEqual(self.output("archive", "get", self.store, "--key", sha256(b"")), b"")

    def test_compressed_values(self):
        path = self.folder / "a"
        path.write_bytes(b"again " * 10_000)
        self.output("archive", "import", self.store, path, "--compression", 3)
        self.assertLess(self.values_file().stat().st_size, 1000)
        self.assertEqual(self.output("archive", "get", self.store, "--index", 0),
                         path.read_bytes())
        self.output("archive", "import", self.store, path)
        self.assertEqual(self.output("archive", "get", self.store, "--index", 1),
                         path.read_bytes())
        self.output("verify", self.store, "--deep")


class Lines(CommandTest):
    def test_every_line_is_an_item(self):
        lines = [b"one", b"", b"three\r", b"\xff\x00binary", b"", b"x" * 3_000_000, b"last"]
        self.output("archive", "import", self.store, "--lines", "-", stdin=b"\n".join(lines))
        for index, line in enumerate(lines):
            self.assertEqual(self.output("archive", "get", self.store, "--index", index), line)
            self.assertEqual(self.output("archive", "get", self.store, "--key", sha256(line)), line)
        self.assertEqual(self.output("archive", "export", self.store, "--lines"),
                         b"".join(line + b"\n" for line in lines))

    def test_a_newline_at_the_end_starts_no_line(self):
        self.output("archive", "import", self.store, "--lines", "-", stdin=b"a\nb\n")
        self.assertEqual(self.json_lines("archive", "stat", self.store)[0]["items"], 2)
        self.output("archive", "import", self.store, "--lines", "-", stdin=b"")
        self.assertEqual(self.json_lines("archive", "stat", self.store)[0]["items"], 2)

    def test_lines_of_files(self):
        (self.folder / "b").write_bytes(b"3\n4")
        (self.folder / "a").write_bytes(b"1\n2\n")
        self.output("archive", "import", self.store, "--lines", self.folder / "a",
                    self.folder / "b")
        self.assertEqual(self.output("archive", "export", self.store, "--lines"), b"1\n2\n3\n4\n")

    def test_a_file_that_cannot_be_read_costs_no_line_of_another(self):
        good = self.folder / "good"
        good.write_bytes(b"one\ntwo\n")
        self.expect(IO, "archive", "import", self.store, good, "/proc/self/mem", "--lines")
        self.assertEqual(self.output("archive", "get", self.store, "--index", 1), b"two")

    def test_lines_cannot_be_exported_as_files(self):
        self.import_lines([b"a", b"b"])
        text = self.failure(USAGE, "archive", "export", self.store, "--to", self.folder / "out")
        self.assertIn("--lines", text)

    def test_acknowledgements(self):
        ran = self.output("archive", "import", self.store, "-", "--lines", "--ack",
                          "--sync-every", 2, stdin=b"a\nb\nc\nd\ne\n")
        self.assertEqual(ran, b"synced 1\nsynced 3\nsynced 4\n")
        ran = self.json_lines("archive", "import", self.store, "-", "--lines", "--ack",
                              "--sync-every", 1, stdin=b"f\ng\n")
        self.assertEqual(ran[:2], [{"synced": 5}, {"synced": 6}])
        self.assertEqual(ran[2]["items"], 2)
        ran = self.output("archive", "import", self.store, "-", "--lines", "--ack", stdin=b"")
        self.assertEqual(ran, b"")

    def test_list(self):
        self.import_lines([b"%d" % i for i in range(10)])

        def indices(*arguments):
            listed = self.output("archive", "list", self.store, *arguments).decode()
            return [int(line.split("\t")[0]) for line in listed.splitlines()]
        self.assertEqual(indices(), list(range(10)))
        self.assertEqual(indices("--from", 7), [7, 8, 9])
        self.assertEqual(indices("--from", 3, "--limit", 2), [3, 4])
        self.assertEqual(indices("--reverse", "--limit", 3), [9, 8, 7])
        self.assertEqual(indices("--reverse", "--from", 1), [1, 0])
        self.assertEqual(indices("--limit", 0), [])
        self.assertEqual(indices("--from", 2**64 - 1), [])
        first = self.output("archive", "list", self.store, "--limit", 1).decode()
        self.assertEqual(first, f"0\t{sha256(b'0')}\t1\n")

    def test_json_of_get(self):
        self.import_lines([b"text", b"\xff\xfe"])
        text, = self.json_lines("archive", "get", self.store, "--index", 0)
        self.assertEqual(text, {"index": 0, "key": sha256(b"text"), "size": 4,
                                "encoding": "utf-8", "content": "text"})
        binary, = self.json_lines("archive", "get", self.store, "--index", 1)
        self.assertEqual((binary["encoding"], binary["content"]), ("base64", "//4="))


class Pruning(CommandTest):
    def setUp(self):
        super().setUp()
        self.import_lines([b"%d" % i for i in range(35)], "--items-per-section", 10)

    def test_prune_drops_whole_sections(self):
        before = tree_of(self.store)
        plan, = self.json_lines("archive", "prune", self.store, "--before", 25, "--dry-run")
        self.assertEqual((plan["sections"], plan["items"], plan["oldest_allowed"]), (2, 20, 20))
        self.assertEqual(tree_of(self.store), before)
        done, = self.json_lines("archive", "prune", self.store, "--before", 25)
        self.assertEqual({**plan, "dry_run": False}, done)
        self.assertIn("pruned", self.failure(NOT_FOUND, "archive", "get", self.store,
                                             "--index", 19))
        self.failure(NOT_FOUND, "archive", "get", self.store, "--key", sha256(b"19"))
        self.assertEqual(self.output("archive", "get", self.store, "--index", 20), b"20")
        again, = self.json_lines("archive", "prune", self.store, "--before", 25)
        self.assertEqual((again["sections"], again["oldest_allowed"]), (0, 20))

    def test_the_import_into_an_empty_pruned_store_starts_at_the_boundary(self):
        self.output("archive", "prune", self.store, "--before", 100)
        self.assertEqual(self.json_lines("archive", "stat", self.store)[0]["items"], 0)
        self.import_lines([b"new"])
        self.assertEqual(self.output("archive", "get", self.store, "--index", 100), b"new")

    def test_a_missing_index(self):
        self.assertIn("missing", self.failure(NOT_FOUND, "archive", "get", self.store,
                                              "--index", 35))
        self.failure(NOT_FOUND, "archive", "get", self.store, "--index", 2**64 - 1)

    def test_gaps(self):
        self.assertEqual(self.output("archive", "gaps", self.store), b"")
        # Without its manifest nobody knows that this section ever was.
        shutil.rmtree(self.store / "manifest")
        for partition in ("index", "values"):
            (self.store / partition / f"{10:016x}").unlink()
        arguments = (self.store, "--items-per-section", 10)
        self.assertEqual(self.output("archive", "gaps", *arguments), b"10\t19\t10\n")
        self.assertEqual(self.json_lines("archive", "gaps", *arguments),
                         [{"start": 10, "end": 19, "count": 10}])
        self.assertEqual(self.output("archive", "gaps", *arguments, "--limit", 0), b"")
        stat, = self.json_lines("archive", "stat", *arguments)
        self.assertEqual((stat["missing"], stat["gaps"]), (10, 1))


class Usage(CommandTest):
    def test_wrong_usage(self):
        self.import_lines([b"a"])
        store = self.store
        for arguments in (
                (), ("nonsense",), ("archive",), ("archive", "nonsense"), ("archive", "get"),
                ("archive", "get", store), ("archive", "get", store, "--index"),
                ("archive", "get", store, "--index", "-1"),
                ("archive", "get", store, "--index", "1x"),
                ("archive", "get", store, "--index", "0x1"),
                ("archive", "get", store, "--index", 2**64),
                ("archive", "get", store, "--index", 0, "--key", "00"),
                ("archive", "get", store, "--key", "zz"), ("archive", "get", store, "--key", "0"),
                ("archive", "get", store, "--key", "00"), ("archive", "get", store, "--key", ""),
                ("archive", "list", store, "--nonsense"), ("archive", "list", store, "extra"),
                ("archive", "list", store, "--partition", "index"),
                ("archive", "list", store, "--partition", "other=x"),
                ("archive", "list", store, "--partition", "index=a/b"),
                ("archive", "list", store, "--partition", "index=../x"),
                ("archive", "prune", store), ("archive", "export", store),
                ("archive", "export", store, "--to", ""),
                ("archive", "export", store, "--to", self.folder / "o", "--lines"),
                ("archive", "import", store), ("archive", "import", store, "-"),
                ("archive", "import", store, "-", "x", "--lines"),
                ("archive", "import", store, self.folder, "--sync-every", 0),
                ("archive", "import", self.folder / "s", self.folder, "--key-size", 8),
                ("archive", "import", self.folder / "s", self.folder, "--items-per-section", 0),
                ("archive", "import", self.folder / "s", self.folder, "--page-size", 65536),
                ("archive", "import", self.folder / "s", self.folder, "--compression", -1),
                ("verify",), ("info",)):
            with self.subTest(arguments=arguments):
                self.expect(USAGE, *arguments)
                last = self.run_firn(*arguments, "--json").stdout.splitlines()[-1]
                self.assertEqual(json.loads(last)["error"]["code"], "invalid_argument")

    def test_help_and_version(self):
        for arguments in (("--help",), ("archive", "--help"), ("archive", "import", "--help"),
                          ("verify", "--help"), ("version",)):
            self.assertIn(b"firn", self.output(*arguments))
        self.assertRegex(self.json_lines("version")[0]["version"], r"^\d+\.\d+\.\d+")

    def test_no_store(self):
        empty = self.folder / "empty"
        empty.mkdir()
        other = self.folder / "other"
        (other / "photos").mkdir(parents=True)
        for store in (self.store, empty, other):
            for arguments in (("archive", "list", store), ("archive", "stat", store),
                              ("archive", "get", store, "--index", 0), ("archive", "gaps", store),
                              ("archive", "prune", store, "--before", 1), ("verify", store),
                              ("archive", "export", store, "--to", self.folder / "out")):
                with self.subTest(arguments=arguments):
                    self.failure(NOT_FOUND, *arguments)
        self.failure(NOT_FOUND, "info", empty)
        self.assertEqual(list(empty.iterdir()), [])
        self.assertFalse(self.store.exists())

    def test_a_folder_with_other_things_is_no_place_for_a_store(self):
        (self.folder / "other" / "photos").mkdir(parents=True)
        self.assertIn("photos", self.failure(USAGE, "archive", "import", self.folder / "other",
                                             __file__))

    def test_a_store_that_is_a_file(self):
        self.store.write_bytes(b"")
        self.failure(USAGE, "archive", "list", self.store)
        self.failure(USAGE, "archive", "import", self.store, __file__)
        self.failure(USAGE, "info", self.store)
        self.failure(USAGE, "verify", self.store)

    def test_values_that_contradict_the_store(self):
        self.import_lines([b"a"], "--items-per-section", 100, "--page-size", 1000)
        for arguments in (("--key-size", 16), ("--page-size", 4084), ("--compression", 3),
                          ("--items-per-section", 10), ("--partition", "index=other")):
            with self.subTest(arguments=arguments):
                before = tree_of(self.store)
                self.failure(USAGE, "archive", "list", self.store, *arguments)
                self.failure(USAGE, "archive", "import", self.store, __file__, *arguments)
                self.failure(USAGE, "verify", self.store, *arguments)
                after = tree_of(self.store)
                before.pop("LOCK"), after.pop("LOCK")
                self.assertEqual(after, before)
        self.output("archive", "list", self.store, "--key-size", 32, "--page-size", 1000,
                    "--items-per-section", 100)


class StoreOfTheOriginal(CommandTest):
    """A store without its manifest is what the original writes."""
    GEOMETRY = ("--page-size", 1000, "--items-per-section", 10)
    NAMES = ("--partition", "index=blocks-index", "--partition", "values=blocks-values")

    def setUp(self):
        super().setUp()
        self.lines = [b"line %d" % i for i in range(1000)]
        self.import_lines(self.lines, *self.GEOMETRY, *self.NAMES)

    def test_names_come_from_the_manifest(self):
        self.assertEqual(self.output("archive", "get", self.store, "--index", 7), b"line 7")
        self.output("verify", self.store, "--deep")

    def test_every_verb_reads_it_with_the_right_values(self):
        shutil.rmtree(self.store / "manifest")
        told = self.GEOMETRY + self.NAMES
        self.assertEqual(self.output("archive", "export", self.store, "--lines", *told),
                         b"".join(line + b"\n" for line in self.lines))
        self.assertEqual(self.output("archive", "get", self.store, "--index", 7, *told), b"line 7")
        self.assertEqual(self.json_lines("archive", "stat", self.store, *told)[0]["items"], 1000)
        self.assertEqual(len(self.json_lines("archive", "list", self.store, *told)), 1000)
        self.output("archive", "gaps", self.store, *told)
        self.output("verify", self.store, "--deep", *told)
        info, = self.json_lines("info", self.store, *told)
        self.assertEqual((info["kind"], info["manifest"]), ("archive", False))
        self.import_lines([b"more"], *told)
        self.assertEqual(self.output("archive", "get", self.store, "--index", 1000, *told), b"more")
        self.output("archive", "prune", self.store, "--before", 500, *told)
        self.failure(NOT_FOUND, "archive", "get", self.store, "--index", 7, *told)

    def test_wrong_values_are_refused_and_change_nothing(self):
        shutil.rmtree(self.store / "manifest")
        before = tree_of(self.store)
        for wrong in (("--page-size", 4084, "--items-per-section", 10),
                      ("--page-size", 1000, "--items-per-section", 9),
                      ("--page-size", 1000, "--items-per-section", 10, "--key-size", 16)):
            with self.subTest(wrong=wrong):
                self.failure(USAGE, "archive", "list", self.store, *wrong, *self.NAMES)
                self.expect(USAGE, "archive", "prune", self.store, "--before", 500, *wrong,
                            *self.NAMES)
        after = tree_of(self.store)
        before.pop("LOCK"), after.pop("LOCK")
        self.assertEqual(after, before)

    def test_without_names_the_partitions_are_told(self):
        shutil.rmtree(self.store / "manifest")
        self.assertIn("blocks-index, blocks-values",
                      self.failure(NOT_FOUND, "archive", "list", self.store))
        info, = self.json_lines("info", self.store)
        self.assertEqual([p["name"] for p in info["partitions"]], ["blocks-index", "blocks-values"])


class Damage(CommandTest):
    def setUp(self):
        super().setUp()
        self.lines = [b"%04d" % i * 25 for i in range(1000)]
        self.import_lines(self.lines)

    def flip(self, path, offset):
        with open(path, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 0x40]))

    def verify_fails(self, *arguments):
        before = tree_of(self.store)
        self.expect(CORRUPT, "verify", self.store, *arguments)
        found, = self.json_lines("verify", self.store, *arguments, code=CORRUPT)
        self.assertEqual(tree_of(self.store), before)
        self.assertEqual(found["error"]["code"], "corrupt")
        return found

    def test_a_healthy_store(self):
        for arguments in ((), ("--deep",)):
            found, = self.json_lines("verify", self.store, *arguments)
            self.assertEqual(found["damage"], [])
        self.assertGreaterEqual(found["checked_bytes"], 100_000)

    def test_a_damaged_value(self):
        entry = 1 + 100 + 4
        self.flip(self.values_file(), 8 + 500 * entry + 50)
        self.expect(CORRUPT, "archive", "get", self.store, "--index", 500)
        self.assertEqual(self.output("archive", "get", self.store, "--index", 501), self.lines[501])
        self.output("verify", self.store)
        damage, = self.verify_fails("--deep")["damage"]
        self.assertEqual(damage["file"], str(self.values_file()))
        self.assertEqual((damage["offset"], damage["length"]), (8 + 500 * entry, entry))
        listed = self.expect(CORRUPT, "archive", "list", self.store).stdout.splitlines()
        self.assertEqual(len(listed), 1000)
        self.assertTrue(listed[500].endswith(b"\t?"))
        self.expect(CORRUPT, "archive", "export", self.store, "--lines")

    def test_a_damaged_index_page(self):
        self.flip(self.index_file(), 8 + 4096 + 100)
        damage = self.verify_fails()["damage"]
        self.assertIn((str(self.index_file()), 8 + 4096, 4096),
                      [(d["file"], d["offset"], d["length"]) for d in damage])
        self.assertEqual(self.output("archive", "get", self.store, "--index", 0), self.lines[0])
        self.expect(CORRUPT, "archive", "get", self.store, "--key", sha256(b"absent"))
        self.expect(CORRUPT, "archive", "import", self.store, __file__)
        # What is damaged may be there: it is no gap.
        self.expect(CORRUPT, "archive", "gaps", self.store)
        self.expect(CORRUPT, "archive", "stat", self.store)

    def test_a_lost_index_file(self):
        self.index_file().unlink()
        self.expect(CORRUPT, "archive", "get", self.store, "--index", 0)
        self.assertFalse(self.verify_fails("--deep")["opens"])
        self.expect(CORRUPT, "info", self.store)

    def test_a_lost_end_of_the_index(self):
        os.truncate(self.index_file(), 8 + 4096 * 2)
        self.expect(CORRUPT, "archive", "get", self.store, "--index", 999)
        self.verify_fails()

    def test_a_damaged_header_of_a_file(self):
        for path in (self.index_file(), self.values_file()):
            self.flip(path, 1)
            self.expect(CORRUPT, "archive", "get", self.store, "--index", 0)
            self.verify_fails("--deep")
            self.flip(path, 1)
        self.output("verify", self.store, "--deep")

    def test_a_strange_file_in_a_partition(self):
        (self.store / "index" / "README").write_bytes(b"")
        self.assertIn("README", self.failure(CORRUPT, "archive", "stat", self.store))
        self.verify_fails()

    def test_a_damaged_manifest(self):
        for copy in (self.store / "manifest").iterdir():
            content = copy.read_bytes()
            copy.write_bytes(content[:8] + bytes(b ^ 0xFF for b in content[8:]))
        self.expect(CORRUPT, "archive", "stat", self.store)
        self.verify_fails("--deep")
        self.expect(CORRUPT, "info", self.store)


class Export(CommandTest):
    def patch_path(self, old, new):
        """Rewrites the path of the only item, and its checksum."""
        self.assertEqual(len(old), len(new))
        path = self.values_file()
        stored = path.read_bytes()
        payload = stored[8:-4].replace(old, new, 1)
        path.write_bytes(stored[:8] + payload + struct.pack(">I", crc32c(payload)))

    def test_paths_that_leave_the_folder_are_refused(self):
        for number, (name, hostile) in enumerate((
                (b"aa/evil", b"../evil"), (b"aaaevil", b"../evil"), (b"aaa/evil", b"/tmp/evl"),
                (b"a/bb/evil", b"a/../evil"), (b"a/b/evil", b"a/./evil"),
                (b"a/b/evil", b"a//bevil"),
                (b"a/b", b"a/."), (b"aa", b".."), (b"ab", b"a/"), (b"ab/evil", b"\\u0000/"))):
            if len(name) != len(hostile):
                hostile += b"x" * (len(name) - len(hostile))
            with self.subTest(hostile=hostile):
                self.store = self.folder / f"store{number}"
                source = self.folder / f"source{number}"
                path = source / name.decode()
                path.parent.mkdir(parents=True)
                path.write_bytes(b"evil content")
                self.output("archive", "import", self.store, name.decode(), cwd=source)
                self.patch_path(b'"' + name + b'"', b'"' + hostile + b'"')
                out = self.folder / f"deep{number}" / "out"
                self.assertIn("refused", self.failure(CORRUPT, "archive", "export", self.store,
                                                      "--to", out))
                self.assertEqual(tree_of(out.parent), {})

    def test_links_in_the_folder_are_not_followed(self):
        source = self.folder / "source"
        (source / "d").mkdir(parents=True)
        (source / "d" / "f").write_bytes(b"1")
        (source / "g").write_bytes(b"2")
        self.output("archive", "import", self.store, ".", cwd=source)
        out, outside = self.folder / "out", self.folder / "outside"
        out.mkdir(), outside.mkdir()
        (outside / "victim").write_bytes(b"untouched")
        (out / "d").symlink_to(outside)
        (out / "g").symlink_to(outside / "victim")
        self.failure(IO, "archive", "export", self.store, "--to", out)
        self.assertEqual(tree_of(outside).keys(), {"victim"})
        self.assertEqual((outside / "victim").read_bytes(), b"untouched")
        self.assertFalse((out / "g").is_symlink())
        self.assertEqual((out / "g").read_bytes(), b"2")

    def test_special_bits_are_not_restored(self):
        path = self.folder / "a"
        path.write_bytes(b"")
        path.chmod(0o6755)
        self.output("archive", "import", self.store, "a", cwd=self.folder)
        self.output("archive", "export", self.store, "--to", self.folder / "out")
        self.assertEqual((self.folder / "out" / "a").stat().st_mode & 0o7777, 0o755)


class Processes(CommandTest):
    def test_what_was_acknowledged_survives_kill(self):
        lines = [b"%07d" % i * 20 for i in range(200_000)]
        done = -1
        for _ in range(4):
            rest = b"".join(line + b"\n" for line in lines[done + 1:])
            with subprocess.Popen([FIRN, "archive", "import", self.store, "-", "--lines", "--ack",
                                   "--sync-every", "100", "--items-per-section", "700"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) as child:
                def feed():
                    try:
                        child.stdin.write(rest)
                    except BrokenPipeError:
                        pass
                feeder = threading.Thread(target=feed)
                feeder.start()
                for _ in range(5):
                    acknowledged = int(child.stdout.readline().split()[1])
                child.kill()
                for line in child.stdout.read().splitlines(keepends=True):
                    if line.endswith(b"\n"):
                        acknowledged = int(line.split()[1])
                feeder.join()
            self.output("verify", self.store, "--deep")
            kept = self.output("archive", "export", self.store, "--lines").split(b"\n")[:-1]
            self.assertGreater(len(kept), acknowledged)
            self.assertEqual(kept, lines[:len(kept)])
            done = len(kept) - 1
        self.import_lines([b"after"])
        self.assertEqual(self.output("archive", "get", self.store, "--index", done + 1), b"after")
        self.assertEqual(self.output("archive", "gaps", self.store), b"")

    def writer(self, *arguments, **options):
        return subprocess.Popen([FIRN, "archive", "import", self.store, "-", "--lines", "--ack",
                                 "--sync-every", "1", *arguments], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE,
                                **{"stderr": subprocess.DEVNULL, **options})

    def test_a_second_writer_learns_who_has_the_store(self):
        with self.writer() as first:
            first.stdin.write(b"a\n")
            first.stdin.flush()
            self.assertEqual(first.stdout.readline(), b"synced 0\n")
            text = self.failure(LOCKED, "archive", "import", self.store, __file__)
            for part in (f"pid {first.pid}", socket.gethostname(), "firn"):
                self.assertIn(part, text)
            for arguments in (("archive", "get", self.store, "--index", 0), ("verify", self.store),
                              ("archive", "prune", self.store, "--before", 1)):
                self.failure(LOCKED, *arguments)
            info, = self.json_lines("info", self.store)
            self.assertIn(str(first.pid), info["locked_by"])
            first.stdin.close()
            self.assertEqual(first.wait(), DONE)
        self.assertTrue((self.store / "LOCK").exists())
        self.assertIsNone(self.json_lines("info", self.store)[0]["locked_by"])
        self.assertEqual(self.output("archive", "get", self.store, "--index", 0), b"a")

    def test_info_of_a_store_whose_writer_was_killed(self):
        with self.writer() as child:
            child.stdin.write(b"a\n")
            child.stdin.flush()
            child.stdout.readline()
            child.kill()
        info, = self.json_lines("info", self.store)
        self.assertEqual((info["clean"], info["archive"]["items"]), (False, 1))
        self.import_lines([b"b"])
        self.assertTrue(self.json_lines("info", self.store)[0]["clean"])

    def test_standard_output_that_cannot_be_written(self):
        self.import_lines([b"x" * 1000] * 1000)
        for arguments in (("archive", "get", self.store, "--index", 0),
                          ("archive", "list", self.store), ("archive", "stat", self.store),
                          ("archive", "export", self.store, "--lines"), ("version",)):
            with open("/dev/full", "wb") as full:
                self.expect(IO, *arguments, stdout=full)
            reader, writer = os.pipe()
            os.close(reader)
            self.expect(IO, *arguments, stdout=writer)
            os.close(writer)

    def test_progress_on_a_terminal(self):
        for environment, has_escapes in (({"TERM": "xterm"}, True),
                                         ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
            ours, theirs = pty.openpty()
            begin = time.monotonic()
            with self.writer(stderr=theirs, env=environment) as child:
                os.close(theirs)
                while time.monotonic() - begin < 0.8:
                    child.stdin.write(b"line\n")
                    child.stdin.flush()
                    child.stdout.readline()
                child.stdin.close()
                self.assertEqual(child.wait(), DONE)
            seen = b""
            try:
                while chunk := os.read(ours, 4096):
                    seen += chunk
            except OSError:
                pass
            os.close(ours)
            self.assertRegex(seen.decode(), r"importing .*/s")
            self.assertEqual("\x1b" in seen.decode(), has_escapes)
            self.assertIn("imported", seen.decode())

    def test_no_progress_elsewhere(self):
        ran = self.expect(DONE, "archive", "import", self.store, __file__)
        self.assertRegex(ran.stderr.decode(), r"^imported 1 item, .*/s, .* items/s\).*\n$")


class Limits(CommandTest):
    """Full disks, read-only disks and missing permissions."""

    def test_a_file_size_limit(self):
        limit = 300_000
        # "ulimit -f": the kernel answers EFBIG where a full disk answers ENOSPC.
        ran = self.run_firn("archive", "import", self.store, "-", "--lines", "--ack",
                            "--sync-every", 100, stdin=(b"y" * 999 + b"\n") * 1000,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                                  (limit, limit)))
        self.assertEqual(ran.returncode, IO, ran.stderr.decode())
        acknowledged = int(ran.stdout.splitlines()[-1].split()[1])
        self.assertGreaterEqual(acknowledged, 99)
        self.output("verify", self.store, "--deep")
        self.assertEqual(self.output("archive", "get", self.store, "--index", acknowledged),
                         b"y" * 999)
        self.import_lines([b"after"])

    def in_namespace(self, script):
        """Runs a shell script that may mount; None if this machine does not allow it."""
        for unshare in (["unshare", "-m"], ["unshare", "-rm"]):
            probe = f"mount -t tmpfs -o size=1m tmpfs {self.folder}/mnt"
            (self.folder / "mnt").mkdir(exist_ok=True)
            allowed = subprocess.run([*unshare, "sh", "-c", probe], capture_output=True,
                                     check=False)
            if allowed.returncode == 0:
                return subprocess.run([*unshare, "sh", "-ec", script], capture_output=True,
                                      timeout=120, check=False)
        return None

    def test_a_full_disk(self):
        if self.is_mounting_forbidden():
            return
        store = f"{self.folder}/mnt/store"
        ran = self.in_namespace(f"""
            mount -t tmpfs -o size=4m tmpfs {self.folder}/mnt
            yes {'z' * 999} | head -n 20000 > {self.folder}/lines
            code=0
            {FIRN} archive import {store} --lines {self.folder}/lines --ack --sync-every 100 \
                > {self.folder}/acks || code=$?
            echo "code $code"
            {FIRN} verify {store} --deep >&2
            last=$(tail -n 1 {self.folder}/acks | cut -d' ' -f2)
            {FIRN} archive get {store} --index $last | wc -c
            mount -o remount,size=40m {self.folder}/mnt
            {FIRN} archive import {store} --lines {self.folder}/lines
            {FIRN} verify {store} --deep >&2
            {FIRN} archive list {store} | wc -l""")
        self.assertEqual(ran.returncode, DONE, ran.stderr.decode())
        code, size, count = ran.stdout.decode().splitlines()
        self.assertEqual((code, size), ("code 5", "999"))
        self.assertGreater(int(count), 20_000)
        self.assertIn(b"No space left", ran.stderr)

    def test_a_read_only_disk(self):
        if self.is_mounting_forbidden():
            return
        self.import_lines([b"a", b"b"])
        ran = self.in_namespace(f"""
            mount --bind {self.store} {self.folder}/mnt
            mount -o remount,bind,ro {self.folder}/mnt
            code=0
            {FIRN} archive import {self.folder}/mnt {FIRN} || code=$?
            {FIRN} archive prune {self.folder}/mnt --before 1 || code=$code$?
            echo $code
            {FIRN} verify {self.folder}/mnt --deep >&2
            {FIRN} archive get {self.folder}/mnt --index 1""")
        self.assertEqual(ran.returncode, DONE, ran.stderr.decode())
        self.assertEqual(ran.stdout, b"55\nb")
        self.assertIn(b"Read-only file system", ran.stderr)

    def is_mounting_forbidden(self):
        """Containers may forbid mounts: the file size limit above then is all there is."""
        if self.in_namespace("true") is not None:
            return False
        print("no mounts on this machine: full and read-only disks were not tried", file=sys.stderr)
        return True

    def test_missing_permissions(self):
        """As another user if this is root, who may do everything."""
        tree = self.make_tree(6)
        program = self.folder / "firn"
        shutil.copy(FIRN, program)
        program.chmod(0o755)
        secret = tree / "secret"
        secret.write_bytes(b"secret")
        secret.chmod(0)
        for folder, _, names in os.walk(tree):
            os.chmod(folder, 0o755)
            for name in names:
                path = Path(folder) / name
                if path != secret:
                    path.chmod(0o644)
        self.import_lines([b"a"])
        for path in (self.store, self.store / "index"):
            path.chmod(0o500)
        place = self.folder / "place"
        place.mkdir()
        place.chmod(0o777)
        options = {"program": str(program)}
        if os.getuid() == 0:
            options["preexec_fn"] = lambda: os.setresuid(NOBODY, NOBODY, NOBODY)
            self.failure(IO, "archive", "list", self.store, **options)
        self.failure(IO, "archive", "import", self.store, tree, **options)
        ran, = self.json_lines("archive", "import", place / "store", tree, code=IO, **options)
        self.assertEqual((ran["items"], ran["failed"]), (6, 1))
        self.assertEqual(ran["error"]["code"], "io")
        self.store.chmod(0o700), (self.store / "index").chmod(0o700)
        self.output("archive", "list", self.store)


if __name__ == "__main__":
    FIRN = os.path.abspath(sys.argv.pop(1))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    unittest.main()
