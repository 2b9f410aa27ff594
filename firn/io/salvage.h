// SPDX-License-Identifier: Apache-2.0
//
// Salvage: what reading a damaged store brings back, and what it does not. The structures share
// these types: salvage_archive, salvage_freezer and salvage_metadata read a store that may be
// damaged in any way, write nothing to it, and put what they trust into a new one.
//
// What is trusted: bytes under a checksum that holds, in a place where they can be. Nothing is
// guessed. Everything else is a SalvageLoss, and so is a file that had to be there and is not.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/result.h"
#include "firn/io/recovery_report.h"
#include "firn/io/storage.h"

namespace firn {

// Something that could not be read, or not be trusted. Copies of the same, of which the other one
// serves, are told by their range.
struct SalvageLoss {
  BlobRange range;  // where; size 0: the blob as a whole, or unknown
  // At most so many items are lost with it; 0: none, or nobody knows.
  uint64_t items = 0;
  std::optional<uint64_t> index = std::nullopt;  // of the lost item, where that is known
  Bytes key = {};                                // of the lost item; empty: not known
  // It lies behind everything that a sync acknowledged, where a crash leaves torn bytes.
  bool unsynced = false;
  // It could not even be opened or listed, for reasons that say nothing of its content.
  bool unread = false;
  // The new store has an older value of this key, which answers unless a newer one was read, too.
  bool older_value_kept = false;
};

// Told while salvage goes on. `on_loss` may end it with an error.
struct SalvageObserver {
  std::function<Status(const SalvageLoss&)> on_loss;
  std::function<void(uint64_t bytes_read)> on_progress;
};

struct SalvageSummary {
  uint64_t items = 0;        // in the new store
  uint64_t value_bytes = 0;  // of them
  uint64_t losses = 0;       // that were told, without the next three
  uint64_t unsynced = 0;     // torn ends of a crash
  uint64_t unread = 0;       // files and folders that could not be opened or listed
  uint64_t copies = 0;       // one of two, which a commit that was cut off may have left
  // False if nothing was there to be written, although something was lost.
  bool target_made = false;
  std::vector<std::string> notes;  // what else is worth telling
};

// Passes losses on and counts them.
class SalvageLog {
 public:
  explicit SalvageLog(const SalvageObserver& observer) : observer_(observer) {}

  [[nodiscard]] Status lose(const SalvageLoss& loss) {
    ++counter_of(loss);
    return observer_.on_loss ? observer_.on_loss(loss) : Status();
  }
  void has_read(uint64_t bytes) const {
    if (observer_.on_progress) observer_.on_progress(bytes);
  }

  // Everything was read and can be trusted.
  [[nodiscard]] bool nothing_lost() const { return summary.losses == 0 && summary.unread == 0; }

  SalvageSummary summary;

 private:
  [[nodiscard]] uint64_t& counter_of(const SalvageLoss& loss) {
    if (loss.unread) return summary.unread;
    if (loss.unsynced) return summary.unsynced;
    return loss.range.copy == BlobRange::Copy::maybe_unfinished ? summary.copies : summary.losses;
  }

  const SalvageObserver& observer_;
};

namespace io {

// invalid_argument unless nothing is there yet.
[[nodiscard]] Status check_salvage_target(Storage& target);

// A storage as salvage reads it: never written, headers that are damaged do not hide what follows,
// what is no blob is left out. For structures that read their files through Storage.
class SalvageView final : public Storage {
 public:
  explicit SalvageView(Storage& storage) : storage_(storage) {}

  // From now on this blob is not there.
  void hide(std::string_view partition, ByteSpan name) {
    hidden_ = {std::string(partition), to_bytes(name)};
  }
  // What was opened or listed in spite of it.
  [[nodiscard]] const std::vector<BlobRange>& damage() const { return damage_; }

  Result<std::unique_ptr<Blob>> open(std::string_view partition, ByteSpan name, OpenMode mode,
                                     BlobVersions versions = {}) override;
  Status remove(std::string_view partition, std::span<const Bytes> names) override;
  Status remove_partition(std::string_view partition) override;
  Result<PartitionListing> list(std::string_view partition) override;
  Result<std::vector<std::string>> partitions() override { return storage_.partitions(); }
  Result<std::unique_ptr<StorageLock>> lock(LockMode /*mode*/) override {
    return storage_.lock(LockMode::shared);
  }
  Result<std::optional<StorageWriter>> find_writer() override { return storage_.find_writer(); }
  [[nodiscard]] uint64_t random_seed() override { return storage_.random_seed(); }
  [[nodiscard]] StorageLimits limits() const override { return storage_.limits(); }
  [[nodiscard]] std::string description() const override { return storage_.description(); }

 private:
  Storage& storage_;
  std::pair<std::string, Bytes> hidden_;
  std::vector<BlobRange> damage_;
};

// Opens a blob for reading, and if its header is damaged, what follows that; `damage` then says so.
// Errors: not_found, io, and others of Storage::open.
struct SalvagedBlob {
  std::unique_ptr<Blob> blob;
  std::optional<std::string> damage;
};
[[nodiscard]] Result<SalvagedBlob> open_salvaged(Storage& storage, std::string_view partition,
                                                 ByteSpan name);

}  // namespace io
}  // namespace firn
