// SPDX-License-Identifier: Apache-2.0
#include "campaign/kept_items.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "firn/base/check.h"
#include "testkit/reference_recovery.h"

namespace firn::campaign {
namespace {

namespace reference = testkit::reference;

reference::Geometry geometry_of(const SweptStore& store) {
  reference::Geometry geometry{store.page_size_bytes, store.record_size_bytes};
  if (!store.has_values) geometry.values.clear();
  return geometry;
}

// Where an item is, and what its record is there.
using PlacedRecord = std::pair<Place, Bytes>;

std::optional<reference::Sections> sections_of(const Files& files,
                                               const reference::Geometry& geometry) {
  const auto manifest = reference::read_manifest(files);
  if (!manifest) return std::nullopt;
  return reference::recover(files, *manifest, geometry);
}

bool has_record(const reference::Sections& sections, Place place, const Bytes& record,
                Hidden hidden) {
  const auto section = sections.find(place.first);
  if (section == sections.end()) return false;
  const reference::Fate fate = section->second.fate(place.second);
  if (fate == reference::Fate::damaged) return hidden == Hidden::is_an_error;
  if (fate != reference::Fate::readable) return false;
  return section->second.records[place.second].bytes == record;
}

std::function<std::vector<bool>(const Files&)> kept_items(const reference::Geometry& geometry,
                                                          std::vector<PlacedRecord> items,
                                                          Hidden hidden) {
  CHECK(std::ranges::none_of(items, [](const auto& item) { return item.second.empty(); }),
        "the reference finds what was synced");
  return [geometry, hidden, items = std::move(items)](const Files& files) {
    const auto sections = sections_of(files, geometry);
    std::vector<bool> kept;
    for (const auto& [place, record] : items)
      kept.push_back(sections && has_record(*sections, place, record, hidden));
    return kept;
  };
}

}  // namespace

std::function<std::vector<bool>(const Files&)> kept_records(const SweptStore& store,
                                                            std::vector<Bytes> names,
                                                            Hidden hidden) {
  const reference::Geometry geometry = geometry_of(store);
  const auto undamaged = sections_of(store.files, geometry);
  CHECK(undamaged.has_value(), "the reference reads what was synced");
  std::vector<PlacedRecord> items(names.size());
  for (const auto& [number, section] : *undamaged)
    for (uint64_t position = 0; position < section.records.size(); ++position)
      for (size_t i = 0; i < names.size(); ++i) {
        const Bytes& record = section.records[position].bytes;
        if (std::ranges::equal(ByteSpan(record).first(names[i].size()), names[i]))
          items[i] = {{number, position}, record};
      }
  return kept_items(geometry, std::move(items), hidden);
}

std::function<std::vector<bool>(const Files&)> kept_places(const SweptStore& store,
                                                           const std::vector<Place>& places) {
  const reference::Geometry geometry = geometry_of(store);
  const auto undamaged = sections_of(store.files, geometry);
  CHECK(undamaged.has_value(), "the reference reads what was synced");
  std::vector<PlacedRecord> items;
  for (const Place& place : places)
    items.emplace_back(place, undamaged->at(place.first).records.at(place.second).bytes);
  return kept_items(geometry, std::move(items), Hidden::is_an_error);
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
