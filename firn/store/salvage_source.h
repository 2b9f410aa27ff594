// SPDX-License-Identifier: Apache-2.0
//
// SalvageSource: a store that may be damaged, as salvage sees it: locked without making a lock, its
// manifest if that can be read, and what the caller says where it cannot.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "firn/base/result.h"
#include "firn/io/salvage.h"
#include "firn/io/storage.h"
#include "firn/store/manifest.h"

namespace firn {

class SalvageSource {
 public:
  // Errors: locked (a writer has the store), invalid_argument (the manifest says another kind).
  // Damage of the manifest is a loss.
  [[nodiscard]] static Result<std::unique_ptr<SalvageSource>> open(Storage& storage,
                                                                   std::string_view kind,
                                                                   SalvageLog& log);

  [[nodiscard]] Storage& storage() { return storage_; }
  // Null: there is none, or it cannot be read.
  [[nodiscard]] Manifest* manifest() { return manifest_.get(); }
  // The manifest is there, and neither of its copies is damaged.
  [[nodiscard]] bool is_manifest_whole() const { return is_whole_; }

  // What the caller gave, what the manifest says, or `fallback`. invalid_argument if the first two
  // differ. Impossible numbers of a manifest are a loss, and ignored.
  [[nodiscard]] Result<uint64_t> number(std::string_view name, std::optional<uint64_t> given,
                                        uint64_t fallback, uint64_t max);
  [[nodiscard]] Result<std::string> partition(StoreRole role,
                                              const std::optional<std::string>& given,
                                              std::string_view fallback);
  // The level to compress with; nothing: values are stored as they are.
  [[nodiscard]] Result<std::optional<int>> compression(std::optional<int> given);

 private:
  SalvageSource(Storage& storage, SalvageLog& log) : storage_(storage), log_(log) {}
  [[nodiscard]] Status load_manifest(RecoveryLog& recovery);
  [[nodiscard]] Status lose_manifest(std::string reason, bool is_unread = false);

  Storage& storage_;
  io::SalvageView view_{storage_};
  SalvageLog& log_;
  std::unique_ptr<StorageLock> lock_;
  std::unique_ptr<Manifest> manifest_;
  bool is_whole_ = false;
};

}  // namespace firn
