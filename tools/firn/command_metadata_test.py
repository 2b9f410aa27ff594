#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The verbs of `firn metadata` on temporary stores.

usage: command_metadata_test.py FIRN [unittest arguments]
"""
import shutil
import signal
import struct
import subprocess
import time

import command_support
from command_support import (CORRUPT, DONE, IO, LOCKED, NOT_FOUND, USAGE, CommandTest, crc32c,
                             tree_of)


class MetadataTest(CommandTest):
    def put(self, key, value, *arguments):
        self.output("metadata", "put", self.store, key, value, *arguments)

    def get(self, key, *arguments):
        return self.output("metadata", "get", self.store, key, *arguments)

    def keys(self, *arguments):
        listed = self.output("metadata", "list", self.store, *arguments).decode()
        return [line.split("\t")[0] for line in listed.splitlines()]

    def copy(self, side):
        return self.store / "state" / side.encode().hex()


class Names(MetadataTest):
    def test_partitions_of_firn_itself_are_refused_before_anything_is_made(self):
        for name in ("manifest", "lost-found", "LOCK"):
            said = self.failure(USAGE, "metadata", "put", self.store, "0x" + "07" * 16, "1",
                                "--key-size", 16, "--partition", f"metadata={name}")
            self.assertIn("firn's own", said)
            self.assertFalse(self.store.exists())


class Pairs(MetadataTest):
    def test_a_value_is_there_until_it_is_removed(self):
        self.put("reader", "1200")
        self.put("writer", "1750")
        self.assertEqual(self.get("reader"), b"1200")
        self.put("reader", "")
        self.assertEqual(self.get("reader"), b"")
        self.assertEqual(self.output("metadata", "remove", self.store, "reader"), b"")
        self.failure(NOT_FOUND, "metadata", "get", self.store, "reader")
        self.failure(NOT_FOUND, "metadata", "remove", self.store, "reader")
        self.assertEqual(self.get("writer"), b"1750")
        self.output("verify", self.store, "--deep")

    def test_values_come_from_files_and_standard_input(self):
        content = bytes(range(256)) * 1000
        (self.folder / "value").write_bytes(content)
        self.output("metadata", "put", self.store, "a", "--file", self.folder / "value")
        self.output("metadata", "put", self.store, "b", "--file", "-", stdin=content[::-1])
        self.assertEqual(self.get("a"), content)
        self.assertEqual(self.get("b"), content[::-1])
        self.failure(NOT_FOUND, "metadata", "put", self.store, "c", "--file", self.folder / "no")
        with open(self.folder / "large", "wb") as large:
            large.truncate((16 << 20) + 1)
        self.failure(USAGE, "metadata", "put", self.store, "c", "--file", self.folder / "large")
        self.assertEqual(self.keys(), ["a", "b"])

    def test_keys_are_text_or_hexadecimal(self):
        self.put("0x" + b"hex".hex(), "1", "--key-size", 3)
        self.assertEqual(self.get("hex"), b"1")
        self.put("0xff00fe", "2")
        self.put("z", "3")
        self.assertEqual(self.get("0x7A0000"), b"3")
        self.assertEqual(self.keys(), ["hex", "z", "0xff00fe"])
        for wrong in ("four", "0xff", "0xff00fe00", "0xgg0000", ""):
            self.failure(USAGE, "metadata", "get", self.store, wrong)

    def test_list_is_ordered_and_takes_a_prefix(self):
        for key in ("b2", "a", "b10", "c"):
            self.put(key, key * 2)
        self.assertEqual(self.keys(), ["a", "b10", "b2", "c"])
        self.assertEqual(self.keys("--prefix", "b"), ["b10", "b2"])
        self.assertEqual(self.keys("--prefix", "0x6231"), ["b10"])
        self.assertEqual(self.keys("--prefix", "x"), [])
        self.assertEqual(self.output("metadata", "list", self.store, "--prefix", "c"), b"c\t2\n")

    def test_json(self):
        change, = self.json_lines("metadata", "put", self.store, "k", "value")
        self.assertEqual(change, {"key": "k", "version": 2})
        self.output("metadata", "put", self.store, "l", "--file", "-", stdin=b"\xff\xfe")
        pair = {"key": "k", "key_hex": (b"k" + bytes(31)).hex(), "size": 5, "encoding": "utf-8",
                "content": "value"}
        self.assertEqual(self.json_lines("metadata", "get", self.store, "k"), [pair])
        listed = self.json_lines("metadata", "list", self.store)
        self.assertEqual(listed[0], pair)
        self.assertEqual((listed[1]["encoding"], listed[1]["content"]), ("base64", "//4="))

    def test_compare_and_set(self):
        cas = ("metadata", "cas", self.store, "leader")
        self.failure(NOT_FOUND, *cas, "nobody", "me")
        self.assertFalse(self.store.exists())
        self.output(*cas, "one", "--absent")
        before = tree_of(self.store)
        self.assertIn("another value, of 3 bytes", self.failure(NOT_FOUND, *cas, "two", "three"))
        self.failure(NOT_FOUND, *cas, "three", "--absent")
        self.failure(NOT_FOUND, "metadata", "cas", self.store, "other", "x", "y")
        after = tree_of(self.store)
        before.pop("LOCK"), after.pop("LOCK")
        self.assertEqual(after, before)
        result, = self.json_lines(*cas, "one", "two")
        self.assertTrue(result["set"])
        self.assertEqual(self.get("leader"), b"two")
        result, = self.json_lines(*cas, "one", "three", code=NOT_FOUND)
        self.assertEqual((result["set"], result["error"]["code"]), (False, "not_found"))


class Stores(MetadataTest):
    def test_wrong_usage(self):
        self.put("k", "v")
        for arguments in (
                ("metadata",), ("metadata", "nonsense"), ("metadata", "put", self.store, "k"),
                ("metadata", "put", self.store, "k", "v", "--file", "-"),
                ("metadata", "get", self.store), ("metadata", "get", self.store, "k" * 33),
                ("metadata", "get", self.store, "k", "--key-size", 8),
                ("metadata", "get", self.store, "k", "--key-size", 0),
                ("metadata", "get", self.store, "k", "--partition", "metadata=other"),
                ("metadata", "get", self.store, "k", "--partition", "index=other"),
                ("metadata", "get", self.store, "k", "--page-size", 4084),
                ("metadata", "cas", self.store, "k"), ("metadata", "cas", self.store, "k", "v"),
                ("metadata", "cas", self.store, "k", "v", "w", "--absent"),
                ("metadata", "list", self.store, "--prefix", "0xa"),
                ("archive", "list", self.store),
                ("metadata", "put", self.folder / "new", "k" * 33, "v"),
                ("metadata", "put", self.folder / "new", "k", "v", "--key-size", 1025)):
            with self.subTest(arguments=arguments):
                self.failure(USAGE, *arguments)
        self.assertFalse((self.folder / "new").exists())

    def test_no_store(self):
        for arguments in (("get", self.store, "k"), ("remove", self.store, "k"),
                          ("list", self.store), ("cas", self.store, "k", "a", "b")):
            self.failure(NOT_FOUND, "metadata", *arguments)
        self.assertFalse(self.store.exists())
        (self.store / "photos").mkdir(parents=True)
        self.assertIn("photos", self.failure(USAGE, "metadata", "put", self.store, "k", "v"))
        self.assertIn("photos", self.failure(NOT_FOUND, "metadata", "list", self.store))

    def test_an_archive_is_no_metadata(self):
        self.import_lines([b"a"])
        self.assertIn("archive", self.failure(USAGE, "metadata", "list", self.store))
        self.failure(USAGE, "metadata", "put", self.store, "k", "v")
        self.output("verify", self.store, "--deep")

    def test_info_and_verify(self):
        self.put("k", "v" * 100)
        info, = self.json_lines("info", self.store)
        self.assertEqual((info["kind"], info["manifest"], info["clean"]),
                         ("metadata", True, True))
        self.assertEqual(info["geometry"], {"key_size": 32})
        self.assertEqual(info["metadata"],
                         {"keys": 1, "version": 2, "image_bytes": 12 + 32 + 101, "key_size": 32})
        self.assertIn("(metadata)", self.output("info", self.store).decode())
        before = tree_of(self.store)
        found, = self.json_lines("verify", self.store)
        self.assertEqual(tree_of(self.store), before)
        self.assertEqual((found["damage"], found["checked_bytes"]), ([], 2 * 145))
        self.assertNotIn("--deep", self.output("verify", self.store).decode())

    def test_a_store_of_the_original(self):
        image = struct.pack(">QQ", 1, 7) + b"\x05hello"
        image += struct.pack(">I", crc32c(image))
        folder = self.store / "app-metadata"
        folder.mkdir(parents=True)
        (folder / b"left".hex()).write_bytes(b"CWIC" + bytes(4))
        (folder / b"right".hex()).write_bytes(b"CWIC" + bytes(4) + image)
        told = ("--key-size", 8, "--partition", "metadata=app-metadata")
        key = "0x0000000000000007"
        self.assertIn("app-metadata", self.failure(NOT_FOUND, "metadata", "list", self.store))
        self.assertEqual(self.keys(*told), [key])
        self.assertEqual(self.get(key, *told), b"hello")
        self.assertIn("key size", self.failure(
            CORRUPT, "metadata", "put", self.store, "k", "v", "--key-size", 32, *told[2:]))
        self.put(key, "HELLO", *told)
        info, = self.json_lines("info", self.store, *told)
        self.assertEqual((info["kind"], info["manifest"], info["metadata"]["version"]),
                         ("metadata", False, 3))
        self.output("verify", self.store, *told)
        self.assertEqual(sorted(p.name for p in self.store.iterdir()), ["LOCK", "app-metadata"])
        # Under its default name the partition says what it is.
        folder.rename(self.store / "state")
        self.assertEqual(self.get(key, "--key-size", 8), b"HELLO")
        self.output("verify", self.store, "--key-size", 8)


class Damage(MetadataTest):
    def setUp(self):
        super().setUp()
        self.put("a", "1" * 50)
        self.put("b", "2" * 50)

    def damage(self, path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)

    def test_one_bad_copy_loses_nothing_and_is_reported(self):
        for side in ("left", "right"):
            self.damage(self.copy(side))
            before = tree_of(self.store)
            ran = self.expect(DONE, "metadata", "get", self.store, "b")
            self.assertEqual(ran.stdout, b"2" * 50)
            self.assertIn(self.copy(side).name, ran.stderr.decode())
            found, = self.json_lines("verify", self.store, code=CORRUPT)
            self.assertEqual([d["file"] for d in found["damage"]], [str(self.copy(side))])
            self.assertEqual(tree_of(self.store), before)
            info, = self.json_lines("info", self.store)
            self.assertIn("damaged", info["pending"][0])
            self.put("c", side)
            self.assertEqual(self.expect(DONE, "metadata", "get", self.store, "c").stderr, b"")
            self.output("verify", self.store)

    def test_one_bad_copy_of_a_store_that_was_not_closed_is_a_commit_cut_off(self):
        # The manifest cannot say any more that the store was closed.
        torn = [next((self.store / "manifest").glob(b"left".hex())), self.copy("left")]
        for path in torn:
            self.damage(path)
        found, = self.json_lines("verify", self.store)
        self.assertEqual(found["damage"], [])
        self.assertEqual([bad["file"] for bad in found["damaged_copies"]],
                         [str(path) for path in torn])
        self.put("c", "3")
        found, = self.json_lines("verify", self.store)
        self.assertEqual(found["damaged_copies"], [])

    def test_two_bad_copies_are_an_error(self):
        for side in ("left", "right"):
            self.damage(self.copy(side))
        before = tree_of(self.store)
        for arguments in (("get", self.store, "a"), ("list", self.store),
                          ("put", self.store, "a", "3"), ("remove", self.store, "a"),
                          ("cas", self.store, "a", "3", "--absent")):
            self.failure(CORRUPT, "metadata", *arguments)
        found, = self.json_lines("verify", self.store, code=CORRUPT)
        self.assertFalse(found["opens"])
        self.expect(CORRUPT, "info", self.store)
        after = tree_of(self.store)
        before.pop("LOCK"), after.pop("LOCK")
        self.assertEqual(after, before)

    def test_two_copies_without_content_are_an_error(self):
        copies = {side: self.copy(side).read_bytes() for side in ("left", "right")}
        half_first = copies["right"][:8] + bytes(8) + b"??" + copies["right"][18:]
        for left, right in ((copies["left"][:8], copies["right"][:8]), (None, copies["right"][:8]),
                            (None, None), (copies["left"][:8], half_first)):
            for side, content in (("left", left), ("right", right)):
                if content is not None:
                    self.copy(side).write_bytes(content)
                elif self.copy(side).exists():
                    self.copy(side).unlink()
            for arguments in (("get", self.store, "a"), ("list", self.store),
                              ("put", self.store, "a", "3"),
                              ("cas", self.store, "a", "3", "--absent")):
                self.failure(CORRUPT, "metadata", *arguments)
            self.expect(CORRUPT, "verify", self.store)
            self.expect(CORRUPT, "info", self.store)
        for side, content in copies.items():
            self.copy(side).write_bytes(content)
        self.assertEqual(self.keys(), ["a", "b"])

    def test_a_damaged_manifest(self):
        for copy in (self.store / "manifest").iterdir():
            content = copy.read_bytes()
            copy.write_bytes(content[:8] + bytes(b ^ 0xFF for b in content[8:]))
        self.expect(CORRUPT, "metadata", "list", self.store)
        self.assertFalse(self.json_lines("verify", self.store, code=CORRUPT)[0]["opens"])
        shutil.rmtree(self.store / "manifest")
        self.assertEqual(self.keys(), ["a", "b"])


class Processes(MetadataTest):
    def test_another_process_is_named(self):
        with subprocess.Popen([self.firn, "archive", "import", self.folder / "other", "-",
                               "--lines", "--ack", "--sync-every", "1"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
            holder.stdin.write(b"a\n")
            holder.stdin.flush()
            holder.stdout.readline()
            self.assertIn(f"pid {holder.pid}", self.failure(
                LOCKED, "metadata", "put", self.folder / "other", "key", "value"))
            holder.stdin.close()
            holder.wait()

    def test_what_was_acknowledged_survives_kill(self):
        acknowledged = 0
        for attempt in range(1, 40):
            arguments = [self.firn, "metadata", "put", str(self.store), "counter", str(attempt)]
            with subprocess.Popen(arguments, stderr=subprocess.PIPE) as child:
                time.sleep(0.0005 * (attempt % 8))
                child.send_signal(signal.SIGKILL)
                if child.wait() == DONE:
                    acknowledged = attempt
            if not acknowledged and not (self.store / "manifest").exists():
                continue
            ran = self.run_firn("metadata", "get", self.store, "counter")
            if ran.returncode == NOT_FOUND:
                self.assertEqual(acknowledged, 0)
            else:
                self.assertEqual(ran.returncode, DONE, ran.stderr.decode())
                self.assertGreaterEqual(int(ran.stdout), acknowledged)
                self.assertLessEqual(int(ran.stdout), attempt)
        self.put("counter", "end")
        self.assertEqual(self.get("counter"), b"end")
        self.output("verify", self.store)

    def test_standard_output_that_cannot_be_written(self):
        self.put("k", "v" * 1000)
        for arguments in (("get", self.store, "k"), ("list", self.store)):
            with open("/dev/full", "wb") as full:
                self.expect(IO, "metadata", *arguments, stdout=full)


if __name__ == "__main__":
    command_support.main()
