#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes one program of all C++ blocks of the documentation; each must compile and succeed.

usage: docs_examples.py OUTPUT PAGE...

A block is the body of a function that gets `firn::Storage& storage`, an empty store in memory, and
returns a firn::Status; its #include lines move to the top. CHECK says what the text promises.
"""
import re
import sys
from pathlib import Path

MAIN = """
int main() {
  bool all_succeed = true;
  for (const auto& [place, example] : examples) {
    firn::MemoryStorage storage;
    const firn::Status status = example(storage);
    if (status) continue;
    std::cerr << place << ": " << status.error().message << '\\n';
    all_succeed = false;
  }
  return all_succeed ? 0 : 1;
}
"""


def main():
    output, pages = sys.argv[1], sys.argv[2:]
    includes = {'#include "firn/io/memory_storage.h"', '#include "firn/base/check.h"'}
    functions, table = [], []
    for page in pages:
        text = Path(page).read_text()
        found = list(re.finditer(r"^```cpp\n(.*?)^```$", text, flags=re.M | re.S))
        if not found:
            sys.exit(f"{page} has no C++ example")
        for block in found:
            line = text.count("\n", 0, block.start()) + 1
            lines = block.group(1).splitlines()
            includes |= {l for l in lines if l.startswith("#include")}
            body = "\n".join("" if l.startswith("#include") else l for l in lines)
            name = f"example_{len(table)}"
            functions.append(f"firn::Status {name}([[maybe_unused]] firn::Storage& storage) {{\n"
                             f'#line {line + 1} "{page}"\n{body}\n  return {{}};\n}}\n')
            table.append(f'    {{"{Path(page).name}:{line}", {name}}},\n')
    Path(output).write_text(
        "#include <iostream>\n#include <utility>\n#include <vector>\n" +
        "\n".join(sorted(includes)) + "\n\nnamespace {\n\nusing namespace firn;\n\n" +
        "\n".join(functions) + "\nusing Example = firn::Status (*)(firn::Storage&);\n"
        "const std::vector<std::pair<const char*, Example>> examples = {\n" + "".join(table) +
        "};\n\n}  // namespace\n" + MAIN)


if __name__ == "__main__":
    main()
