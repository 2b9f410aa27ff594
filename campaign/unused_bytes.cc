// SPDX-License-Identifier: Apache-2.0
#include "campaign/unused_bytes.h"

#include <algorithm>

#include "firn/base/crc32c.h"
#include "firn/base/endian.h"

namespace firn::campaign {
namespace {

using Rows = std::vector<std::optional<size_t>>;

enum Row : size_t { padding, other_slot, unreferenced_value, floor_hint, doubled_position };

constexpr size_t kHeaderBytes = 8;
constexpr size_t kSlotBytes = 6;
constexpr size_t kLocationBytes = 12;
constexpr size_t kPositionBytes = 58;

struct Page {
  size_t begin = 0;  // in the file
  size_t size = 0;   // payload bytes that count
  size_t slot = 0;   // the one that counts
  bool is_valid = false;
};

// FORMAT.md, section 2: the slot with the larger length counts, if its checksum fits; then the
// other.
Page parse_page(const Bytes& file, size_t begin, size_t page_bytes) {
  struct Slot {
    size_t size;
    bool is_valid;
  };
  const auto slot = [&](size_t number) {
    const std::byte* const at = file.data() + begin + page_bytes + number * kSlotBytes;
    const size_t size = load_big_endian<uint16_t>(at);
    const bool fits = size > 0 && size <= page_bytes;
    return Slot{size, fits && crc32c(ByteSpan(file).subspan(begin, size)) ==
                                  load_big_endian<uint32_t>(at + 2)};
  };
  const Slot slots[] = {slot(0), slot(1)};
  size_t counting = slots[0].size >= slots[1].size ? 0 : 1;
  if (!slots[counting].is_valid) counting = 1 - counting;
  return {begin, slots[counting].size, counting, slots[counting].is_valid};
}

std::vector<Page> parse_pages(const Bytes& file, size_t page_bytes) {
  std::vector<Page> pages;
  const size_t physical = page_bytes + 2 * kSlotBytes;
  for (size_t begin = kHeaderBytes; begin + physical <= file.size(); begin += physical)
    pages.push_back(parse_page(file, begin, page_bytes));
  return pages;
}

void mark(Rows& rows, size_t begin, size_t end, Row row) {
  std::fill(rows.begin() + static_cast<ptrdiff_t>(std::min(begin, rows.size())),
            rows.begin() + static_cast<ptrdiff_t>(std::min(end, rows.size())), row);
}

Rows rows_of_index(const Bytes& file, size_t page_bytes) {
  Rows rows(file.size());
  for (const Page& page : parse_pages(file, page_bytes)) {
    if (!page.is_valid) continue;
    const size_t slots = page.begin + page_bytes;
    mark(rows, page.begin + page.size, slots, padding);
    const size_t other = slots + (1 - page.slot) * kSlotBytes;
    mark(rows, other, other + kSlotBytes, other_slot);
  }
  return rows;
}

// The payloads of the pages, as far as the stream goes.
Bytes stream_of(const Bytes& file, size_t page_bytes) {
  Bytes stream;
  for (const Page& page : parse_pages(file, page_bytes)) {
    if (!page.is_valid) break;
    const auto begin = file.begin() + static_cast<ptrdiff_t>(page.begin);
    stream.insert(stream.end(), begin, begin + static_cast<ptrdiff_t>(page.size));
    if (page.size < page_bytes) break;
  }
  return stream;
}

// Section 4: the last 12 bytes of a record are the offset and the size of its value.
Rows rows_of_values(const Bytes& file, const Bytes& records, size_t record_bytes) {
  Rows rows(file.size());
  mark(rows, kHeaderBytes, file.size(), unreferenced_value);
  for (size_t end = record_bytes; end <= records.size(); end += record_bytes) {
    const std::byte* const location = records.data() + end - kLocationBytes;
    const size_t begin = kHeaderBytes + load_big_endian<uint64_t>(location);
    const size_t size = load_big_endian<uint32_t>(location + 8);
    for (size_t at = begin; at < std::min(begin + size, rows.size()); ++at)
      rows[at].reset();
  }
  return rows;
}

}  // namespace

const std::vector<UnusedBytes>& unused_bytes() {
  static const std::vector<UnusedBytes> kList = {
      {"index",
       "payload of a page behind its length",
       "the checksum ends with the length: the next append writes there",
       {"fixed_journal", "indexed_value_log", "archive", "freezer_in_memory", "freezer_on_disk",
        "archive_of_one_size", "freezer_of_one_size"}},
      {"index",
       "the slot of a page that does not count",
       "it has the shorter length that was durable before, or none; the other slot decides",
       {"fixed_journal", "indexed_value_log", "archive", "freezer_in_memory", "freezer_on_disk",
        "archive_of_one_size", "freezer_of_one_size"}},
      {"values",
       "bytes that no record refers to",
       "values of puts that no sync covered before the kill: recovery cuts them",
       {"indexed_value_log", "archive", "freezer_in_memory", "freezer_on_disk",
        "archive_of_one_size", "freezer_of_one_size"}},
      {"manifest",
       "hints of floors, in the blob \"floors\"",
       "a hint that is lost makes a floor older, which is still true",
       {"fixed_journal", "indexed_value_log", "archive", "freezer_in_memory", "freezer_on_disk",
        "archive_of_one_size", "freezer_of_one_size"}},
      {"table",
       "positions that the checkpoint does not have yet",
       "the table was doubling: what was copied is in the other half, too, and an open begins anew",
       {"freezer_on_disk"}},
  };
  return kList;
}

UnusedMap::UnusedMap(const SweptStore& store) {
  for (const auto& [name, content] : store.files) {
    Rows& rows = rows_[name];
    rows.resize(content.size());
    if (name.first == "index" && store.page_size_bytes > 0)
      rows = rows_of_index(content, store.page_size_bytes);
    if (name.first == "values" && store.record_size_bytes > 0) {
      const auto index = store.files.find({"index", name.second});
      const Bytes records =
          index == store.files.end() ? Bytes() : stream_of(index->second, store.page_size_bytes);
      rows = rows_of_values(content, records, store.record_size_bytes);
    }
    if (name.first == "manifest" && name.second == to_bytes(as_bytes("floors")))
      mark(rows, kHeaderBytes, content.size(), floor_hint);
    if (name.first == "table")
      mark(rows, kHeaderBytes + store.table_positions * kPositionBytes, content.size(),
           doubled_position);
  }
}

std::optional<size_t> UnusedMap::row_of(const FileName& name, size_t offset) const {
  return rows_.at(name).at(offset);
}

}  // namespace firn::campaign
