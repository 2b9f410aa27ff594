// SPDX-License-Identifier: Apache-2.0
//
// LocationTypes: what goes into a LocationIndex and what comes out of it. See location_index.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "firn/base/bytes.h"
#include "firn/base/key_hasher.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"

namespace firn {

// Where a record is, in units that the store chooses: 1 to kLocationMax. 0 means "nowhere". With
// records aligned to eight bytes, a unit of eight bytes makes 32 TiB.
using Location = StrongId<struct LocationTag>;
inline constexpr uint64_t kLocationMax = (uint64_t{1} << 42) - 1;

// The answer of a predicate to: does the record at this location have the key that is looked for?
enum class KeyMatch : uint8_t {
  different,
  same,
  failed,  // the record could not be read; the operation ends unchanged and says so
};

// What became of an operation. Only `done` and `kept` mean that it ran; after every other one,
// nothing was changed.
enum class LocationStatus : uint8_t {
  done,
  kept,              // put_if_newer met a newer record; compare_and_replace did not meet `old`
  predicate_failed,  // the predicate answered KeyMatch::failed
  reentered,         // a predicate called a mutation with the session that it runs for
  bad_location,      // a location is 0 or beyond kLocationMax, or a table of options is not valid
  no_memory,         // nothing could be allocated, and there was no room left
  stalled,           // a session that stays pinned holds back too much memory (see EpochDomain)
};

// The answer of an operation on one key.
struct [[nodiscard]] LocationOutcome {
  LocationStatus status = LocationStatus::done;
  Location location{};  // found, previous or removed; for `kept` the one that stays; else nowhere

  [[nodiscard]] constexpr bool ok() const { return status <= LocationStatus::kept; }
  [[nodiscard]] constexpr bool found() const { return location.value != 0; }
  friend constexpr bool operator==(const LocationOutcome&, const LocationOutcome&) = default;
};

// The answer of a batch: the items before `completed` are done; `status` is that of the item at
// `completed`, or `done`.
struct [[nodiscard]] LocationBatchOutcome {
  LocationStatus status = LocationStatus::done;
  size_t completed = 0;
  friend constexpr bool operator==(const LocationBatchOutcome&,
                                   const LocationBatchOutcome&) = default;
};

// An item of put_many.
struct LocationEntry {
  KeyHash hash;
  Location location;
};

struct LocationIndexOptions {
  // Turns keys into hashes. Keep its seed with the data: a snapshot opens only with the same one.
  KeyHasher hasher = KeyHasher::random();
  // 2^shard_bits shards, 0 to 12. More shards: smaller steps of growth, more memory when empty.
  unsigned shard_bits = 8;
  // Room is made for so many entries at once: filling up to them never moves an entry.
  uint64_t expected_entries = 0;
  // The arena maps at most so much; an insert that needs more answers no_memory.
  uint64_t memory_bytes_max = uint64_t{1} << 40;
};

// Figures of a moment. While others write, they need not fit together.
struct LocationIndexStatistics {
  uint64_t entries = 0;
  uint64_t slots = 0;              // of all tables; entries / slots is the load
  uint64_t stashed_entries = 0;    // put beyond a full chain since the table was made: equal hashes
  uint64_t displaced_entries = 0;  // put outside of their home since the table was made
  uint64_t shards_growing = 0;
  uint64_t growths = 0;   // started: to a larger table, ...
  uint64_t rebuilds = 0;  // ... to one of the same size, against drift, or to a smaller one

  uint64_t bytes_live = 0;      // tables in use
  uint64_t bytes_retired = 0;   // tables that a pinned session may still read
  uint64_t bytes_free = 0;      // touched, and kept for the next table
  uint64_t bytes_resident = 0;  // memory of the arena that was touched and not given back
  uint64_t bytes_fixed = 0;     // the shards themselves

  uint64_t sessions = 0;           // open in the domain
  uint64_t sessions_pinned = 0;    // inside of an operation, or of a pin of the caller
  uint64_t oldest_pin_epochs = 0;  // retirements since the oldest of them was pinned

  [[nodiscard]] uint64_t bytes() const {
    return bytes_live + bytes_retired + bytes_free + bytes_fixed;
  }
};

// How many cache lines a lookup of a present key reads, the home included.
struct LocationProbeStatistics {
  double average_lines = 0;
  uint64_t lines_max = 0;
};

// The log positions that belong to a snapshot, in the store's terms; the index only keeps them.
struct SnapshotRange {
  uint64_t log_begin = 0;  // replay the log from here
  uint64_t log_end = 0;    // everything that the snapshot refers to lies before this
  friend constexpr bool operator==(const SnapshotRange&, const SnapshotRange&) = default;
};

// Where a snapshot is written to, from its first byte to its last. Nothing is durable or visible
// until the implementation makes it so after LocationIndex::snapshot has returned.
class SnapshotSink {
 public:
  SnapshotSink() = default;
  virtual ~SnapshotSink() = default;
  SnapshotSink(const SnapshotSink&) = delete;
  SnapshotSink& operator=(const SnapshotSink&) = delete;

  virtual Status write(ByteSpan bytes) = 0;
  // The end of the log, asked once after the last entry was copied.
  virtual uint64_t log_end() = 0;
};

// Where a snapshot is read from.
class SnapshotSource {
 public:
  SnapshotSource() = default;
  virtual ~SnapshotSource() = default;
  SnapshotSource(const SnapshotSource&) = delete;
  SnapshotSource& operator=(const SnapshotSource&) = delete;

  [[nodiscard]] virtual uint64_t size() const = 0;
  // Fills `target` with the bytes from `offset` on. The index asks for nothing beyond size().
  virtual Status read(uint64_t offset, MutableByteSpan target) = 0;
};

}  // namespace firn
