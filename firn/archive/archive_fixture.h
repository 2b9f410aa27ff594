// SPDX-License-Identifier: Apache-2.0
//
// For the tests of PrunableArchive: keys and values from words, answers as text ("absent", the
// value, or "error: ..."), so that an expectation is one line and a failure shows the message.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"

namespace firn::archive {

inline constexpr uint32_t kTestKeySizeBytes = 64;

// Sections of four items, pages of a few records.
inline PrunableArchiveOptions small_options() {
  PrunableArchiveOptions options;
  options.key_size_bytes = 8;
  options.items_per_section = 4;
  options.page_size_bytes = 64;
  options.write_buffer_bytes = 128;
  options.page_cache_bytes = 1 << 16;
  return options;
}

// The word, padded with zeros.
inline Bytes key_of(std::string_view word, size_t size_bytes = kTestKeySizeBytes) {
  Bytes key(size_bytes);
  copy_bytes(key, as_bytes(word));
  return key;
}

inline std::string answer(const Result<std::optional<Value>>& result) {
  if (!result) return concat("error: ", errc_name(result.error().code));
  if (!*result) return "absent";
  return std::string(as_text((*result)->bytes()));
}

// All values, separated by commas.
inline std::string answer(const Result<std::optional<std::vector<Value>>>& result) {
  if (!result) return concat("error: ", errc_name(result.error().code));
  if (!*result) return "absent";
  std::string text;
  for (const Value& value : **result) {
    if (!text.empty()) text += ",";
    text += as_text(value.bytes());
  }
  return text;
}

inline std::string answer(const Result<PrunableArchive::Presence>& result) {
  if (!result) return concat("error: ", errc_name(result.error().code));
  return *result == PrunableArchive::Presence::present ? "present" : "absent";
}

using Archive = std::unique_ptr<PrunableArchive>;

inline Result<PutOutcome> put(const Archive& archive, uint64_t index, std::string_view key,
                              std::string_view value) {
  return archive->put(index, key_of(key, archive->key_size_bytes()), as_bytes(value));
}

inline Status put_multi(const Archive& archive, uint64_t index, std::string_view key,
                        std::string_view value) {
  return archive->put_multi(index, key_of(key, archive->key_size_bytes()), as_bytes(value));
}

inline std::string get(const Archive& archive, uint64_t index) {
  return answer(archive->get(index));
}

inline std::string get(const Archive& archive, std::string_view key) {
  return answer(archive->get(key_of(key, archive->key_size_bytes())));
}

inline std::string get_all(const Archive& archive, uint64_t index) {
  return answer(archive->get_all(index));
}

// The settings of the original's tests.
inline PrunableArchiveOptions shared_options(std::optional<int> compression_level = std::nullopt) {
  PrunableArchiveOptions options;
  options.key_size_bytes = kTestKeySizeBytes;
  options.items_per_section = 1024;
  options.page_size_bytes = 1024;
  options.translator = KeyTranslator::two_cap();
  options.compression_level = compression_level;
  options.page_cache_bytes = 1 << 20;
  return options;
}

// All files of a store but those of firn's manifest, in order: "partition/name=hexadecimal".
inline std::string visible_files(const MemoryStorage& storage, bool with_manifest = true) {
  std::string text;
  storage.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
    if (!with_manifest && partition == kManifestPartition) return;
    text += concat(partition, "/", to_hex(name), "=", to_hex(content), "\n");
  });
  return text;
}

}  // namespace firn::archive
