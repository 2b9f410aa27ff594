// SPDX-License-Identifier: Apache-2.0
//
// What a PrunableArchive keeps in memory of its records.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "firn/archive/position_map.h"
#include "firn/base/strong_id.h"
#include "firn/index/token_index.h"

namespace firn::archive {

// The records of a section.
struct SectionItems {
  uint32_t slot = 0;  // in the archive's slots
  PositionMap first;  // the first record of each index
  std::map<uint64_t, std::vector<uint32_t>> more;
  uint64_t records = 0;
};

// Where a record is in the index.
struct Locator {
  Section section;
  Position position;
};

// A record that was read from the index.
struct Replayed {
  uint64_t index;
  uint64_t token;
  Locator locator;
};

// Records of a replay on their way into the maps.
struct Arrivals {
  std::vector<Replayed> records;          // in no map yet
  std::vector<TokenIndex::Entry> tokens;  // of those that lack in the token index only
};

// The end of what is known of a section that grows, for its next records.
struct KnownEnd {
  Section section;
  uint64_t values_end;  // where the last value ends
};

// Of a section.
struct Damage {
  std::string message;  // names blob and offset
  bool hides_items = false;
};

}  // namespace firn::archive
