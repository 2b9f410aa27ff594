// SPDX-License-Identifier: Apache-2.0
//
// Stores of every structure, for sweeps of damage: their files, what was synced, and how to
// read them back. A seed draws geometry, content, and how the last writer ended.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "testkit/store_files.h"

namespace firn::campaign {

using testkit::file_text;
using testkit::FileName;
using testkit::FileRange;
using testkit::files_of;
using testkit::load_files;
using Files = testkit::StoreFiles;

enum class Outcome : uint8_t {
  right,
  absent,
  failed,  // an error, which is an honest answer
  wrong,
};

struct Answer {
  Outcome outcome = Outcome::right;
  std::string error = {};  // of a failed one
  // Where keys are made of contents, comparing them says so of this item.
  bool differs_from_key = false;
  friend bool operator==(const Answer&, const Answer&) = default;
};

// A cut, damage, or a note, which names files in its text only.
struct Finding {
  std::string file;  // as testkit::file_text() gives it
  std::string text;
  friend bool operator==(const Finding&, const Finding&) = default;
};

// What an open and all questions gave.
struct Reading {
  std::string refusal;  // why it does not open; nothing else is set then
  bool was_clean = false;
  std::vector<Finding> findings;  // of the open
  std::vector<Finding> verified;  // of verify, which a reader runs: values and keys
  std::vector<Answer> answers;    // first of the synced items, then of those that may be lost
  [[nodiscard]] bool is_open() const { return refusal.empty(); }
  friend bool operator==(const Reading&, const Reading&) = default;
};

enum class Access : uint8_t { writing, reading, writing_strictly };

struct Put {
  Bytes name;  // key, or index and key
  Bytes value;
  std::vector<FileRange> places;  // of all that it is made of
  friend bool operator==(const Put& a, const Put& b) {
    return a.name == b.name && a.value == b.value;
  }
};

struct Salvaged {
  std::string failure;  // empty: there was none
  std::vector<Finding> losses;
  std::vector<Put> puts;  // in the new store, in the order of a walk
};

struct SweptStore {
  Files files;
  std::vector<Files> earlier;      // as they were after each sync
  size_t synced_count = 0;         // of the answers
  uint32_t page_size_bytes = 0;    // of the partition "index"; 0: there is none
  uint32_t record_size_bytes = 0;  // of the partition "index"
  bool has_values = true;          // behind the records of the partition "index"
  uint32_t table_positions = 0;    // of the last checkpoint of a freezer
  std::function<Reading(Storage&, Access)> read;
  // Of each item: where the bytes are that it is made of; none: nobody knows.
  std::vector<std::vector<FileRange>> places = {};
  // Of each synced item: whether these files must give it; null: nobody knows.
  std::function<std::vector<bool>(const Files&)> kept;
  std::function<Salvaged(Storage&)> salvage;  // null: journals alone have none
  std::vector<Put> puts;                      // that salvage finds in the undamaged store
  std::vector<Put> older_puts = {};           // of a map: those of the commit before
  bool has_content_keys = false;              // readings compare them
};

// Of a large one not everything can be tried: hundreds of items, several sections, values of many
// sectors, a table that doubled several times.
enum class Scale : uint8_t { small, large };

enum class Ending : uint8_t { closed, killed };

// Damage that leaves bytes which are as valid as the right ones: nothing on disk tells.
struct Limit {
  std::string_view damage;
  std::string_view partition;
  bool is_rare = false;  // forty stores need not meet it
  // Of a freezer: the chains of other items may run through what was touched, and end there.
  bool breaks_chains = false;
};

struct SweptKind {
  std::string_view name;
  SweptStore (*make)(Random& random, Ending ending, Scale scale);
  std::span<const Limit> limits;
  bool has_strict = false;  // it can be opened for writing strictly
  // Another kind has all damage of bits and lengths: a sample will do.
  bool is_about_sectors = false;
};

[[nodiscard]] std::span<const SweptKind> swept_kinds();

}  // namespace firn::campaign
