// SPDX-License-Identifier: Apache-2.0
//
// FloorHints: the blob "floors" of a manifest. Raised floors are written here without a flush.
//
//   record (32 bytes)  role u32 | section u64 | size u64 | generation u64 | crc32c u32
//   slot n             records 2n and 2n + 1, written in turn: a torn write costs the newer one
//
// Every record with a valid checksum is true as long as its generation lasts; the others are no
// damage worth telling, as a hint may be lost at any time.
// Threads: none of its own; the manifest's lock covers it. Cost: raise is one write of 32 bytes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"
#include "firn/store/manifest.h"

namespace firn {

struct FloorHint {
  StoreRole role{};
  Section section;
  uint64_t size = 0;
  uint64_t generation = 0;
};

class FloorHints {
 public:
  // Reads the hints, if there are any. Changes nothing. With `read_only`, they are all of one
  // moment, even if another process writes some: Errc::locked if there was none that long.
  [[nodiscard]] static Result<std::unique_ptr<FloorHints>> open(Storage& storage, bool read_only,
                                                                RecoveryLog& recovery);

  [[nodiscard]] const std::vector<FloorHint>& found() const { return found_; }

  // Opens the blob for writing, or makes it. Comes before write.
  [[nodiscard]] Status make_ready_for_writing();
  // Not durable, but a killed process has written it.
  [[nodiscard]] Status write(const FloorHint& hint);
  // All that was written so far is recorded elsewhere: its slots may be used again.
  void restart() { slots_.clear(); }

 private:
  struct Slot {
    uint64_t index = 0;
    uint64_t writes = 0;
  };

  explicit FloorHints(Storage& storage) : storage_(storage) {}
  [[nodiscard]] Result<Buffer> read_content() const;

  Storage& storage_;
  std::unique_ptr<Blob> blob_;  // null: not ready for writing
  bool is_damaged_ = false;     // its header is
  std::vector<FloorHint> found_;
  std::map<std::pair<StoreRole, Section>, Slot> slots_;
};

}  // namespace firn
