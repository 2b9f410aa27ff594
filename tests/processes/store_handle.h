// SPDX-License-Identifier: Apache-2.0
//
// StoreHandle: one open handle of a store on disk, the same for every structure: items 1, 2, ...
// are put in order, and a reader says how many of them it sees. All tests of this folder run for
// each row of kStoreKinds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "firn/base/result.h"
#include "firn/io/posix_storage.h"
#include "firn/store/store.h"
#include "testkit/temporary_directory.h"

namespace firn::processes {

enum class Access : uint8_t { write, read };

class StoreHandle {
 public:
  virtual ~StoreHandle() = default;

  [[nodiscard]] virtual Status put(uint64_t item) = 0;
  [[nodiscard]] virtual Status sync() = 0;
  [[nodiscard]] virtual Status close() = 0;
  [[nodiscard]] virtual Status refresh() = 0;
  // Items 1 to the result are there, each with its content, and no other. Otherwise Errc::corrupt.
  [[nodiscard]] virtual Result<uint64_t> count() = 0;
  [[nodiscard]] virtual const RecoveryReport& recovery() const = 0;
};

struct StoreKind {
  std::string_view name;
  Result<std::unique_ptr<StoreHandle>> (*open_in)(std::unique_ptr<Storage> storage, Access access);

  // A writer makes the store if there is none. A reader's storage refuses every change.
  [[nodiscard]] Result<std::unique_ptr<StoreHandle>> open(const std::string& path,
                                                          Access access) const;
};
inline void PrintTo(const StoreKind& kind, std::ostream* out) {
  *out << kind.name;
}

extern const std::array<StoreKind, 6> kStoreKinds;

// Every file below `path`: its content, and when it was last changed.
[[nodiscard]] std::map<std::string, std::string> state_of_files(const std::string& path);

class EveryStore : public testing::TestWithParam<StoreKind> {
 protected:
  using Handle = std::unique_ptr<StoreHandle>;

  [[nodiscard]] Result<Handle> open(Access access) const { return GetParam().open(path_, access); }

  const testkit::TemporaryDirectory directory_;
  const std::string path_ = directory_ / "store";
};

inline std::string name_of_kind(const testing::TestParamInfo<StoreKind>& info) {
  return std::string(info.param.name);
}

}  // namespace firn::processes
