// SPDX-License-Identifier: Apache-2.0
#include "testkit/reference_recovery.h"

#include <algorithm>
#include <optional>
#include <set>

#include "testkit/reference_bytes.h"

namespace firn::testkit::reference {
namespace {

// A value's place in its blob.
struct Location {
  uint64_t offset;
  uint64_t size;

  [[nodiscard]] bool lies_in(ByteSpan values) const {
    return offset <= values.size() && size <= values.size() - offset;
  }
  // Requires: lies_in.
  [[nodiscard]] uint64_t end() const { return offset + size; }
};

class Recovery {
 public:
  Recovery(const Geometry& geometry, std::optional<uint64_t> floor, const BlobBytes& index,
           const BlobBytes& values)
      : geometry_(geometry), floor_(floor), index_(index), values_(values) {}

  Section run() {
    if (!find_end()) return section_;
    read_records();
    if (!geometry_.values.empty()) join_values();
    return section_;
  }

 private:
  // Of the stream of payload bytes; false: there is nothing to read.
  bool find_end() {
    const uint64_t floor = floor_.value_or(0);
    const bool is_lost = index_.state != BlobBytes::State::whole || !holds(floor) ||
                         floor % geometry_.record_size_bytes != 0;
    if (is_lost) section_.beyond = Fate::damaged;
    if (is_lost) return false;
    const uint64_t found = floor_ ? end_from_floor() : end_of_last_valid_page();
    // Pages of another size may be told from bytes that are cut.
    if (found == 0 && !index_.content.empty()) section_.beyond = Fate::unknown;
    end_ = found - found % geometry_.record_size_bytes;
    return end_ > 0;
  }

  [[nodiscard]] uint64_t valid(uint64_t page) const {
    return valid_bytes(index_.content, geometry_.page_size_bytes, page);
  }
  // Its first byte in the stream, and in the blob.
  [[nodiscard]] uint64_t begin_of(uint64_t page) const { return page * geometry_.page_size_bytes; }
  [[nodiscard]] uint64_t physical(uint64_t page) const {
    return page * (uint64_t{geometry_.page_size_bytes} + 12);
  }

  // The page of the last durable byte is valid and reaches it.
  [[nodiscard]] bool holds(uint64_t floor) const {
    if (floor == 0) return true;
    const uint64_t page = (floor - 1) / geometry_.page_size_bytes;
    return begin_of(page) + valid(page) >= floor;
  }

  // The pages from the floor on, up to the first that is invalid, or behind the first partial one.
  [[nodiscard]] uint64_t end_from_floor() const {
    uint64_t page = *floor_ == 0 ? 0 : (*floor_ - 1) / geometry_.page_size_bytes;
    while (valid(page) == geometry_.page_size_bytes)
      ++page;
    return begin_of(page) + valid(page);
  }

  [[nodiscard]] uint64_t end_of_last_valid_page() const {
    uint64_t page = index_.content.size() / physical(1);
    while (page > 0 && valid(page - 1) == 0)
      --page;
    return page == 0 ? 0 : begin_of(page - 1) + valid(page - 1);
  }

  void read_records() {
    for (uint64_t page = 0; begin_of(page) < end_; ++page) {
      const uint64_t size = valid(page);
      for (uint64_t i = 0; i < geometry_.page_size_bytes; ++i)
        stream_.push_back(i < size ? std::optional(index_.content[physical(page) + i])
                                   : std::nullopt);
    }
    const uint64_t size = geometry_.record_size_bytes;
    for (uint64_t at = 0; at < end_; at += size) {
      auto bytes = payload(at, size);
      section_.records.push_back(bytes ? Record{Fate::readable, std::move(*bytes)} : Record());
    }
  }

  [[nodiscard]] std::optional<Bytes> payload(uint64_t offset, uint64_t size) const {
    Bytes bytes;
    for (uint64_t at = offset; at < offset + size; ++at) {
      if (!stream_[at]) return std::nullopt;
      bytes.push_back(*stream_[at]);
    }
    return bytes;
  }

  // The last 12 bytes of a record, of which the rest may be damaged.
  [[nodiscard]] std::optional<Location> location(uint64_t position) const {
    const auto bytes = payload((position + 1) * geometry_.record_size_bytes - 12, 12);
    if (!bytes) return std::nullopt;
    return Location{value_offset(*bytes), value_size(*bytes)};
  }
  [[nodiscard]] bool has_value_in_blob(uint64_t position) const {
    const auto place = location(position);
    return place && place->lies_in(values_.content);
  }

  // Which records recovery keeps, and what their values are then.
  void join_values() {
    if (values_.state == BlobBytes::State::damaged) return;  // nothing of the section changes
    ByteSpan values = values_.content;
    const auto kept = floor_ ? count_from_floor() : count_without_floor();
    if (kept) {
      section_.records.resize(*kept);
      values = values.first(*kept == 0 ? 0 : location(*kept - 1)->end());
    }
    for (uint64_t position = 0; position < section_.records.size(); ++position)
      if (const auto value = value_of(position, values)) {
        section_.records[position].value_fate = Fate::readable;
        section_.records[position].value = *value;
      }
  }

  // nullopt: values that were durable are gone, and nothing of the section changes.
  [[nodiscard]] std::optional<uint64_t> count_from_floor() const {
    uint64_t count = *floor_ / geometry_.record_size_bytes;
    if (count > 0 && !has_value_in_blob(count - 1)) return std::nullopt;
    uint64_t end = count > 0 ? location(count - 1)->end() : 0;
    for (; count < section_.records.size(); ++count) {
      if (!value_of(count, values_.content) || location(count)->offset < end) break;
      end = location(count)->end();
    }
    return count;
  }

  // As the original does it: behind the last record whose value lies in the blob.
  [[nodiscard]] uint64_t count_without_floor() const {
    uint64_t count = section_.records.size();
    while (count > 0 && !has_value_in_blob(count - 1))
      --count;
    return count;
  }

  [[nodiscard]] std::optional<Bytes> value_of(uint64_t position, ByteSpan values) const {
    const auto place = location(position);
    if (!place || !place->lies_in(values)) return std::nullopt;
    const ByteSpan entry = values.subspan(place->offset, place->size);
    if (!ends_in_checksum(entry)) return std::nullopt;
    return to_bytes(entry.first(entry.size() - 4));
  }

  const Geometry& geometry_;
  const std::optional<uint64_t> floor_;  // nullopt: nobody knows what was durable
  const BlobBytes index_;
  const BlobBytes values_;
  uint64_t end_ = 0;                              // of the stream, at a whole record
  std::vector<std::optional<std::byte>> stream_;  // nullopt: its page does not have the byte
  Section section_;
};

}  // namespace

uint64_t value_offset(ByteSpan record) {
  return number_of(record.last(12).first(8));
}

uint64_t value_size(ByteSpan record) {
  return number_of(record.last(4));
}

bool Section::is_whole() const {
  return beyond == Fate::absent && std::ranges::all_of(records, [](const Record& record) {
           return record.fate == Fate::readable;
         });
}

void Geometry::use_partitions_of(const Manifest& manifest) {
  if (manifest.partitions.contains(2)) index = manifest.partitions.at(2);
  if (manifest.partitions.contains(3)) values = manifest.partitions.at(3);
}

Sections recover(const StoreFiles& files, const Manifest& manifest, const Geometry& geometry) {
  std::set<uint64_t> numbers;
  for (const auto& [name, content] : files) {
    // Whether damaged values have lost their index, or never had one, nobody can tell.
    const bool is_damaged_value =
        name.first == geometry.values &&
        blob_of(files, name.first, name.second).state == BlobBytes::State::damaged;
    if (name.first == geometry.index || is_damaged_value) numbers.insert(number_of(name.second));
  }
  for (const auto& [section, floor] : manifest.floors)
    numbers.insert(section);
  Sections sections;
  for (const uint64_t section : numbers) {
    if (section < manifest.boundary) continue;
    const auto known = manifest.floors.find(section);
    std::optional<uint64_t> floor;
    if (manifest.exists) floor = known == manifest.floors.end() ? 0 : known->second;
    const Bytes name = section_name(section);
    sections[section] = Recovery(geometry, floor, blob_of(files, geometry.index, name),
                                 blob_of(files, geometry.values, name))
                            .run();
  }
  return sections;
}

}  // namespace firn::testkit::reference
