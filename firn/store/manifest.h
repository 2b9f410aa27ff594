// SPDX-License-Identifier: Apache-2.0
//
// Manifest: what a store knows about itself. Identity, geometry, the clean mark, prune boundaries,
// and for each section a floor: a size known to be durable (see firn/journal/floors.h).
//
//   partition "manifest"   left, right : a MetadataStore; 16-byte keys (tag, role, section)
//                          floors      : hints, 32-byte records; FORMAT.md, section 7
//
// Two speeds. Facts that must not be lost (identity, boundary, lower, forget, clean mark) are
// committed to the MetadataStore, to both of its copies. A raised floor is one small write to the
// hint blob, without a flush: a kill cannot lose it; a power cut may, and then the older floor
// counts, which is also true. Hints reach the MetadataStore (a "checkpoint") with every commit,
// every 256 raises, and when sections appear: each, or in a store of many, 1/16 as many again.
//
// Crash argument. A hint names the generation in which it was written, and counts only in that
// generation. Opening for writing, lower() and forget() commit a higher one than any hint has, so a
// hint from before a truncation never comes back. Two adjacent slots a section, written in turn:
// a torn hint costs one raise. create() is durable before anything else of the store exists.
//
// Damage. One bad copy: the other is used, and the store counts as not cleanly closed; an opening
// for writing commits at once, in the place of the bad one. Both bad: Errc::corrupt. An empty
// manifest beside other partitions: Errc::corrupt.
// After a failed write the manifest is poisoned: later mutations fail, reads go on.
//
// Threads. All calls, concurrently, once open. Cost: raise is one 32-byte write; a commit is one
// write burst and one flush a copy.
#pragma once

#include <array>
#include <climits>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/mutex.h"
#include "firn/base/poison.h"
#include "firn/base/result.h"
#include "firn/base/strong_id.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"
#include "firn/journal/floors.h"
#include "firn/metadata/metadata_store.h"

namespace firn {

// As a level of compression: there is none. Unlike no level at all, which leaves it to the store.
inline constexpr int kNoCompression = INT_MIN;

inline constexpr std::string_view kManifestPartition = "manifest";

// What a partition is to its store. The numbers are part of the format.
enum class StoreRole : uint32_t {
  journal = 1,
  index = 2,
  values = 3,
  table = 4,
  metadata = 5,
  ordinal = 6,
};
[[nodiscard]] std::string_view store_role_name(StoreRole role);

// One property that must be the same whenever the store is opened ("page_size", 4084).
struct GeometryField {
  std::string name;  // 1 to 255 bytes
  std::variant<uint64_t, std::string> value;
};

using StoreId = std::array<std::byte, 16>;

// Fixed when the store is created.
struct ManifestIdentity {
  std::string kind;  // "archive", "freezer", ...
  std::vector<GeometryField> geometry;
  std::vector<std::pair<StoreRole, std::string>> partitions;  // role -> partition name
  std::optional<StoreId> id;                                  // absent: drawn at random
};

class FloorHints;

class Manifest {
 public:
  // Durably writes the manifest of a new store, open for writing. Comes before every other file of
  // the store. Errc::invalid_argument if the storage has a manifest or any other partition.
  [[nodiscard]] static Result<std::unique_ptr<Manifest>> create(Storage& storage,
                                                                const ManifestIdentity& identity,
                                                                RecoveryLog& recovery);

  // Null if the storage has no manifest: a store of the original, or none at all (or one whose
  // creation was interrupted before anything else was made). Writes nothing.
  // Errc::unsupported_version if a newer firn wrote it, Errc::corrupt if it cannot be read.
  [[nodiscard]] static Result<std::unique_ptr<Manifest>> open(Storage& storage, bool read_only,
                                                              RecoveryLog& recovery);
  ~Manifest();  // leaves the store as a crash would

  [[nodiscard]] const std::string& kind() const { return kind_; }
  [[nodiscard]] const StoreId& id() const { return id_; }
  [[nodiscard]] const std::string& writer_version() const { return writer_version_; }
  [[nodiscard]] uint64_t generation() const EXCLUDES(mutex_);
  [[nodiscard]] const std::vector<GeometryField>& geometry() const { return geometry_; }
  // A geometry field; nullopt if it was not recorded, or as the other type.
  [[nodiscard]] std::optional<uint64_t> number(std::string_view name) const;
  [[nodiscard]] std::optional<std::string> text(std::string_view name) const;
  // The recorded name; nullopt if the role was not recorded.
  [[nodiscard]] std::optional<std::string> partition(StoreRole role) const;
  [[nodiscard]] const std::map<StoreRole, std::string>& partitions() const { return partitions_; }
  // The last writer closed the store, and both copies of the manifest agree that it did.
  [[nodiscard]] bool was_clean() const { return was_clean_; }
  // The same, as of the last refresh().
  [[nodiscard]] bool is_clean_now() const EXCLUDES(mutex_);

  // For readers: floors count exactly; see Floors::pinned.
  void pin() { pinned_ = true; }
  [[nodiscard]] bool pinned() const { return pinned_; }
  // For readers: takes over what the writer has recorded since, of one moment. Floors and
  // boundaries never go back. Errc::not_found if another store is there now, or none.
  [[nodiscard]] Status refresh() EXCLUDES(mutex_);
  // The same, of the boundaries only.
  [[nodiscard]] Status reload_boundaries() EXCLUDES(mutex_);
  // Counts the commits: of what was loaded, and of what the disk has now.
  [[nodiscard]] uint64_t version() const EXCLUDES(mutex_);
  [[nodiscard]] Result<uint64_t> version_on_disk() const;
  // See Floors.
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> exclude_followers() EXCLUDES(mutex_);

  // Errc::invalid_argument, naming the field and both values, if `value` is not what was recorded.
  [[nodiscard]] Status require(std::string_view name, uint64_t value) const;
  [[nodiscard]] Status require(std::string_view name, std::string_view value) const;
  [[nodiscard]] Status require_kind(std::string_view kind) const;
  [[nodiscard]] Status require_partition(StoreRole role, std::string_view name) const;

  // The floors of one role; lives as long as the manifest.
  [[nodiscard]] Floors& floors(StoreRole role) EXCLUDES(mutex_);

  // Durable on return: drops the clean mark. Before the first write to any file of the store.
  [[nodiscard]] Status begin_writing() EXCLUDES(mutex_);
  // Commits all floors now, so that a power cut cannot lose them.
  [[nodiscard]] Status checkpoint() EXCLUDES(mutex_);
  // From now on close() leaves the store not clean if it was written to: see Floors::keep_unclean.
  void keep_unclean() EXCLUDES(mutex_);
  // Everything written is synced and its floors are raised: sets the clean mark. Further mutations
  // fail. Without any write since open() the mark stays as it was, and there is no I/O.
  [[nodiscard]] Status close() EXCLUDES(mutex_);

  // Small facts of the structure that owns the store (a freezer's checkpoint). Durable on return.
  [[nodiscard]] std::optional<Bytes> record(uint32_t number) const EXCLUDES(mutex_);
  [[nodiscard]] Status set_record(uint32_t number, ByteSpan value) EXCLUDES(mutex_);

  // One line of JSON about the last recovery that had something to tell; empty if none had.
  [[nodiscard]] std::string last_recovery() const EXCLUDES(mutex_);
  // Kept if the report is not empty; durable with the next commit.
  [[nodiscard]] Status set_last_recovery(const RecoveryReport& report) EXCLUDES(mutex_);
  // The same, durably: for cuts, which a writer that is killed must not take along. Cost: a commit.
  [[nodiscard]] Status record_recovery(const RecoveryReport& report) EXCLUDES(mutex_);

 private:
  class RoleFloors;
  using FloorKey = std::pair<StoreRole, Section>;

  Manifest(Storage& storage, std::unique_ptr<MetadataStore> metadata,
           std::unique_ptr<FloorHints> hints, bool read_only);
  [[nodiscard]] Result<std::unique_ptr<Manifest>> load_again() const;
  void raise_boundaries(const std::map<StoreRole, Section>& boundaries) REQUIRES(mutex_);

  Status load() REQUIRES(mutex_);
  Status load_field(ByteSpan key, ByteSpan value) REQUIRES(mutex_);
  Status load_geometry(ByteSpan value);
  Status require_field(std::string_view name,
                       const std::variant<uint64_t, std::string>& value) const;
  void load_hints() REQUIRES(mutex_);
  Status put_identity(const ManifestIdentity& identity) REQUIRES(mutex_);

  Status check_writable() const REQUIRES(mutex_);
  Status begin_writing_locked() REQUIRES(mutex_);
  Status new_generation() REQUIRES(mutex_);
  Status drop_floor(FloorKey key) REQUIRES(mutex_);
  Status commit(bool both_copies) REQUIRES(mutex_);
  Status raise_locked(FloorKey key, uint64_t size) REQUIRES(mutex_);
  Status lower_locked(FloorKey key, uint64_t size) REQUIRES(mutex_);
  Status set_boundary_locked(StoreRole role, Section oldest_retained) REQUIRES(mutex_);
  Status forget_locked(StoreRole role, const std::vector<Section>& removed) REQUIRES(mutex_);
  Status close_locked() REQUIRES(mutex_);

  [[nodiscard]] uint64_t floor(StoreRole role, Section section) const EXCLUDES(mutex_);
  [[nodiscard]] std::vector<Section> sections(StoreRole role) const EXCLUDES(mutex_);
  [[nodiscard]] Section boundary(StoreRole role) const EXCLUDES(mutex_);
  Status raise(StoreRole role, Section section, uint64_t size) EXCLUDES(mutex_);
  Status lower(StoreRole role, Section section, uint64_t size) EXCLUDES(mutex_);
  Status set_boundary(StoreRole role, Section oldest_retained) EXCLUDES(mutex_);
  Status forget(StoreRole role, const std::vector<Section>& removed) EXCLUDES(mutex_);

  // Set while opening, then constant.
  Storage& storage_;
  std::string kind_;
  StoreId id_{};
  std::string writer_version_;
  std::vector<GeometryField> geometry_;
  std::map<StoreRole, std::string> partitions_;
  bool was_clean_ = false;
  bool pinned_ = false;
  const bool read_only_;

  mutable Mutex mutex_;
  std::unique_ptr<MetadataStore> metadata_ GUARDED_BY(mutex_);
  const std::unique_ptr<FloorHints> hints_;  // its content GUARDED_BY(mutex_)
  uint64_t generation_ GUARDED_BY(mutex_) = 0;
  bool writing_ GUARDED_BY(mutex_) = false;  // the clean mark is durably off
  bool is_clean_now_ GUARDED_BY(mutex_) = false;
  bool changed_ GUARDED_BY(mutex_) = false;  // something waits for the next commit
  bool closed_ GUARDED_BY(mutex_) = false;
  bool kept_unclean_ GUARDED_BY(mutex_) = false;
  std::map<FloorKey, uint64_t> floors_ GUARDED_BY(mutex_);
  std::map<StoreRole, Section> boundaries_ GUARDED_BY(mutex_);
  // Since the last commit: floors that it lacks, how often one was raised, how many were new.
  std::set<FloorKey> raised_ GUARDED_BY(mutex_);
  uint64_t raises_ GUARDED_BY(mutex_) = 0;
  uint64_t new_sections_ GUARDED_BY(mutex_) = 0;
  std::map<StoreRole, std::unique_ptr<RoleFloors>> role_floors_ GUARDED_BY(mutex_);
  std::weak_ptr<StorageLock> exclusion_ GUARDED_BY(mutex_);  // of followers
  Poison poison_;
};

}  // namespace firn
