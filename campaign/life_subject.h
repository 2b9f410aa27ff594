// SPDX-License-Identifier: Apache-2.0
//
// LifeSubject: a store of one structure on the file system, as a program uses it, with one item
// for each number. The seed draws its geometry.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "firn/base/bytes.h"
#include "firn/base/random.h"
#include "firn/base/result.h"

namespace firn::campaign {

class LifeSubject {
 public:
  virtual ~LifeSubject() = default;
  [[nodiscard]] virtual Status open(const std::string& directory) = 0;
  [[nodiscard]] virtual Status put(uint64_t number, ByteSpan value) = 0;
  [[nodiscard]] virtual Status sync() = 0;
  [[nodiscard]] virtual Result<std::optional<Bytes>> get(uint64_t number) const = 0;
  [[nodiscard]] virtual Status close() = 0;
  virtual void drop() = 0;  // as a killed process leaves it
};

struct LifeKind {
  std::string_view name;
  std::unique_ptr<LifeSubject> (*make)(Random& random);
};

[[nodiscard]] std::span<const LifeKind> life_kinds();

}  // namespace firn::campaign
