#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The house rules that a machine can check: layers, sizes, banned calls, file lists, links.

usage: tidy.py [ROOT]     prints `file:line: [rule] problem. fix` and exits 1 if there is any.

Every rule has a case in tidy_test.py. An exception is a row of ALLOWED, with its reason; a row that
no longer excuses anything is an error, too.
"""
import fnmatch
import os
import re
import sys
from pathlib import Path

# What the code of a folder may include from other folders; an include may only go down.
LAYERS = {
    "firn/base": set(),
    "firn/codec": {"firn/base"},
    "firn/io": {"firn/base", "firn/codec"},
    "firn/journal": {"firn/base", "firn/codec", "firn/io"},
    "firn/metadata": {"firn/base", "firn/codec", "firn/io"},
    "firn/store": {"firn/base", "firn/codec", "firn/io", "firn/metadata", "firn/journal/floors.h"},
    "firn/index": {"firn/base"},
    "testkit": {"firn/base", "firn/codec", "firn/io", "firn/journal/floors.h"},
}
LAYERS["firn/freezer"] = LAYERS["firn/store"] | {"firn/store", "firn/journal", "firn/index"}
LAYERS["firn/database"] = LAYERS["firn/freezer"]
LAYERS["firn/archive"] = LAYERS["firn/freezer"] | {"firn/freezer"}
# These may include everything.
UNLAYERED = {"tools", "tests", "sim", "campaign", "bench", "fuzz", "examples"}

# (rule, path glob, reason)
ALLOWED = [
    ("mutex", "firn/base/mutex.h", "wraps the standard mutexes"),
    ("os-header", "firn/base/owner_process.cc", "notices forks"),
    ("os-header", "firn/base/per_thread.cc", "notices the end of threads"),
    ("os-header", "firn/base/read_section.cc", "notices forks"),
    ("os-header", "firn/base/random.cc", "getrandom, the source of seeds"),
    ("os-header", "firn/base/epoch.cc", "membarrier, what readers leave to collectors"),
    ("os-header", "firn/index/location_arena.cc", "maps the memory of the tables, in huge pages"),
    ("os-header", "firn/freezer/resident_table.cc", "maps the memory of the heads, unreserved"),
    ("sleep", "firn/io/posix_lock.cc", "nothing tells when a process that dies is gone"),
    ("os-header", "testkit/child_process.h", "forks a test into two processes"),
    ("os-header", "testkit/temporary_directory.cc", "removes what a test left behind"),
    ("os-header", "testkit/failing_allocations.cc", "takes the places of the system's functions"),
    ("os-header", "testkit/system_calls.cc", "takes the places of the system's functions"),
    ("shared_ptr", "firn/base/value.h", "the pin of a value: several values share a mapping"),
    ("shared_ptr", "firn/journal/open_sections.h", "mechanism: as in section_table.h"),
    ("shared_ptr", "firn/journal/section_table.h", "mechanism: readers hold sections that are "
     "evicted or pruned meanwhile"),
    ("shared_ptr", "firn/journal/value_segment.h", "mechanism: values pin the mapping they lie in"),
]
# The page that describes the structures of a folder; it names the type of every public header.
PAGES = {"firn/io": "docs/storage.md", "firn/journal": "docs/journals.md",
         "firn/metadata": "docs/metadata.md", "firn/store": "docs/manifest.md",
         "firn/index": "docs/index.md",
         "firn/freezer": "docs/freezer.md", "firn/archive": "docs/archive.md",
         "firn/database": "docs/database.md"}

TEST_SUFFIX = re.compile(r"_(test|test_support|sim|fuzz|bench)\.(cc|h)$")
OS_HEADER = re.compile(r"^(sys/|linux/|arpa/|netinet/)|^(unistd|fcntl|dirent|signal|poll|pthread|"
                       r"liburing|dlfcn|termios|pwd|spawn)\.h$|^filesystem$")
LIMITS = {"production": 600, "test": 1000, "function": 70, "columns": 100, "public": 250}
WARN_LINES = 400

IO, TOOLS = ("firn/io/*",), ("tools/*",)
TESTS = ("*_test.*", "*_test_support.*", "tests/*", "testkit/*")
DRIVERS = ("tests/*", "sim/*", "campaign/*", "bench/*", "fuzz/*")
# (rule, pattern, globs where it is fine, what to do instead); matched outside comments and strings.
BANNED = [
    ("mutex", r"std::(mutex|shared_mutex|recursive_mutex|lock_guard|unique_lock|scoped_lock|"
     r"shared_lock|condition_variable)\b", (), "use Mutex, MutexLock, SharedMutex, ReaderLock or "
     "WriterLock of firn/base/mutex.h (condition_variable_any waits on a Mutex)"),
    ("assert", r"(?<!\w)assert\s*\(|<cassert>|<assert\.h>", (), "use CHECK or DCHECK"),
    ("rand", r"(?<![\w.>])(std::)?s?rand\s*\(", (), "use firn/base/random.h with a seed"),
    ("rand", r"std::random_device\b", ("firn/base/*",), "use firn/base/random.h with a seed"),
    ("clock", r"\bsystem_clock\b|\bgettimeofday\b|\bCLOCK_REALTIME\b|(?<![\w.:>])(std::)?time\s*\(",
     IO + TOOLS, "nothing on disk depends on the clock; measure with steady_clock"),
    ("filesystem", r"\bstd::filesystem\b", IO + TOOLS + TESTS + DRIVERS + ("*_bench.*", "*_sim.*"),
     "go through FileSystem or Storage"),
    ("getenv", r"\bgetenv\s*\(", ("firn/base/*",) + TOOLS + TESTS + DRIVERS + ("*_bench.*",),
     "pass an option; the environment is read in base and in tools"),
    ("thread", r"\bstd::j?thread\b|\bstd::async\b|\bpthread_create\b",
     TOOLS + TESTS + DRIVERS + ("*_bench.*", "*_sim.*", "firn/freezer/resident_table.cc"),
     "the library starts no threads (docs/decisions/0003)"),
    ("thread-local", r"\bthread_local\b(?! constinit)", TESTS + DRIVERS,
     "a destructor that cannot be noted ends the process: thread_local constinit PerThread<T>"),
    ("sleep", r"\bsleep_(for|until)\b|(?<!\w)u?sleep\s*\(|\bnanosleep\b", TOOLS + DRIVERS,
     "wait for the event, not for time"),
    ("throw", r"(?<!\w)throw\b(?! std::bad_alloc\(\);)", TOOLS + DRIVERS + ("*_test.*",),
     "return fail(Errc::...)"),
    ("result-bool", r"\bResult<bool>", (), "say what the two answers are: an enum or an optional"),
    ("skipped", r"\bGTEST_SKIP\b|\bDISABLED_", (), "a test runs or is deleted"),
]
TEXT = ("*.cc", "*.h", "*.py", "*.sh", "*.md", "*.txt", "*.cmake", "Makefile")
LEFTOVER = re.compile(r"\b(" + "|".join(["FIX" + "ME", "TO" + "DO", "X" + "XX"]) + r")\b")
TOKEN = re.compile(
    r'R"(?P<d>[^()\s\\]*)\((?:.|\n)*?\)(?P=d)"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"|'
    r"\b\d[\w.]*(?:'[\w.]+)*|'(?:\\.|[^'\\\n])+'")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)
CONTAINER = re.compile(r"(inline\s+)?(namespace|class|struct|union|enum|extern)\b")


def matches(path, globs):
    return any(fnmatch.fnmatch(path, glob) for glob in globs)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def without_comments_and_strings(text):
    def blank(match):
        token = match.group(0)
        if token[0].isdigit():
            return token
        quotes = '""' if token[0] in 'R"' else ""
        return quotes + "\n" * token.count("\n")
    return TOKEN.sub(blank, text)


def after_template(head):
    """The head of a declaration without access labels and template parameter lists."""
    head = re.sub(r"^(\s*(public|private|protected)\s*:)+", "", head).lstrip()
    while head.startswith("template"):
        depth = 0
        for at, char in enumerate(head):
            depth += (char == "<") - (char == ">")
            if char == ">" and depth == 0:
                break
        head = head[at + 1:].lstrip()
    return head


def functions(code):
    """Yields (first line, last line) of every function body; `code` has no comments or strings."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"), code,
                  flags=re.M)
    at = head_begin = 0
    while at < len(code):
        if code[at] in ";}":
            head_begin = at + 1
        elif code[at] == "{":
            head = code[head_begin:at]
            if not CONTAINER.match(after_template(head)):
                end, depth = at + 1, 1
                while end < len(code) and depth:
                    depth += (code[end] == "{") - (code[end] == "}")
                    end += 1
                if "(" in head and not head.rstrip().endswith("="):
                    blank = len(head) - len(head.lstrip())
                    yield line_of(code, head_begin + blank), line_of(code, end - 1)
                at = end - 1
            head_begin = at + 1
        at += 1


class Tidy:
    def __init__(self, root):
        self.root = Path(root)
        self.errors, self.warnings, self.used = [], [], set()
        self.files = []
        for folder, names, files in os.walk(self.root):
            here = Path(folder).relative_to(self.root)
            hidden = [n for n in names if n in ("build", "__pycache__", ".git", ".cache")]
            names[:] = [n for n in names if n not in hidden and not n.startswith("build-")]
            self.files += [(here / name).as_posix() for name in files]
        self.files.sort()
        self.listed = {f: self.read(f) for f in self.files if f.endswith("CMakeLists.txt")}
        self.public = set(self.public_headers())

    def read(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")

    def error(self, rule, path, line, problem):
        for row in ALLOWED:
            if row[0] == rule and fnmatch.fnmatch(path, row[1]):
                self.used.add(row)
                return
        self.errors.append(f"{path}:{line}: [{rule}] {problem}")

    def public_headers(self):
        for path, text in self.listed.items():
            keyword = None
            for word in re.sub(r"#[^\n]*", "", text).replace("(", " ").replace(")", " ").split():
                if re.fullmatch(r"[A-Z_]+", word):
                    keyword = word
                elif keyword in ("HEADERS", "FILES") and word.endswith(".h"):
                    yield (Path(path).parent / word).as_posix()

    def run(self):
        for path in self.files:
            text = None
            if matches(path, TEXT):
                text = self.read(path)
                self.check_text(path, text)
            if matches(path, ("*.cc", "*.h")):
                self.check_code(path, text)
            if path.endswith(".md"):
                self.check_links(path, text)
        for path in sorted(self.public):
            self.check_public(path)
        for row in ALLOWED:
            if row not in self.used and fnmatch.filter(self.files, row[1]):
                self.error("allowed", "tools/tidy.py", 1, f"{row} excuses nothing; remove it")

    def check_text(self, path, text):
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if LEFTOVER.search(line) and not path.startswith("tools/tidy"):
                self.error("leftover", path, number, "do it or open an issue; delete the note")
        if matches(path, ("*.cc", "*.h", "*.py", "*.sh")):
            if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:2]):
                self.error("spdx", path, 1, "begin with `// SPDX-License-Identifier: Apache-2.0`")
            for number, line in enumerate(lines, 1):
                if len(line) > LIMITS["columns"]:
                    self.error("columns", path, number, f"{len(line)} columns; wrap at 100")

    def check_code(self, path, text):
        code = without_comments_and_strings(text)
        is_test = bool(TEST_SUFFIX.search(path)) or matches(path, TESTS + DRIVERS)
        for rule, pattern, fine, instead in BANNED:
            if not matches(path, fine):
                for match in re.finditer(pattern, code):
                    self.error(rule, path, line_of(code, match.start()),
                               f"`{match.group(0).strip()}`: {instead}")
        if path.endswith(".h"):
            if "#pragma once" not in code:
                self.error("pragma", path, 1, "a header needs `#pragma once`")
            for match in re.finditer(r"\busing\s+namespace\b", code):
                self.error("using", path, line_of(code, match.start()), "write out the names")
        for match in re.finditer(r"\b(?:if|for|while) \([^\n]*\)\s*\n?\s*TRY_INTO\(|"
                                 r"\belse\s+TRY_INTO\(", code):
            self.error("try-into", path, line_of(code, match.start()), "TRY_INTO needs braces here")
        if path.startswith("firn/") and is_test and re.search(r"std::j?thread\b", code):
            listed = self.listed.get(os.path.dirname(path) + "/CMakeLists.txt", "")
            if not path.endswith("_stress_test.cc") and "THREADED" not in listed or not re.search(
                    r"^(?:TYPED_)?TEST\w*\(\w+,\s*\w*(Thread|Concurrent|Readers|Stress)",
                    code, re.M):
                self.error("threaded", path, 1, "the thread sanitizer would not run it: THREADED "
                           "in CMakeLists.txt and Thread, Concurrent or Readers in the test's name")
        self.check_layers(path, text)
        lines = text.count("\n")
        limit = LIMITS["test" if is_test else "production"]
        if lines > limit:
            self.error("size", path, limit, f"{lines} lines, at most {limit}; split by subject")
        elif not is_test and lines > WARN_LINES:
            self.warnings.append(f"{path}: warning: {lines} lines; {limit} is the limit")
        for first, last in functions(code):
            if last - first + 1 > LIMITS["function"]:
                self.error("function", path, first, f"{last - first + 1} lines, at most "
                           f"{LIMITS['function']}; give a part of it a name of its own")
        owner = next((p for p in Path(path).parents
                      if (p / "CMakeLists.txt").as_posix() in self.listed), None)
        if owner is not None:
            name = Path(path).relative_to(owner).as_posix()
            words = self.listed[(owner / "CMakeLists.txt").as_posix()]
            if not re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w./-])", words):
                self.error("unlisted", path, 1, f"name it in {owner.as_posix()}/CMakeLists.txt")

    def check_layers(self, path, text):
        parts = path.split("/")
        folder = "/".join(parts[:2]) if parts[0] == "firn" else parts[0]
        roots = tuple(f"{f}/" for f in UNLAYERED | LAYERS.keys())
        is_test = bool(TEST_SUFFIX.search(path))
        if folder not in LAYERS and folder not in UNLAYERED and len(parts) > 1:
            self.error("layer", path, 1, f"{folder} has no layer; give it one in tools/tidy.py")
        for match in INCLUDE.finditer(text):
            name, line = match.group(2), line_of(text, match.start())
            if match.group(1) == "<":
                if OS_HEADER.search(name) and folder != "firn/io" and not (
                        folder in UNLAYERED or (is_test and name == "filesystem")):
                    self.error("os-header", path, line, f"<{name}>: only io/ talks to the system")
                continue
            if ".." in name or not name.startswith(roots):
                self.error("include", path, line, f'"{name}": write the path from the root')
                continue
            if folder in UNLAYERED or name.startswith(folder + "/"):
                continue
            allowed = LAYERS.get(folder, set()) | ({"testkit", "sim"} if is_test else set())
            if name not in allowed and not name.startswith(tuple(f"{f}/" for f in allowed)):
                below = ", ".join(sorted(allowed)) or "nothing"
                self.error("layer", path, line, f"{folder} includes {name}; it may use {below}")

    def check_links(self, path, text):
        text = re.sub(r"^```.*?^```|`[^`\n]*`", lambda m: "\n" * m.group(0).count("\n"), text,
                      flags=re.M | re.S)
        for match in re.finditer(r"\]\(([^)\s#]+)(#[^)\s]*)?\)", text):
            target = match.group(1)
            there = (self.root / path).parent / target
            if not re.match(r"[a-z]+:", target) and not there.exists():
                self.error("link", path, line_of(text, match.start()), f"{target} does not exist")

    def check_public(self, path):
        if not (self.root / path).exists():
            self.error("missing", path, 1, "listed as a public header, but there is no such file")
            return
        text = self.read(path)
        lines = text.count("\n")
        if lines > LIMITS["public"]:
            self.error("public-size", path, LIMITS["public"], f"{lines} lines, at most "
                       f"{LIMITS['public']} in a public header; move mechanism out")
        code = without_comments_and_strings(text)
        for match in re.finditer(r"\bshared_ptr\b", code):
            labels = re.findall(r"\b(public|private|protected):|\b(?:class|struct)\s[^;{]*\{",
                                code[:match.start()])
            if not labels or labels[-1] != "private":
                self.error("shared_ptr", path, line_of(code, match.start()),
                           "in a public signature; use values or unique_ptr")
        page = PAGES.get("/".join(path.split("/")[:2]))
        name = "".join(word.capitalize() for word in Path(path).stem.split("_"))
        if page and not (page in self.files and re.search(rf"\b{name}\b", self.read(page))):
            self.error("docs", path, 1, f"{page} does not say what {name} is for")


def main():
    tidy = Tidy(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    tidy.run()
    print("\n".join(tidy.warnings + tidy.errors + [f"{len(tidy.errors)} problems"]))
    return 1 if tidy.errors else 0


if __name__ == "__main__":
    sys.exit(main())
