// SPDX-License-Identifier: Apache-2.0
//
// Uses the installed headers and the installed library, nothing else.
#include <iostream>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/memory_storage.h"

int main() {
  firn::MemoryStorage storage;
  auto blob = storage.open("values", firn::as_bytes("a"), firn::OpenMode::create);
  if (!blob) {
    std::cerr << firn::errc_name(blob.error().code) << ": " << blob.error().message << '\n';
    return 1;
  }
  if (!(*blob)->sync()) return 1;
  std::cout << storage.description() << '\n';
  return 0;
}
