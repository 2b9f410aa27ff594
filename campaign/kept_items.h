// SPDX-License-Identifier: Apache-2.0
//
// Which synced items a damaged store must still have, by the reference of recovery: one finding
// about a file does not excuse what the damage cannot explain.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "campaign/swept_stores.h"

namespace firn::campaign {

// What a store answers of a record that damage hides: an error, or what an older one of its key
// says.
enum class Hidden : uint8_t { is_an_error, may_be_older };

// `names`: of each synced item, what its record begins with; the newest such record is the item.
[[nodiscard]] std::function<std::vector<bool>(const Files&)> kept_records(const SweptStore& store,
                                                                          std::vector<Bytes> names,
                                                                          Hidden hidden);
// `places`: section and position of each synced item of a journal.
using Place = std::pair<uint64_t, uint64_t>;
[[nodiscard]] std::function<std::vector<bool>(const Files&)> kept_places(
    const SweptStore& store, const std::vector<Place>& places);
// `names`: the keys of a map.
[[nodiscard]] std::function<std::vector<bool>(const Files&)> kept_pairs(
    const SweptStore& store, const std::string& partition, std::vector<Bytes> names);

}  // namespace firn::campaign
