#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The verbs of `firn archive` on temporary stores, and what all verbs have in common.

usage: command_archive_test.py FIRN [unittest arguments]
"""
import json
import os
import shutil
import struct
from pathlib import Path

import command_support
from command_support import (CORRUPT, DONE, IO, NOT_FOUND, USAGE, CommandTest, crc32c, sha256,
                             tree_of)


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

    def test_special_files_are_left_out_and_counted(self):
        tree = self.make_tree(3)
        (tree / "link").symlink_to("/etc/passwd")
        os.mkfifo(tree / "pipe")
        ran = self.expect(DONE, "archive", "import", self.store, tree)
        self.assertIn(b"note: left out 2 special files (symbolic links, pipes", ran.stderr)
        summary = self.json_lines("archive", "import", self.store, tree)[-1]
        self.assertEqual((summary["items"], summary["special_files"]), (3, 2))

    def test_control_characters_of_names_do_not_reach_a_terminal(self):
        name = self.folder / "a\n\x1b[31mb"
        name.mkdir()
        (name / "f").write_bytes(b"x")
        self.output("archive", "import", self.store, name.name, cwd=self.folder)
        self.output("archive", "export", self.store, "--to", self.folder / "there")
        shutil.rmtree(self.folder / "there" / name.name)
        (self.folder / "there" / name.name).write_bytes(b"no directory")
        text = self.failure(IO, "archive", "export", self.store, "--to", self.folder / "there")
        self.assertIn("a\\x0a\\x1b[31mb", text)
        self.assertNotIn("\x1b", text)

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
            large.truncate(2**32 - 10 - 65_536 + 1)
        text = self.failure(USAGE, "archive", "import", self.store, tree)
        self.assertIn("large' has more than 4294901750 bytes", text)
        self.assertIn("1 file is larger than an item can be", text)
        self.assertNotIn("could not be read", text)
        self.assertEqual(len(self.json_lines("archive", "list", self.store)), 2)
        ran, = self.json_lines("archive", "import", self.store, tree, code=USAGE)
        self.assertEqual((ran["items"], ran["failed"]), (1, 1))

    def test_an_empty_folder_and_an_empty_file(self):
        (self.folder / "tree").mkdir()
        self.output("archive", "import", self.store, self.folder / "tree")
        self.assertEqual(self.json_lines("archive", "stat", self.store)[0]["items"], 0)
        (self.folder / "tree" / "empty").write_bytes(b"")
        self.output("archive", "import", self.store, self.folder / "tree")
        self.assertEqual(self.output("archive", "get", self.store, "--key", sha256(b"")), b"")

    def test_the_summary_of_an_import_of_nothing(self):
        empty, links = self.folder / "empty", self.folder / "links"
        empty.mkdir(), links.mkdir()
        (links / "link").symlink_to("/etc/passwd")
        for arguments, special in (((empty,), 0), ((links,), 1), (("-", "--lines"), 0)):
            with self.subTest(arguments=arguments):
                summary, = self.json_lines("archive", "import", self.store, *arguments, stdin=b"")
                self.assertEqual((summary["items"], summary["special_files"]), (0, special))
                self.assertNotIn("last_index", summary)
        with open(empty / "large", "wb") as large:
            large.truncate(5 << 30)
        summary, = self.json_lines("archive", "import", self.store, empty, code=USAGE)
        self.assertEqual((summary["items"], summary["failed"]), (0, 1))
        self.assertEqual(summary["error"]["code"], "invalid_argument")

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
                ("archive", "import", self.folder / "s", self.folder, "--compression", 23),
                ("archive", "import", self.folder / "s", self.folder, "--compression", "some"),
                ("verify",), ("info",)):
            with self.subTest(arguments=arguments):
                self.expect(USAGE, *arguments)
                last = self.run_firn(*arguments, "--json").stdout.splitlines()[-1]
                self.assertEqual(json.loads(last)["error"]["code"], "invalid_argument")

    def test_lines_are_no_json(self):
        self.import_lines([b"a"])
        answer, = self.json_lines("archive", "export", self.store, "--lines", code=USAGE)
        self.assertEqual(answer["error"]["code"], "invalid_argument")

    def test_help_and_version(self):
        for arguments in (("--help",), ("archive", "--help"), ("archive", "import", "--help"),
                          ("verify", "--help"), ("version",)):
            self.assertIn(b"firn", self.output(*arguments))
        self.assertEqual(self.output("--version"), self.output("version"))
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
        self.output("archive", "list", self.store, "--compression", "none")
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
        # For writing nothing is guessed.
        self.assertIn("key_size", self.failure(USAGE, "archive", "prune", self.store, "--before",
                                               500, *told))
        told += ("--key-size", 32)
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

    def test_compressed_values_are_not_taken_as_they_are_stored(self):
        self.store = self.folder / "compressed"
        self.import_lines([b"a line", b"another"], "--compression", 3)
        shutil.rmtree(self.store / "manifest")
        before = tree_of(self.store)
        copy = self.folder / "copy"
        for arguments in (("archive", "get", self.store, "--index", 0),
                          ("archive", "list", self.store), ("archive", "stat", self.store),
                          ("archive", "import", self.store, __file__, "--key-size", 32,
                           "--page-size", 4084, "--items-per-section", 65536),
                          ("verify", self.store, "--deep"), ("salvage", self.store, copy)):
            with self.subTest(arguments=arguments):
                self.assertIn("give the compression", self.failure(USAGE, *arguments))
        after = tree_of(self.store)
        before.pop("LOCK"), after.pop("LOCK")
        self.assertEqual(after, before)
        self.assertFalse(copy.exists())
        self.assertEqual(self.output("archive", "get", self.store, "--index", 0,
                                     "--compression", 0), b"a line")
        frame = self.output("archive", "get", self.store, "--index", 0, "--compression", "none")
        self.assertEqual(frame[:4], b"\x28\xb5\x2f\xfd")
        self.output("salvage", self.store, copy, "--compression", 1)
        self.assertEqual(self.output("archive", "get", copy, "--index", 1), b"another")

    def test_without_names_the_partitions_are_told(self):
        shutil.rmtree(self.store / "manifest")
        self.assertIn("blocks-index, blocks-values",
                      self.failure(NOT_FOUND, "archive", "list", self.store))
        info, = self.json_lines("info", self.store)
        self.assertEqual([p["name"] for p in info["partitions"]], ["blocks-index", "blocks-values"])


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

    def test_the_store_is_never_restored_into(self):
        source = self.folder / "source"
        (source / "values").mkdir(parents=True)
        (source / "LOCK").write_bytes(b"evil")
        self.output("archive", "import", self.store, ".", cwd=source)
        (source / "values" / self.values_file().name).write_bytes(b"evil")
        self.output("archive", "import", self.store, ".", cwd=source)
        link, linked = self.folder / "link", self.folder / "linked"
        link.symlink_to(self.store)
        linked.mkdir()
        (linked / "below").symlink_to(self.store / "values")
        before = tree_of(self.store)
        for target in (self.store, f"{self.store}/", self.store / "values",
                       self.store / "new" / "b", link, link / "values", linked / "below",
                       f"{self.store}/x/../new"):
            with self.subTest(target=target):
                text = self.failure(USAGE, "archive", "export", self.store, "--to", target)
                self.assertIn("the store", text)
                self.failure(USAGE, "archive", "export", link, "--to", target)
        self.failure(USAGE, "archive", "export", ".", "--to", ".", cwd=self.store)
        self.failure(USAGE, "archive", "export", "store", "--to", self.store, cwd=self.folder)
        self.assertEqual(tree_of(self.store), before)

    def test_a_store_below_the_folder_is_left_alone(self):
        source = self.folder / "source"
        (source / "store" / "values").mkdir(parents=True)
        (source / "store" / "LOCK").write_bytes(b"evil")
        (source / "store" / "values" / f"{0:016x}").write_bytes(b"evil")
        (source / "other").write_bytes(b"good")
        self.output("archive", "import", self.store, ".", cwd=source)
        before = tree_of(self.store)
        done, = self.json_lines("archive", "export", self.store, "--to", self.folder, code=USAGE)
        self.assertEqual((done["items"], done["failed"]), (1, 2))
        self.assertIn("the store itself", done["error"]["message"])
        self.assertEqual(tree_of(self.store), before)
        self.assertEqual((self.folder / "other").read_bytes(), b"good")

    def test_special_bits_are_not_restored(self):
        path = self.folder / "a"
        path.write_bytes(b"")
        path.chmod(0o6755)
        self.output("archive", "import", self.store, "a", cwd=self.folder)
        self.output("archive", "export", self.store, "--to", self.folder / "out")
        self.assertEqual((self.folder / "out" / "a").stat().st_mode & 0o7777, 0o755)


if __name__ == "__main__":
    command_support.main()
