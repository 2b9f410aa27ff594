// SPDX-License-Identifier: Apache-2.0
//
// Small stores of every structure, for sweeps of damage: their files, what was synced, and how to
// read them back. A seed draws geometry, content, and how the last writer ended.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"

namespace firn::campaign {

using FileName = std::pair<std::string, Bytes>;  // partition, blob
using Files = std::map<FileName, Bytes>;         // with headers

enum class Answer : uint8_t {
  right,
  absent,
  failed,  // an error, which is an honest answer
  wrong,
};

// What an open and all questions gave.
struct Reading {
  std::string report;           // what open said: its error, or the recovery report
  bool is_open = false;         // if not, nothing was answered
  std::vector<Answer> answers;  // first of the synced items, then of those that may be lost
  friend bool operator==(const Reading&, const Reading&) = default;
};

struct SweptStore {
  Files files;
  std::vector<Files> earlier;  // as they were after each sync
  size_t synced_count = 0;     // of the answers
  std::function<Reading(Storage&)> read;
};

enum class Ending : uint8_t { closed, killed };

// Damage that leaves bytes which are as valid as the right ones: nothing on disk tells.
struct Limit {
  std::string_view damage;
  std::string_view partition;
};

struct SweptKind {
  std::string_view name;
  SweptStore (*make)(Random& random, Ending ending);
  std::span<const Limit> limits;
};

[[nodiscard]] std::span<const SweptKind> swept_kinds();

}  // namespace firn::campaign
