// SPDX-License-Identifier: Apache-2.0
//
// What the subjects of lives share: the storage below a structure, and the keys of their items.
#pragma once

#include <memory>
#include <string>

#include "campaign/life_subject.h"
#include "firn/base/endian.h"
#include "firn/io/posix_storage.h"

namespace firn::campaign {

[[nodiscard]] inline Bytes key_of(uint64_t number) {
  Bytes key(sizeof number);
  store_big_endian(key.data(), number);
  return key;
}

// Opens the storage below a structure, and drops both.
template <class Structure>
class OnDisk : public LifeSubject {
 public:
  explicit OnDisk(Random& random) : map_reads_(random.one_in(2)) {}

  Status open(const std::string& directory, LifeAccess access) override {
    TRY_INTO(storage_, open_posix_storage(directory, storage_options(access)));
    TRY_INTO(structure_, open_structure(*storage_, access));
    return {};
  }
  Result<uint64_t> salvage(const std::string& source, const std::string& target) override {
    TRY_INTO(const auto from, open_posix_storage(source, storage_options(LifeAccess::reading)));
    TRY_INTO(const auto to, open_posix_storage(target, storage_options(LifeAccess::writing)));
    return salvage_structure(*from, *to);
  }
  void drop() override {
    structure_.reset();
    storage_.reset();
  }

 protected:
  [[nodiscard]] virtual Result<std::unique_ptr<Structure>> open_structure(Storage& storage,
                                                                          LifeAccess access) = 0;
  [[nodiscard]] virtual Result<uint64_t> salvage_structure(Storage& source, Storage& target) = 0;
  [[nodiscard]] Structure& structure() const { return *structure_; }

 private:
  [[nodiscard]] PosixOptions storage_options(LifeAccess access) const {
    return {.create = access == LifeAccess::writing,
            .read_only = access == LifeAccess::reading,
            .map_reads = map_reads_};
  }

  const bool map_reads_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Structure> structure_;
};

}  // namespace firn::campaign
