// SPDX-License-Identifier: Apache-2.0
#include "campaign/kept_items.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "firn/base/check.h"
#include "testkit/reference_recovery.h"

namespace firn::campaign {
namespace {

namespace reference = testkit::reference;

// By section and position: the records whose values can be read, too.
using Whole = std::map<std::pair<uint64_t, uint64_t>, Bytes>;

Whole whole_records(const Files& files, const reference::Geometry& geometry) {
  Whole whole;
  const auto manifest = reference::read_manifest(files);
  if (!manifest) return whole;
  for (const auto& [number, section] : reference::recover(files, *manifest, geometry))
    for (uint64_t position = 0; position < section.records.size(); ++position)
      if (section.records[position].value_fate == reference::Fate::readable)
        whole[{number, position}] = section.records[position].bytes;
  return whole;
}

}  // namespace

std::function<std::vector<bool>(const Files&)> kept_records(const SweptStore& store,
                                                            std::vector<Bytes> names) {
  const reference::Geometry geometry{store.page_size_bytes, store.record_size_bytes};
  const Whole undamaged = whole_records(store.files, geometry);
  std::vector<Whole::value_type> items;
  for (const Bytes& name : names) {
    const auto begins = [&](const auto& record) {
      return std::ranges::equal(ByteSpan(record.second).first(name.size()), name);
    };
    const auto newest = std::find_if(undamaged.rbegin(), undamaged.rend(), begins);
    CHECK(newest != undamaged.rend(), "the reference finds what was synced");
    items.push_back(*newest);
  }
  return [geometry, items = std::move(items)](const Files& files) {
    const Whole whole = whole_records(files, geometry);
    std::vector<bool> kept;
    for (const auto& [place, record] : items) {
      const auto found = whole.find(place);
      kept.push_back(found != whole.end() && found->second == record);
    }
    return kept;
  };
}

std::function<std::vector<bool>(const Files&)> kept_pairs(const SweptStore& store,
                                                          const std::string& partition,
                                                          std::vector<Bytes> names) {
  const size_t key_size = names.front().size();
  const auto undamaged = reference::read_metadata(store.files, partition, key_size);
  CHECK(undamaged.has_value(), "the reference reads what was synced");
  return [=, pairs = undamaged->pairs, names = std::move(names)](const Files& files) {
    const auto metadata = reference::read_metadata(files, partition, key_size);
    std::vector<bool> kept;
    for (const Bytes& name : names) {
      const bool is_there = metadata && metadata->pairs.contains(name);
      kept.push_back(is_there && metadata->pairs.at(name) == pairs.at(name));
    }
    return kept;
  };
}

}  // namespace firn::campaign
