// SPDX-License-Identifier: Apache-2.0
//
// StoreMutator: changes a store as a fuzzer wants it, in terms of its format: fields of records,
// locations, values, slots of a table, keys of a manifest; and then makes the checksums fit, so
// that the code behind them is reached. Also damage without repair: bytes, lengths, files gone or
// exchanged.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/io/blob_header.h"
#include "firn/io/memory_storage.h"
#include "firn/io/page_record.h"
#include "testkit/fuzz_input.h"

namespace firn::testkit {

struct MutatedGeometry {
  uint32_t page_size_bytes = 0;
  uint32_t record_size_bytes = 0;  // of the partition "index"; its last 12 bytes are a location
};

// What may have happened to the files, from what a store must tell of to what it cannot know.
enum class Mutation : uint8_t {
  damaged,    // no checksum fits what it should not
  exchanged,  // besides, files took each other's places: formats give them no name
  forged,     // besides, checksums fit what they should not
};

// Ends a page with this record, its checksums made to fit where a slot has a length that can be.
inline void seal_page(MutableByteSpan page, PageRecord record) {
  const MutableByteSpan payload = page.first(page.size() - kPageRecordSize);
  for (PageSlot& slot : record.slots)
    if (slot.size_bytes <= payload.size()) slot.crc = crc32c(payload.first(slot.size_bytes));
  encode_page_record(page.data() + payload.size(), record);
}

class StoreMutator {
 public:
  StoreMutator(MemoryStorage& storage, MutatedGeometry geometry)
      : storage_(storage), geometry_(geometry) {}

  // Until the input is empty. Its first byte decides whether checksums may be forged, and how many
  // changes there are at most: damage that goes unnoticed is seldom large.
  Mutation mutate(FuzzInput& input) {
    const uint64_t plan = input.number(1);
    const bool may_forge = plan % 2 == 1;
    const uint64_t changes_max = may_forge ? 64 : 1 + plan / 2 % 8;
    Mutation mutation = Mutation::damaged;
    for (uint64_t changes = 0; !input.empty() && changes < changes_max; ++changes)
      mutation = std::max(mutation, change(input, may_forge));
    return mutation;
  }

 private:
  using Name = std::pair<std::string, Bytes>;

  [[nodiscard]] std::vector<Name> names() const {
    std::vector<Name> all;
    const auto partitions = storage_.partitions();
    for (const std::string& partition : *partitions) {
      const auto blobs = storage_.scan(partition);
      for (const Bytes& blob : *blobs)
        all.emplace_back(partition, blob);
    }
    return all;
  }

  Mutation change(FuzzInput& input, bool may_forge) {
    const std::vector<Name> all = names();
    if (all.empty()) return Mutation::damaged;
    const Name& name = all[input.below(all.size())];
    Bytes file = *storage_.raw(name.first, name.second);
    const uint64_t kind = input.below(may_forge ? 8 : 3);
    Mutation mutation = Mutation::damaged;
    if (kind == 0) return remove_or_exchange(input, name, all);
    if (kind == 1) {
      file.resize(std::min<uint64_t>(input.interesting(file.size()), file.size() + 4096));
    } else if (kind == 2) {
      for (uint64_t i = 0; i <= input.below(4) && !file.empty(); ++i)
        file[input.below(file.size())] = static_cast<std::byte>(input.number(1));
    } else {
      forge(input, name, file);
      mutation = Mutation::forged;
    }
    storage_.set_raw(name.first, name.second, std::move(file));
    return mutation;
  }

  Mutation remove_or_exchange(FuzzInput& input, const Name& name, const std::vector<Name>& all) {
    const Name& other = all[input.below(all.size())];
    if (other == name) {
      (void)storage_.remove(name.first, std::span(&name.second, 1));
      return Mutation::damaged;
    }
    Bytes mine = *storage_.raw(name.first, name.second);
    Bytes others = *storage_.raw(other.first, other.second);
    storage_.set_raw(name.first, name.second, std::move(others));
    storage_.set_raw(other.first, other.second, std::move(mine));
    return Mutation::exchanged;
  }

  void forge(FuzzInput& input, const Name& name, Bytes& file) {
    const std::string_view blob = as_text(name.second);
    if (name.first == "index") {
      forge_page(input, file);
    } else if (name.first == "values") {
      forge_value(input, file, name.second);
    } else if (name.first == "table") {
      forge_checked(input, file, 29);
    } else if (blob == "floors") {
      forge_checked(input, file, 32);
    } else {
      forge_image(input, file);
    }
  }

  static void put_number(FuzzInput& input, MutableByteSpan target, uint64_t size) {
    const uint64_t number = input.interesting(size);
    const size_t width = size_t{1} << input.below(4);
    for (size_t i = 0; i < std::min(width, target.size()); ++i)
      target[i] = static_cast<std::byte>(number >> 8 * (width - 1 - i));
  }

  // A field of a record, often of its location, and then the checksum of its page.
  void forge_page(FuzzInput& input, Bytes& file) const {
    const uint64_t physical = uint64_t{geometry_.page_size_bytes} + kPageRecordSize;
    const uint64_t pages =
        file.size() < kBlobHeaderSizeBytes ? 0 : (file.size() - kBlobHeaderSizeBytes) / physical;
    if (pages == 0) return;
    const uint64_t page = input.below(pages);
    const MutableByteSpan bytes =
        MutableByteSpan(file).subspan(kBlobHeaderSizeBytes + page * physical, physical);
    const MutableByteSpan payload = bytes.first(geometry_.page_size_bytes);
    PageRecord record = decode_page_record(bytes.data() + payload.size());
    const uint64_t how = input.below(4);
    if (how == 0) record.slots[input.below(2)].size_bytes = static_cast<uint16_t>(input.number(2));
    if (how > 0) {
      const uint64_t records = payload.size() / geometry_.record_size_bytes + 1;
      const uint64_t field = how == 1   ? input.below(geometry_.record_size_bytes)
                             : how == 2 ? geometry_.record_size_bytes - 12
                                        : geometry_.record_size_bytes - 4;
      const uint64_t skew = geometry_.record_size_bytes -
                            page * geometry_.page_size_bytes % geometry_.record_size_bytes;
      const uint64_t at = skew + input.below(records) * geometry_.record_size_bytes + field;
      put_number(input, payload.subspan(std::min<uint64_t>(at, payload.size())), 64);
    }
    seal_page(bytes, record);
  }

  // Bytes of a value that a record names, and then its checksum.
  void forge_value(FuzzInput& input, Bytes& file, const Bytes& section) const {
    const auto index = storage_.raw("index", section);
    if (!index || index->size() < kBlobHeaderSizeBytes + geometry_.record_size_bytes) return;
    const uint64_t at = kBlobHeaderSizeBytes + geometry_.record_size_bytes - 12;
    const auto offset = load_big_endian<uint64_t>(index->data() + at);
    const auto size = load_big_endian<uint32_t>(index->data() + at + 8);
    if (size < 4 || offset > file.size() || file.size() - offset < size + kBlobHeaderSizeBytes)
      return;
    const MutableByteSpan entry =
        MutableByteSpan(file).subspan(kBlobHeaderSizeBytes + offset, size);
    const MutableByteSpan payload = entry.first(size - 4);
    put_number(input, payload.subspan(input.below(payload.size() + 1)), size);
    store_big_endian(entry.data() + payload.size(), crc32c(payload));
  }

  // Records of `size` bytes that end in the checksum of the others.
  static void forge_checked(FuzzInput& input, Bytes& file, uint64_t size) {
    if (file.size() < kBlobHeaderSizeBytes + size) return;
    const uint64_t count = (file.size() - kBlobHeaderSizeBytes) / size;
    const MutableByteSpan record =
        MutableByteSpan(file).subspan(kBlobHeaderSizeBytes + input.below(count) * size, size);
    put_number(input, record.subspan(input.below(size - 4)), 8);
    store_big_endian(record.data() + size - 4, crc32c(record.first(size - 4)));
  }

  // The image of a map: a number, or bytes more or fewer, and then its checksum.
  static void forge_image(FuzzInput& input, Bytes& file) {
    if (file.size() < kBlobHeaderSizeBytes + 12) return;
    const uint64_t at = kBlobHeaderSizeBytes + input.below(file.size() - kBlobHeaderSizeBytes - 4);
    const auto place = file.begin() + static_cast<ptrdiff_t>(at);
    const uint64_t how = input.below(4);
    if (how == 0)
      file.insert(place, input.below(32), static_cast<std::byte>(input.number(1)));
    else if (how == 1)
      file.erase(place, place + static_cast<ptrdiff_t>(
                                    std::min<uint64_t>(input.below(32), file.size() - at - 4)));
    else
      put_number(input, MutableByteSpan(file).subspan(at), file.size());
    const MutableByteSpan image = MutableByteSpan(file).subspan(kBlobHeaderSizeBytes);
    if (image.size() < 12) return;
    store_big_endian(image.data() + image.size() - 4, crc32c(image.first(image.size() - 4)));
  }

  MemoryStorage& storage_;
  const MutatedGeometry geometry_;
};

}  // namespace firn::testkit
