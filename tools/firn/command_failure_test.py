#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command on damaged stores, beside other processes, killed; without room, memory, permission.

usage: command_failure_test.py FIRN [unittest arguments]
"""
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import command_support
from command_support import (CORRUPT, DONE, IO, LOCKED, USAGE, CommandTest, crc32c, sha256,
                             tree_of)

NOBODY = 65534


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

    def test_values_in_each_others_place(self):
        """No checksum tells; what the keys were made of does."""
        for kind in "archive", "freezer":
            with self.subTest(kind=kind):
                shutil.rmtree(self.store)
                self.output(kind, "import", self.store, "-", "--lines",
                            stdin=b"".join(line + b"\n" for line in self.lines))
                healthy, = self.json_lines("verify", self.store, "--deep", "--content")
                self.assertEqual(healthy["compared_values"], 1000)
                first, second = self.swap_values(500, 700)
                self.output("verify", self.store, "--deep")
                found = self.verify_fails("--deep", "--content")
                damage = found["damage"]
                self.assertEqual([d["offset"] for d in damage], [first, second])
                self.assertIn(sha256(self.lines[500]), damage[0]["reason"])
                self.assertEqual((found["compared_values"], found["notes"]), (1000, []))

    def swap_values(self, *numbers):
        entry = 1 + 100 + 4
        values = self.values_file()
        content = bytearray(values.read_bytes())
        first, second = (slice(8 + n * entry, 8 + (n + 1) * entry) for n in numbers)
        content[first], content[second] = content[second], content[first]
        values.write_bytes(content)
        return first.start, second.start

    def test_values_in_each_others_place_behind_other_damage(self):
        for kind in "archive", "freezer":
            with self.subTest(kind=kind):
                shutil.rmtree(self.store)
                self.output(kind, "import", self.store, "-", "--lines",
                            stdin=b"".join(line + b"\n" for line in self.lines))
                swapped = self.swap_values(500, 700)
                self.flip(self.index_file(), 8 + 4096 + 100)
                self.flip(self.values_file(), 8 + 300 * 105 + 50)
                found = self.verify_fails("--deep", "--content")
                told = [d["offset"] for d in found["damage"] if "SHA-256" in d["reason"]]
                self.assertEqual(told, list(swapped))
                pages = [d["offset"] for d in found["damage"] if "/index/" in d["file"]]
                self.assertIn(8 + 4096, pages)
                self.assertIn(8 + 300 * 105, [d["offset"] for d in found["damage"]])
                # All but one value, and the entries that lie in the damaged page.
                compared = found["compared_values"]
                self.assertTrue(800 < compared < 999, compared)
                self.assertIn(f"{compared} of at least 1000 were", " ".join(found["notes"]))

    def test_content_and_keys_that_are_not_made_of_it(self):
        said = self.failure(USAGE, "verify", self.store, "--content")
        self.assertIn("--content requires --deep", said)
        other = self.folder / "other"
        self.output("freezer", "put", other, "value", "--key", "00" * 8, "--key-size", "8")
        said = self.failure(USAGE, "verify", other, "--deep", "--content")
        self.assertIn("those of this store have 8", said)
        self.output("metadata", "put", self.folder / "map", "a", "b")
        self.failure(USAGE, "verify", self.folder / "map", "--deep", "--content")

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
        lost = self.index_file()
        lost.unlink()
        self.expect(CORRUPT, "archive", "get", self.store, "--index", 0)
        found = self.verify_fails("--deep")
        self.assertEqual([d["file"] for d in found["damage"]], [str(lost)])
        self.assertIn("damaged", self.output("info", self.store).decode())

    def test_one_lost_file_of_many(self):
        shutil.rmtree(self.store)
        self.import_lines(self.lines, "--items-per-section", "400")
        sections = sorted((self.store / "index").iterdir())
        self.assertEqual(len(sections), 3)
        for partition in ("index", "values"):
            lost = self.store / partition / sections[1].name
            content = lost.read_bytes()
            lost.unlink()
            self.assertEqual(self.output("archive", "get", self.store, "--index", 399),
                             self.lines[399])
            self.assertEqual(self.output("archive", "get", self.store, "--index", 800),
                             self.lines[800])
            self.assertIn(lost.name, self.failure(CORRUPT, "archive", "get", self.store,
                                                  "--index", 400))
            listed = self.expect(CORRUPT, "archive", "list", self.store).stdout.splitlines()
            self.assertGreaterEqual(len(listed), 600)
            self.assertEqual(self.expect(CORRUPT, "archive", "gaps", self.store).stdout, b"")
            found, = self.json_lines("archive", "stat", self.store, code=CORRUPT)
            self.assertEqual((found["missing"], found["damaged_sections"]), (0, 1))
            damage, = self.verify_fails("--deep")["damage"]
            self.assertEqual(damage["file"], str(lost))
            self.import_lines([b"goes on"])
            lost.write_bytes(content)
            self.output("verify", self.store, "--deep")
        self.assertEqual(self.output("archive", "get", self.store, "--index", 1001), b"goes on")

    def test_a_damaged_section_that_is_pruned(self):
        shutil.rmtree(self.store)
        self.import_lines(self.lines, "--items-per-section", "400")
        os.truncate(sorted((self.store / "index").iterdir())[0], 9)
        self.verify_fails()
        self.output("archive", "prune", self.store, "--before", 400)
        self.output("verify", self.store, "--deep")

    def test_a_lost_end_of_many_values(self):
        os.truncate(self.values_file(), 8 + 105 * 10)
        damage, = self.verify_fails("--deep")["damage"]
        self.assertEqual((damage["offset"], damage["length"]), (8 + 105 * 10, 105 * 990))
        self.assertIn("990 entries, 10 to 999", damage["reason"])

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

    def tree_without_lock(self):
        tree = tree_of(self.folder)
        tree.pop("store/LOCK")  # names the last one who tried
        return tree

    def test_a_partition_that_is_a_link_or_a_file(self):
        for partition in ("index", "values", "manifest"):
            directory, moved = self.store / partition, self.folder / "moved"
            directory.rename(moved)
            for replace in (lambda: directory.symlink_to(moved),
                            lambda: directory.write_bytes(b"text")):
                replace()
                before = self.tree_without_lock()
                with self.subTest(partition=partition, is_link=directory.is_symlink()):
                    for verb in (("archive", "get", self.store, "--index", 1), ("info", self.store),
                                 ("archive", "import", self.store, self.firn)):
                        told = self.failure(CORRUPT, *verb)
                        self.assertIn(f"store/{partition}' is not a directory", told)
                        self.assertIn("move it away and put the directory itself there", told)
                    self.verify_fails()
                    self.assertEqual(self.tree_without_lock(), before)
                directory.unlink()
            moved.rename(directory)
        self.output("verify", self.store, "--deep")

    def test_strays_beside_the_partitions_are_named_and_kept(self):
        (self.store / "notes.txt").write_bytes(b"mine")
        (self.store / "link\x1b[31m").symlink_to("nowhere")
        for line in ("stray        notes.txt: not firn's", "stray        link?[31m: not firn's"):
            self.assertIn(line, self.output("info", self.store).decode())
        self.assertEqual(self.json_lines("info", self.store)[0]["strays"],
                         ["link?[31m", "notes.txt"])
        self.assertIn("/notes.txt is not firn's", self.output("verify", self.store).decode())
        self.import_lines([b"another"])
        self.assertEqual((self.store / "notes.txt").read_bytes(), b"mine")

    def test_control_characters_of_a_manifest_do_not_reach_a_terminal(self):
        for copy in (self.store / "manifest").iterdir():
            content = copy.read_bytes()
            if b"page_size" in content:
                image = content[8:-4].replace(b"page_size", b"\x1b[2J_size")
                copy.write_bytes(content[:8] + image + crc32c(image).to_bytes(4, "big"))
        text = self.run_firn("info", self.store).stdout.decode()
        self.assertIn("\\x1b[2J_size 4084", text)
        self.assertNotIn("\x1b", text)

    def test_a_lock_file_that_is_none(self):
        lock = self.store / "LOCK"
        lock.unlink()
        for replace in (lambda: lock.symlink_to("nowhere"), lock.mkdir, lambda: os.mkfifo(lock)):
            replace()
            for verb in (("info", self.store), ("archive", "import", self.store, self.firn)):
                told = self.failure(CORRUPT, *verb)
                self.assertIn("LOCK'", told)
                self.assertIn("move it away", told)
            if lock.is_dir() and not lock.is_symlink():
                lock.rmdir()
            else:
                lock.unlink()
        lock.write_bytes(b"whatever")  # what it holds means nothing
        self.import_lines([b"another"])

    def test_one_is_singular(self):
        one = self.folder / "one"
        self.output("archive", "import", one, "-", "--lines", stdin=b"a line\n")
        told = self.failure(USAGE, "archive", "export", one, "--to", self.folder / "out")
        self.assertIn("left out 1 item,", told)
        (one / "index" / "0000000000000000").unlink()
        ran = self.run_firn("salvage", one, self.folder / "saved")
        self.assertIn(b"at most 1 item\n", ran.stdout)

    def test_a_missing_verb(self):
        for arguments in ((), ("archive",), ("metadata",)):
            self.assertIn("a verb is required", self.failure(USAGE, *arguments))

    def test_a_commit_to_the_manifest_that_was_cut_off(self):
        copy = self.store / "manifest" / b"right".hex()
        content = copy.read_bytes()
        other_version = content[:8] + b"\xff" * 8 + content[16:]
        for torn in (content[:-4] + b"torn", other_version, content[:-1]):
            copy.write_bytes(torn)
            found, = self.json_lines("verify", self.store, "--deep")
            self.assertEqual(found["damage"], [])
            self.assertEqual([bad["file"] for bad in found["damaged_copies"]], [str(copy)])
            self.import_lines([b"one more"])
            found, = self.json_lines("verify", self.store, "--deep")
            self.assertEqual(found["damaged_copies"], [])

    def test_a_damaged_manifest(self):
        for copy in (self.store / "manifest").iterdir():
            content = copy.read_bytes()
            copy.write_bytes(content[:8] + bytes(b ^ 0xFF for b in content[8:]))
        self.expect(CORRUPT, "archive", "stat", self.store)
        self.verify_fails("--deep")
        self.assertIn("no value was compared",
                      " ".join(self.verify_fails("--deep", "--content")["notes"]))
        self.expect(CORRUPT, "info", self.store)


class Processes(CommandTest):
    def test_what_was_acknowledged_survives_kill(self):
        lines = [b"%07d" % i * 20 for i in range(200_000)]
        done = -1
        for _ in range(4):
            rest = b"".join(line + b"\n" for line in lines[done + 1:])
            with subprocess.Popen([self.firn, "archive", "import", self.store, "-", "--lines",
                                   "--ack", "--sync-every", "100", "--items-per-section", "700"],
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

    def test_a_second_writer_learns_who_has_the_store(self):
        with self.open_import() as first:
            first.stdin.write(b"a\n")
            first.stdin.flush()
            self.assertEqual(first.stdout.readline(), b"synced 0\n")
            text = self.failure(LOCKED, "archive", "import", self.store, __file__)
            for part in (f"pid {first.pid}", socket.gethostname(), "firn"):
                self.assertIn(part, text)
            self.failure(LOCKED, "archive", "prune", self.store, "--before", 1)
            info, = self.json_lines("info", self.store)
            self.assertIn(str(first.pid), info["locked_by"])
            first.stdin.close()
            self.assertEqual(first.wait(), DONE)
        self.assertTrue((self.store / "LOCK").exists())
        self.assertIsNone(self.json_lines("info", self.store)[0]["locked_by"])
        self.assertEqual(self.output("archive", "get", self.store, "--index", 0), b"a")

    def test_info_of_a_store_whose_writer_was_killed(self):
        with self.open_import() as child:
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
            ended = self.run_firn(*arguments, stdout=writer)
            os.close(writer)
            self.assertEqual((ended.returncode, ended.stderr), (-signal.SIGPIPE, b""))


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

    def test_too_little_memory_is_told_and_nothing_is_lost(self):
        freezer = self.folder / "freezer"
        text = b"".join(b"%d\n" % number for number in range(50_000))
        self.output("freezer", "import", freezer, "-", "--lines", stdin=text)
        codes = set()
        for kilobytes in range(8 << 10, 64 << 10, 512):
            def limit_memory(size=kilobytes << 10):
                resource.setrlimit(resource.RLIMIT_AS, (size, size))
            if self.run_firn("version", preexec_fn=limit_memory).returncode != DONE:
                continue  # too little to start
            ran = self.run_firn("freezer", "put", freezer, "a value", preexec_fn=limit_memory)
            if ran.returncode == IO:
                self.assertIn(b"there is not enough memory", ran.stderr)
            codes.add(ran.returncode)
        self.assertEqual(codes, {DONE, IO})
        self.output("verify", freezer, "--deep")
        self.assertGreaterEqual(self.json_lines("freezer", "stat", freezer)[0]["items"], 50_000)

    def test_few_open_files(self):
        """Many more sections than the process may have files open ("ulimit -n 64")."""
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        text = b"".join(b"line %d\n" % number for number in range(1000))
        ran = self.expect(DONE, "archive", "import", self.store, "-", "--lines",
                          "--items-per-section", 5, stdin=text, preexec_fn=few)
        self.assertIn(b"1,000 items", ran.stderr)
        copy = self.folder / "copy"
        for arguments in (("verify", self.store, "--deep"), ("salvage", self.store, copy),
                          ("archive", "list", copy), ("archive", "stat", self.store),
                          ("archive", "prune", copy, "--before", 500)):
            with self.subTest(arguments=arguments):
                self.output(*arguments, preexec_fn=few)
        self.assertEqual(self.output("archive", "export", self.store, "--lines", preexec_fn=few),
                         text)

    def in_namespace(self, script):
        """Runs a shell script that may mount, as root or in a user namespace."""
        for unshare in (["unshare", "-m"], ["unshare", "-rm"]):
            probe = f"mount -t tmpfs -o size=1m tmpfs {self.folder}/mnt"
            (self.folder / "mnt").mkdir(exist_ok=True)
            allowed = subprocess.run([*unshare, "sh", "-c", probe], capture_output=True,
                                     check=False)
            if allowed.returncode == 0:
                return subprocess.run([*unshare, "sh", "-ec", script], capture_output=True,
                                      timeout=120, check=False)
        self.fail("no mounts on this machine, neither as root nor in a user namespace ('unshare "
                  f"-rm' says: {allowed.stderr.decode().strip()}): full and read-only disks cannot "
                  "be tried here; run this as root, or allow user namespaces")

    def test_a_full_disk(self):
        store = f"{self.folder}/mnt/store"
        ran = self.in_namespace(f"""
            mount -t tmpfs -o size=4m tmpfs {self.folder}/mnt
            yes {'z' * 999} | head -n 20000 > {self.folder}/lines
            code=0
            {self.firn} archive import {store} --lines {self.folder}/lines --ack \
                --sync-every 100 > {self.folder}/acks || code=$?
            echo "code $code"
            {self.firn} verify {store} --deep >&2
            last=$(tail -n 1 {self.folder}/acks | cut -d' ' -f2)
            {self.firn} archive get {store} --index $last | wc -c
            mount -o remount,size=40m {self.folder}/mnt
            {self.firn} archive import {store} --lines {self.folder}/lines
            {self.firn} verify {store} --deep >&2
            {self.firn} archive list {store} | wc -l""")
        self.assertEqual(ran.returncode, DONE, ran.stderr.decode())
        code, size, count = ran.stdout.decode().splitlines()
        self.assertEqual((code, size), ("code 5", "999"))
        self.assertGreater(int(count), 20_000)
        self.assertIn(b"No space left", ran.stderr)

    def test_a_read_only_disk(self):
        disk = self.folder / "disk"
        self.store = disk / "store"
        self.import_lines([b"a", b"b"])
        mounted = self.folder / "mnt" / "store"
        ran = self.in_namespace(f"""
            mount --bind {disk} {self.folder}/mnt
            mount -o remount,bind,ro {self.folder}/mnt
            code=0
            {self.firn} archive import {mounted} {self.firn} || code=$?
            {self.firn} archive prune {mounted} --before 1 || code=$code$?
            {self.firn} archive export {mounted} --to {self.folder}/mnt/out || code=$code$?
            echo $code
            {self.firn} verify {mounted} --deep >&2
            {self.firn} archive get {mounted} --index 1""")
        self.assertEqual(ran.returncode, DONE, ran.stderr.decode())
        self.assertEqual(ran.stdout, b"555\nb")
        self.assertEqual(ran.stderr.count(b"Read-only file system"), 3)

    def test_missing_permissions(self):
        """As another user if this is root, who may do everything."""
        tree = self.make_tree(6)
        program = self.folder / "firn"
        shutil.copy(self.firn, program)
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
    command_support.main()
