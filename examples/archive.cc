// SPDX-License-Identifier: Apache-2.0
//
// The example of README.md: a test checks that both are the same, and runs it.
#include <iostream>

#include "firn/archive/prunable_archive.h"
#include "firn/io/posix_storage.h"

using firn::as_bytes;

firn::Status run(const std::string& directory) {
  TRY_INTO(const auto storage, firn::open_posix_storage(directory, {.create = true}));
  TRY_INTO(const auto archive, firn::PrunableArchive::open(*storage, {.key_size_bytes = 5}));
  TRY(archive->put(1, as_bytes("alpha"), as_bytes("the first value")));
  TRY(archive->put(65'536, as_bytes("bravo"), as_bytes("the second value")));
  TRY(archive->sync());  // both items survive a power cut from here on

  TRY_INTO(const auto value, archive->get(as_bytes("bravo")));
  if (value) std::cout << firn::as_text(value->bytes()) << '\n';
  TRY(archive->prune(65'536));  // drops the section that holds item 1
  return archive->close();
}

int main(int argc, char** argv) {
  const firn::Status status = run(argc > 1 ? argv[1] : "example-store");
  if (!status) std::cerr << status.error().message << '\n';
  return status ? 0 : 1;
}
