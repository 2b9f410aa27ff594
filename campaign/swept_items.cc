// SPDX-License-Identifier: Apache-2.0
#include "campaign/swept_items.h"

#include <algorithm>
#include <array>

#include "firn/base/endian.h"
#include "firn/base/text.h"
#include "firn/codec/varint.h"
#include "firn/io/page_record.h"
#include "firn/journal/value_entry.h"
#include "tools/firn/sha256.h"

namespace firn::campaign {

Bytes key_of(uint64_t number, size_t size_bytes) {
  Bytes key(size_bytes);
  uint64_t state = number;
  std::byte mixed[sizeof(uint64_t)];
  store_big_endian(mixed, split_mix64(state));
  for (size_t i = 0; i < size_bytes; ++i)
    key[i] = i < 4 ? std::byte(number >> (8 * i)) : mixed[i % 8];
  return key;
}

Bytes draw_value(Random& random, Scale scale) {
  const uint64_t max = scale == Scale::small ? 700 : 6000;
  return random.bytes(random.one_in(8) ? random.below(max) : random.below(40));
}

uint64_t scaled(uint64_t small, Scale scale) {
  return scale == Scale::small ? small : small * 12;
}

uint32_t draw_page_size(Random& random, Scale scale) {
  return static_cast<uint32_t>(scale == Scale::small ? random.between(16, 200)
                                                     : random.between(60, 600));
}

ItemDraw::ItemDraw(Random& random, Scale scale, Values values) : random_(random), scale_(scale) {
  if (values == Values::of_one_size) stored_size_bytes_ = 64u << random.below(3);
  key_size_bytes_ =
      has_content_keys() ? sizeof(command::Sha256) : static_cast<uint32_t>(random.between(4, 16));
}

// A value with its key is one that an import makes: the content behind its length.
SweptItem ItemDraw::item(uint64_t number) {
  if (!has_content_keys())
    return {number, draw_value(random_, scale_), key_of(number, key_size_bytes_)};
  const size_t value_size = stored_size_bytes_ - journal::kChecksumSizeBytes;
  const size_t content_size = value_size - varint_size(value_size);
  const Bytes content = random_.bytes(content_size);
  std::array<std::byte, kMaxVarintSize<uint64_t>> length;
  const size_t length_size = store_varint(length, content_size);
  Bytes value(length.begin(), length.begin() + static_cast<ptrdiff_t>(length_size));
  value.insert(value.end(), content.begin(), content.end());
  CHECK(value.size() == value_size, "lengths of one size have varints of one size");
  const command::Sha256 key = command::sha256(content);
  return {number, std::move(value), Bytes(key.begin(), key.end())};
}

// Where values fill sectors, pages do, too.
uint32_t ItemDraw::page_size_bytes() {
  if (!has_content_keys()) return draw_page_size(random_, scale_);
  return static_cast<uint32_t>((64u << random_.below(3)) - kPageRecordSize);
}

std::optional<int> ItemDraw::compression_level() {
  if (has_content_keys() || !random_.one_in(3)) return std::nullopt;
  return 1;
}

Answer answer_of(const SweptItem& item, std::optional<ByteSpan> found) {
  if (!found) return {Outcome::absent};
  if (equal_bytes(*found, item.value)) return {Outcome::right};
  const bool was_replaced = std::ranges::any_of(
      item.older, [&](const Bytes& older) { return equal_bytes(*found, older); });
  return {was_replaced ? Outcome::absent : Outcome::wrong};
}

Answer answer_of(const SweptItem& item, const Result<std::optional<Value>>& found) {
  if (!found) return {Outcome::failed, found.error().message};
  return answer_of(item, *found ? std::optional((*found)->bytes()) : std::nullopt);
}

std::vector<Finding> findings_of(const RecoveryReport& report) {
  std::vector<Finding> findings;
  const auto add = [&](const char* what, const BlobRange& range) {
    findings.push_back(
        {concat(range.partition, "/", range.blob),
         concat(what, " at ", range.offset, "+", range.size_bytes, ": ", range.reason)});
  };
  for (const CutRange& cut : report.cuts)
    add("cut", cut.range);
  for (const BlobRange& range : report.damage)
    add("damage", range);
  for (const std::string& note : report.notes)
    findings.push_back({"", note});
  return findings;
}

Reading refused(const Error& error) {
  return {.refusal = error.message, .findings = {}, .verified = {}, .answers = {}};
}

Reading opened(const RecoveryReport& report) {
  return {.refusal = {},
          .was_clean = report.was_clean,
          .findings = findings_of(report),
          .verified = {},
          .answers = {}};
}

}  // namespace firn::campaign
