// SPDX-License-Identifier: Apache-2.0
//
// Hostile locations and bytes under a value log: whatever is read is a value that was put there, or
// an error. Also entries that are nothing but the input, with a checksum that fits.
#include "firn/journal/value_log.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/crc32c.h"
#include "firn/base/endian.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "firn/journal/value_entry.h"
#include "testkit/fuzz_input.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;

constexpr Section kSection(7);
constexpr uint32_t kValueSizeMaxBytes = 1 << 20;

ValueLogOptions options_of(bool is_compressed) {
  ValueLogOptions options;
  options.partition = "values";
  if (is_compressed) options.compression_level = 1;
  options.value_size_max_bytes = kValueSizeMaxBytes;
  return options;
}

// Payloads of the input itself: frames, lengths, anything.
void read_forged_entry(testkit::FuzzInput& input) {
  Bytes bytes = input.rest();
  const uint32_t crc = crc32c(bytes);
  bytes.resize(bytes.size() + 4);
  store_big_endian(bytes.data() + bytes.size() - 4, crc);
  const journal::EntryPlace place{"values", kSection, {0, static_cast<uint32_t>(bytes.size())}};
  const auto plain =
      journal::decompress_entry(ByteSpan(bytes).first(bytes.size() - 4), kValueSizeMaxBytes, place);
  CHECK(!plain || plain->size() <= kValueSizeMaxBytes, "decompression is bounded");
  for (const bool is_compressed : {false, true}) {
    const auto size = journal::guess_entry_size(bytes, is_compressed);
    CHECK(!size || (*size >= 4 && *size <= bytes.size()), "an entry lies inside");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t mode = input.below(4);
  if (mode == 0) {
    read_forged_entry(input);
    return 0;
  }
  const ValueLogOptions options = options_of(mode == 1);
  MemoryStorage storage;
  RecoveryLog recovery(storage, false);
  std::vector<std::pair<ValueLocation, Bytes>> put;
  {
    const auto log = ValueLog::open(storage, options, recovery);
    CHECK(log.has_value(), "memory has room");
    for (uint64_t i = 0; i < 6; ++i) {
      Bytes value = Random(i).bytes(i * i * 3);
      const auto location = (*log)->append(kSection, value);
      CHECK(location.has_value(), "memory has room");
      put.emplace_back(*location, std::move(value));
    }
    CHECK((*log)->sync(kSection).has_value(), "memory does not fail");
  }
  const std::pair<uint64_t, uint32_t> asked = {
      input.interesting(storage.raw("values", storage.scan("values")->front())->size()),
      static_cast<uint32_t>(input.interesting(40))};
  testkit::StoreMutator(storage, {}).mutate(input);

  RecoveryLog reading(storage, true);
  const auto log = ValueLog::open(storage, options, reading);
  if (!log) return 0;
  for (const auto& [location, value] : put) {
    const auto read = (*log)->read(kSection, location);
    CHECK(!read || equal_bytes(read->bytes(), value), "what is read is what was put");
  }
  (void)(*log)->read(kSection, {asked.first, asked.second});
  return 0;
}
