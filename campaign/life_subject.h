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

enum class LifeAccess : uint8_t { writing, reading };

class LifeSubject {
 public:
  virtual ~LifeSubject() = default;
  [[nodiscard]] virtual Status open(const std::string& directory, LifeAccess access) = 0;
  [[nodiscard]] virtual Status put(uint64_t number, ByteSpan value) = 0;
  [[nodiscard]] virtual Status sync() = 0;
  [[nodiscard]] virtual Result<std::optional<Bytes>> get(uint64_t number) const = 0;
  [[nodiscard]] virtual Status close() = 0;
  virtual void drop() = 0;  // as a killed process leaves it
  // What else a writer does: an archive is pruned, a freezer makes its table anew, of a map keys
  // are removed, a journal is pruned and cut back to what it had. On success the items below
  // `below` are gone for good, which is gone_below(n): at most n.
  [[nodiscard]] virtual uint64_t gone_below(uint64_t number) const = 0;
  [[nodiscard]] virtual Status maintain(uint64_t below) = 0;
  // A reader's.
  [[nodiscard]] virtual Status refresh() = 0;
  // Of a store that nobody has open, into a new one; returns how many losses were told.
  [[nodiscard]] virtual Result<uint64_t> salvage(const std::string& source,
                                                 const std::string& target) = 0;
};

struct LifeKind {
  std::string_view name;
  std::unique_ptr<LifeSubject> (*make)(Random& random);
  bool has_readers = true;  // beside a writer
  bool has_salvage = true;
  // The first value is so large that it is written out before a sync: of its lives only that is in
  // trouble.
  bool is_large = false;
};

[[nodiscard]] std::span<const LifeKind> life_kinds();

}  // namespace firn::campaign
