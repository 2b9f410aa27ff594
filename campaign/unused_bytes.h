// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a store whose flip changes nothing: no answer, no finding of an open or of verify.
// There is a list of them, with reasons, and nothing else may be like that. Where they lie is found
// here by FORMAT.md, without the code that reads stores.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "campaign/swept_stores.h"

namespace firn::campaign {

struct UnusedBytes {
  std::string_view partition;
  std::string_view what;
  std::string_view why;
  // The kinds of swept stores that have such bytes.
  std::vector<std::string_view> kinds;
};

[[nodiscard]] const std::vector<UnusedBytes>& unused_bytes();

class UnusedMap {
 public:
  explicit UnusedMap(const SweptStore& store);

  // The row of the list for this byte of the file, header included; nullopt: it is not on it.
  [[nodiscard]] std::optional<size_t> row_of(const FileName& name, size_t offset) const;

 private:
  std::map<FileName, std::vector<std::optional<size_t>>> rows_;
};

}  // namespace firn::campaign
