// SPDX-License-Identifier: Apache-2.0
//
// Store: a Storage opened as a store: its lock taken, its manifest read or created and checked.
// Structures (archives, freezers) hold one and open their files through it.
//
// Readers. Those of a store with a manifest read beside a writer of another process: then, and
// after a clean close, they serve exactly what is at or below the floors. If the last writer died,
// and none is there now, they serve what recovery would adopt. docs/readers.md tells the whole
// story.
//
// Crash argument: nothing but the manifest is written here; see firn/store/manifest.h.
// Threads: open and close by one thread; the accessors concurrently. Forked children: see
// firn/io/storage.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/owner_process.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"
#include "firn/store/manifest.h"

namespace firn {

struct StoreOptions {
  // What a new store records. Of an existing one only the kind must be the same; a store without
  // a manifest (of the original) is not checked.
  ManifestIdentity identity;
  // What an existing store must have recorded: what the caller did not leave to the store.
  std::vector<GeometryField> required_geometry;
  std::vector<std::pair<StoreRole, std::string>> required_partitions;
  // Geometry without which a store that has no manifest is not opened for writing: the required
  // geometry must have it. It may be one of firn's that lost its manifest, so nothing is guessed.
  std::vector<std::string_view> needed_without_manifest = {};
  bool read_only = false;
  bool create = true;   // make the store if the storage is empty; otherwise Errc::not_found
  bool strict = false;  // Errc::corrupt if the manifest is damaged, although it could be repaired
};

class Store {
 public:
  // Errc::locked if another process has the store; Errc::invalid_argument if kind, geometry or
  // partition names differ from what was recorded, or are needed and nobody says them, or if a
  // partition of the identity has a name of firn's own or that of another one. Either way nothing
  // was written.
  [[nodiscard]] static Result<std::unique_ptr<Store>> open(Storage& storage,
                                                           const StoreOptions& options);
  ~Store();  // releases the lock, leaves the store as a crash would

  [[nodiscard]] Storage& storage() { return storage_; }
  [[nodiscard]] Manifest* manifest() { return manifest_.get(); }  // null: a store of the original
  [[nodiscard]] RecoveryLog& recovery() { return recovery_; }
  [[nodiscard]] bool read_only() const { return recovery_.read_only(); }

  // The floors to give to a journal; null without a manifest.
  [[nodiscard]] Floors* floors(StoreRole role);

  // For readers, after they opened their structures, with this outcome. Outdated: a writer came in
  // between, so that what they found may be no state of the store; they open store and structures
  // again. Errc::locked if that was the last `attempt`, counted from 1, that makes sense.
  enum class View : uint8_t { current, outdated };
  [[nodiscard]] Result<View> judge_view(const Status& opened, int attempt) const;
  // For writers, once their structures have recovered: readers wait for it with Errc::locked. A
  // store that was clean needs none.
  [[nodiscard]] Status settle();
  // For readers: takes over what the writer has published since; see Manifest::refresh.
  // Errc::locked while a writer recovers.
  [[nodiscard]] Status refresh();
  // For a reader who would be disturbed by a writer. Errc::locked if there is one; from now on none
  // gets in.
  [[nodiscard]] Status exclude_writers();
  // The same for as long as the lock is held; null if a writer is there, or has changed the store
  // since it was opened.
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> keep_writers_out();
  // See Floors; null without a manifest, when a writer is alone anyway.
  [[nodiscard]] Result<std::unique_ptr<StorageLock>> exclude_followers();

  // Records the recovery report and sets the clean mark. The structures are closed before.
  [[nodiscard]] Status close();

 private:
  Store(Storage& storage, bool read_only);
  Status open_for_reading(const StoreOptions& options);
  Result<std::optional<StorageWriter>> find_settled_writer();
  [[nodiscard]] Status check_strictly() const;
  [[nodiscard]] std::unexpected<Error> no_store() const;
  Status open_without_manifest(const StoreOptions& options);

  const OwnerProcess owner_;
  Storage& storage_;
  std::unique_ptr<StorageLock> lock_;
  std::unique_ptr<StorageLock> no_writers_;  // a reader's
  uint64_t opened_version_ = 0;              // a reader's, of the manifest
  // A reader's: a writer that had recovered, or a clean close, was seen with it.
  std::optional<uint64_t> settled_generation_;
  RecoveryLog recovery_;
  std::unique_ptr<Manifest> manifest_;
};

}  // namespace firn
