// SPDX-License-Identifier: Apache-2.0
//
// The files of a small store as bytes: to damage them, and to put them into another storage.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "firn/base/bytes.h"
#include "firn/io/memory_storage.h"

namespace firn::testkit {

using FileName = std::pair<std::string, Bytes>;  // partition, blob
using StoreFiles = std::map<FileName, Bytes>;    // whole files, headers included

[[nodiscard]] StoreFiles files_of(MemoryStorage& storage);
// Puts the files in the place of those of these names.
void load_files(MemoryStorage& storage, const StoreFiles& files);
// "index/0000000000000000", as findings name files.
[[nodiscard]] std::string file_text(const FileName& name);

// A part of a file; offsets count its header.
struct FileRange {
  FileName file;
  uint64_t begin = 0;
  uint64_t end = UINT64_MAX;

  [[nodiscard]] bool overlaps(const FileRange& other) const {
    return file == other.file && begin < other.end && other.begin < end;
  }
};

}  // namespace firn::testkit
