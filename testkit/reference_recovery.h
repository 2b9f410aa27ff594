// SPDX-License-Identifier: Apache-2.0
//
// What recovery must leave of a journal, read from the bytes of a store before anything opened it:
// FORMAT.md once more, naive, and sharing no code with the library. The test of a recovery compares
// what it finds in the store with that: neither a record less, nor one more.
//
// It answers for an open for writing that is not strict, of a fixed journal or an indexed value log
// (so of the items of archives and the records of freezers, too), with the floors of a manifest or
// without. It leaves open: whether a store is refused that has no manifest; what a store tells of
// its damage; values that were compressed are only their bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "firn/base/bytes.h"
#include "testkit/reference_metadata.h"
#include "testkit/store_files.h"

namespace firn::testkit::reference {

enum class Fate : uint8_t {
  readable,  // with these bytes
  damaged,   // an error says so
  absent,    // cut, or never there
  unknown,   // left open
};

struct Record {
  Fate fate = Fate::damaged;
  Bytes bytes = {};
  Fate value_fate = Fate::damaged;  // of an indexed value log
  Bytes value = {};                 // as it is stored, without its checksum
};

struct Section {
  std::vector<Record> records = {};
  Fate beyond = Fate::absent;  // of positions behind the records

  [[nodiscard]] Fate fate(uint64_t position) const {
    return position < records.size() ? records[position].fate : beyond;
  }
  // Nothing of it is hidden by damage.
  [[nodiscard]] bool is_whole() const;
};
using Sections = std::map<uint64_t, Section>;

struct Geometry {
  uint32_t page_size_bytes = 0;
  uint32_t record_size_bytes = 0;
  std::string index = "index";
  std::string values = "values";  // empty: a fixed journal

  void use_partitions_of(const Manifest& manifest);
};

// Of a record that ends in a value's location.
[[nodiscard]] uint64_t value_offset(ByteSpan record);
[[nodiscard]] uint64_t value_size(ByteSpan record);  // with its checksum

// Every section that may have records.
[[nodiscard]] Sections recover(const StoreFiles& files, const Manifest& manifest,
                               const Geometry& geometry);

}  // namespace firn::testkit::reference
