#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that every rule of tidy.py fires, alone, at the right line, and stays quiet otherwise."""
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import tidy  # noqa: E402

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
HEADER = SPDX + "#pragma once\n"
GOOD = {
    "firn/journal/CMakeLists.txt": "firn_module(SOURCES a.cc  # the writer\n HEADERS a.h\n"
                                   " PRIVATE_HEADERS b.h TESTS a_test.cc a_bench.cc)\n",
    "firn/journal/a.h": HEADER + '#include <string>\n\n#include "firn/io/storage.h"\nclass A {};\n',
    "firn/journal/b.h": HEADER,
    "firn/journal/a.cc": SPDX + "int f() { return 0; }\n",
    "firn/journal/a_test.cc": SPDX + '#include "testkit/matchers.h"\n',
    "firn/journal/a_bench.cc": SPDX,
    "docs/journals.md": "An `A` is a journal, see [the code](../firn/journal/a.h).\n",
}


class TidyTest(unittest.TestCase):
    def findings(self, changes, allowed=()):
        with tempfile.TemporaryDirectory() as root:
            for path, text in (GOOD | changes).items():
                if text is not None:
                    file = Path(root) / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text)
            with mock.patch.object(tidy, "ALLOWED", list(allowed)):
                checked = tidy.Tidy(root)
                checked.run()
            self.warnings = checked.warnings
            return checked.errors

    def expect(self, rule, path, line, text, **others):
        errors = self.findings({path: text} | others.get("others", {}))
        self.assertEqual(len(errors), 1, errors)
        self.assertTrue(errors[0].startswith(f"{path}:{line}: [{rule}] "), errors[0])

    def test_good_tree_is_quiet(self):
        self.assertEqual(self.findings({}), [])

    def test_banned_calls(self):
        for rule, code in [
                ("mutex", "std::mutex m;"), ("mutex", "std::lock_guard lock(m);"),
                ("assert", "assert(x);"), ("assert", "#include <cassert>"),
                ("rand", "int x = rand();"), ("rand", "std::random_device device;"),
                ("clock", "std::chrono::system_clock::now();"), ("clock", "time(nullptr);"),
                ("filesystem", "std::filesystem::path p;"), ("getenv", 'std::getenv("A");'),
                ("thread", "std::thread t;"),
                ("thread-local", "thread_local std::string t;"),
                ("sleep", "std::this_thread::sleep_for(s);"),
                ("throw", "throw 1;"), ("result-bool", "Result<bool> f();"),
                ("skipped", "GTEST_SKIP();"), ("skipped", "TEST(A, DISABLED_B);")]:
            with self.subTest(code):
                self.expect(rule, "firn/journal/a.cc", 3, SPDX + "\n" + code + "\n")

    def test_banned_calls_are_fine_where_they_belong(self):
        self.assertEqual(self.findings({
            "firn/journal/a.cc": SPDX + "// assert(x) and std::mutex in a comment\n"
                                 "/* throw\n */ static_assert(true); auto s = \"rand()\";\n"
                                 "auto t = R\"(time(0))\"; int n = 1'000;\n"
                                 "char c = '\"'; f.time();\n",
            "firn/journal/CMakeLists.txt": GOOD["firn/journal/CMakeLists.txt"].replace(
                "(", "(THREADED "),
            "firn/journal/a_test.cc": SPDX + "TEST(A, WhenConcurrent_B) {}\n"
                                      "std::thread t; std::filesystem::path p;\n",
            "tools/firn/x.cc": SPDX + "#include <unistd.h>\nstd::getenv(x);\n"}), [])

    def test_layers(self):
        for rule, path, code in [
                ("layer", "firn/journal/a.cc", '#include "firn/metadata/metadata_store.h"'),
                ("layer", "firn/journal/a.cc", '#include "firn/archive/archive.h"'),
                ("layer", "firn/journal/a.cc", '#include "testkit/matchers.h"'),
                ("layer", "firn/index/a.cc", '#include "firn/io/storage.h"'),
                ("layer", "firn/metadata/a.cc", '#include "firn/journal/floors.h"'),
                ("layer", "firn/store/a.cc", '#include "firn/journal/fixed_journal.h"'),
                ("layer", "firn/base/a.cc", '#include "firn/codec/varint.h"'),
                ("layer", "testkit/a.cc", '#include "firn/journal/fixed_journal.h"'),
                ("include", "firn/journal/a.cc", '#include "a.h"'),
                ("include", "firn/journal/a.cc", '#include "../io/storage.h"'),
                ("os-header", "firn/journal/a.cc", "#include <unistd.h>"),
                ("os-header", "firn/journal/a.cc", "#include <sys/stat.h>")]:
            with self.subTest(code):
                self.expect(rule, path, 2, SPDX + code + "\n")
        self.expect("layer", "firn/other/a.cc", 1, SPDX)
        self.assertEqual(self.findings({
            "firn/store/a.cc": SPDX + '#include "firn/journal/floors.h"\n',
            "firn/io/a.cc": SPDX + "#include <unistd.h>\n",
            "firn/archive/a.cc": SPDX + '#include "firn/index/x.h"\n'
                                 '#include "firn/store/x.h"\n'}), [])

    def test_sizes(self):
        lines = "int x;\n"
        self.expect("size", "firn/journal/a.cc", 600, SPDX + lines * 600)
        self.expect("size", "firn/journal/a_test.cc", 1000, SPDX + lines * 1000)
        self.expect("public-size", "firn/journal/a.h", 250, HEADER + "class A {};\n" + lines * 250)
        self.assertEqual(self.findings({"firn/journal/a.cc": SPDX + lines * 599}), [])
        self.assertEqual(len(self.warnings), 1)
        self.expect("columns", "firn/journal/a.cc", 2, SPDX + "/" * 101 + "\n")
        self.assertEqual(self.findings({"firn/journal/a.cc": SPDX + "/" * 100 + "\n"}), [])

    def test_function_size(self):
        for head in ["void f() {", "template <class T, class U = V<T>>\nstatic int f(T) const {",
                     "A::A(int x)\n    : a_{x}, b_(x) {", "TEST(A, B) {",
                     "class A {\n public:\n  void f() {", "auto f = [](int x) {"]:
            with self.subTest(head):
                code = SPDX + "namespace a {\n" + head + "\n" + "  x = {1};\n" * 70 + "}\n}\n"
                errors = self.findings({"firn/journal/a.cc": code})
                self.assertEqual([e.split("] ")[0].split("[")[1] for e in errors], ["function"])
        for good in ["namespace a {\n" + "void f() {}\n" * 80 + "}\n",
                     "struct A {\n" + "  int f() { return 0; }\n" * 80 + "};\n",
                     "const int x[] = {\n" + "  g(1),\n" * 80 + "};\n",
                     "void f() {\n" + "  x();\n" * 68 + "}\n"]:
            self.assertEqual(self.findings({"firn/journal/a.cc": SPDX + good}), [])

    def test_files(self):
        self.expect("spdx", "firn/journal/a.cc", 1, "int x;\n")
        self.expect("pragma", "firn/journal/b.h", 1, SPDX)
        self.expect("using", "firn/journal/b.h", 3, HEADER + "using namespace std;\n")
        self.expect("unlisted", "firn/journal/c.cc", 1, SPDX)
        self.expect("unlisted", "firn/journal/aa.cc", 1, SPDX)
        self.expect("missing", "firn/journal/a.h", 1, None, others={"docs/journals.md": "A\n"})
        self.expect("leftover", "firn/journal/a.cc", 2, SPDX + "// TO" + "DO: later\n")
        self.expect("try-into", "firn/journal/a.cc", 2, SPDX + "if (x)\n  TRY_INTO(auto y, z());\n")
        self.expect("link", "docs/journals.md", 2, "A\n[gone](gone.md#part)\n")
        self.assertEqual(self.findings({"README.md": "[web](https://x.org) [here](#a) `[a](b)`\n"}),
                         [])

    def test_public_headers(self):
        self.expect("shared_ptr", "firn/journal/a.h", 5,
                    HEADER + "class A {\n public:\n  std::shared_ptr<int> f();\n};\n")
        self.expect("shared_ptr", "firn/journal/a.h", 4,
                    HEADER + "struct A {\n  std::shared_ptr<int> f;\n};\n")
        self.expect("docs", "firn/journal/a.h", 1, HEADER, others={"docs/journals.md": "An axe.\n"})
        self.expect("docs", "firn/journal/a.h", 1, HEADER, others={"docs/journals.md": None})
        private = "class A {\n private:\n  std::shared_ptr<int> f_;\n};\n"
        self.assertEqual(self.findings({"firn/journal/a.h": HEADER + private}), [])

    def test_threaded_tests_run_under_the_sanitizer(self):
        named = SPDX + "TEST(A, WhenConcurrent_B) { std::thread t; }\n"
        self.expect("threaded", "firn/journal/a_test.cc", 1, named)
        self.expect("threaded", "firn/journal/a_test.cc", 1, named.replace("Concurrent", "C"),
                    others={"firn/journal/CMakeLists.txt": "THREADED " +
                            GOOD["firn/journal/CMakeLists.txt"]})

    def test_allow_list(self):
        row = ("rand", "firn/journal/*.cc", "a reason")
        bad = {"firn/journal/a.cc": SPDX + "int x = rand();\n"}
        self.assertEqual(self.findings(bad, allowed=[row]), [])
        errors = self.findings({}, allowed=[row])
        self.assertEqual(len(errors), 1)
        self.assertIn("excuses nothing", errors[0])


if __name__ == "__main__":
    unittest.main()
