// SPDX-License-Identifier: Apache-2.0
//
// For fuzz targets: FuzzedStorage is memory whose random seeds repeat, so that an input does; Told
// is what a store says about itself. An item that was synced and is gone must have been told of:
//
//   CHECK(has_all || told.says_more_than(told_undamaged), "what is gone is told");
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "firn/io/recovery_report.h"

namespace firn::testkit {

class FuzzedStorage final : public MemoryStorage {
 public:
  [[nodiscard]] uint64_t random_seed() override { return ++drawn_; }
  // The floors that a manifest may lose at any time: without them, nothing shows that a store whose
  // writer was killed has lost what the last syncs covered.
  [[nodiscard]] std::optional<Bytes> hints() const { return raw("manifest", as_bytes("floors")); }

 private:
  uint64_t drawn_ = 0;
};

class Told {
 public:
  void add(const RecoveryReport& report) {
    for (const CutRange& cut : report.cuts)
      add("cut", cut.range);
    for (const BlobRange& damage : report.damage)
      add("damage", damage);
    lines_.insert(report.notes.begin(), report.notes.end());
  }
  void add(const Status& failed) {
    if (!failed) lines_.insert(failed.error().message);
  }

  // Some damage is told of, however healthy stores are described.
  [[nodiscard]] bool says_more_than(const Told& undamaged) const {
    return !std::ranges::includes(undamaged.lines_, lines_);
  }

 private:
  void add(std::string_view what, const BlobRange& range) {
    lines_.insert(concat(what, " ", range.partition, "/", range.blob, " ", range.offset, "+",
                         range.size_bytes, ": ", range.reason));
  }

  std::set<std::string> lines_;
};

}  // namespace firn::testkit
