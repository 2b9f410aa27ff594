// SPDX-License-Identifier: Apache-2.0
#include "campaign/swept_items.h"

#include <algorithm>

#include "firn/base/endian.h"
#include "firn/base/text.h"

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

Files files_of(MemoryStorage& storage) {
  Files files;
  for (const std::string& partition : must(storage.partitions()))
    for (const Bytes& name : must(storage.scan(partition)))
      files[{partition, name}] = *storage.raw(partition, name);
  return files;
}

void load(MemoryStorage& storage, const Files& files) {
  for (const auto& [name, content] : files)
    storage.set_raw(name.first, name.second, content);
}

std::string file_text(const FileName& name) {
  return concat(name.first, "/", to_hex(name.second));
}

}  // namespace firn::campaign
