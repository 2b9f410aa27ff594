// SPDX-License-Identifier: Apache-2.0
//
// How a reader follows the writer of another process: through what the manifest says.
#include <algorithm>
#include <utility>

#include "firn/base/text.h"
#include "firn/store/floor_hints.h"
#include "firn/store/manifest.h"
#include "firn/store/role_floors.h"

namespace firn {

namespace {

// The lock is held as long as any of those is that were given out.
class ExclusionShare final : public StorageLock {
 public:
  explicit ExclusionShare(std::shared_ptr<StorageLock> held) : held_(std::move(held)) {}

 private:
  const std::shared_ptr<StorageLock> held_;
};

}  // namespace

Result<std::unique_ptr<Manifest>> Manifest::load_again() const {
  RecoveryLog unused(storage_, true);
  TRY_INTO(auto manifest, open(storage_, true, unused));
  if (manifest != nullptr && manifest->id() == id_) return manifest;
  return fail(
      Errc::not_found,
      concat(manifest == nullptr ? "the store in " : "another store took the place of that in ",
             storage_.description(), manifest == nullptr ? " was removed" : "", ": open it anew"));
}

void Manifest::raise_boundaries(const std::map<StoreRole, Section>& boundaries) {
  for (const auto& [role, boundary] : boundaries) {
    boundaries_[role] = std::max(boundaries_[role], boundary);
    floors_.erase(floors_.lower_bound({role, Section(0)}),
                  floors_.lower_bound({role, boundaries_[role]}));
  }
}

// A floor that is lower than before is a precaution of a writer that recovers, or was lost by a
// power cut before this reader was there: what is below a floor stays (see exclude_followers).
Status Manifest::refresh() {
  TRY_INTO(const auto newer, load_again());
  MutexLock newer_lock(newer->mutex_);
  MutexLock lock(mutex_);
  for (const auto& [key, floor] : newer->floors_)
    floors_[key] = std::max(floors_[key], floor);
  raise_boundaries(newer->boundaries_);
  generation_ = newer->generation_;
  is_clean_now_ = newer->is_clean_now_;
  metadata_ = std::move(newer->metadata_);
  return {};
}

Status Manifest::reload_boundaries() {
  TRY_INTO(const auto newer, load_again());
  MutexLock newer_lock(newer->mutex_);
  MutexLock lock(mutex_);
  raise_boundaries(newer->boundaries_);
  return {};
}

bool Manifest::is_clean_now() const {
  MutexLock lock(mutex_);
  return is_clean_now_;
}

uint64_t Manifest::version() const {
  MutexLock lock(mutex_);
  return metadata_->version();
}

Result<uint64_t> Manifest::version_on_disk() const {
  TRY_INTO(const auto newer, load_again());
  return newer->version();
}

Result<std::unique_ptr<StorageLock>> Manifest::exclude_followers() {
  MutexLock lock(mutex_);
  std::shared_ptr<StorageLock> held = exclusion_.lock();
  if (held == nullptr) {
    TRY_INTO(held, storage_.lock(LockMode::no_followers));
    exclusion_ = held;
  }
  return std::make_unique<ExclusionShare>(std::move(held));
}

}  // namespace firn
