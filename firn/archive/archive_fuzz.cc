// SPDX-License-Identifier: Apache-2.0
//
// Hostile files under an archive. Where no checksum was forged, an index answers with the value
// that was put, with an error, or is absent. What opens for writing takes items and gives them
// back.
#include <cstdint>
#include <map>
#include <string>

#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "testkit/fuzz_input.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;

constexpr uint32_t kKeySizeBytes = 4;
constexpr uint32_t kPageSizeBytes = 40;

PrunableArchiveOptions options_of(uint64_t mode) {
  PrunableArchiveOptions options;
  options.key_size_bytes = kKeySizeBytes;
  options.items_per_section = 8;
  options.page_size_bytes = kPageSizeBytes;
  options.write_buffer_bytes = 0;
  options.page_cache_bytes = 4096;
  options.translator = KeyTranslator::two_cap();
  if (mode % 2 == 1) options.compression_level = 1;
  return options;
}

using Values = std::map<uint64_t, Bytes>;

Values make_store(MemoryStorage& storage, uint64_t mode) {
  const auto archive = PrunableArchive::open(storage, options_of(mode));
  CHECK(archive.has_value(), "memory has room");
  Values values;
  for (uint64_t i = 0; i < 14; ++i) {
    const uint64_t index = i * 5 % 23;
    values[index] = Random(i).bytes(i * 4);
    const Bytes key(kKeySizeBytes, static_cast<std::byte>(index));
    CHECK((*archive)->put(index, key, values[index]).has_value(), "memory has room");
    if (i == 7) CHECK((*archive)->sync().has_value(), "memory does not fail");
  }
  if (mode / 2 % 2 == 1) {
    CHECK((*archive)->prune(8).has_value(), "memory does not fail");
    values.erase(values.begin(), values.lower_bound(8));
  }
  const bool is_closed = mode / 4 % 2 == 0;
  CHECK(is_closed ? (*archive)->close().has_value() : (*archive)->sync().has_value(),
        "memory does not fail");
  return values;
}

void read_everything(const PrunableArchive& archive, const Values& values,
                     testkit::Mutation mutation) {
  for (uint64_t index = 0; index < 32; ++index) {
    const auto read = archive.get(index);
    const Bytes key(kKeySizeBytes, static_cast<std::byte>(index));
    const auto by_key = archive.get(ByteSpan(key));
    if (mutation == testkit::Mutation::forged) continue;
    const auto expected = values.find(index);
    for (const auto* found : {&read, &by_key}) {
      if (!*found || !**found) continue;
      CHECK(expected != values.end(), "nothing is there that was not put, or was pruned");
      CHECK(equal_bytes((**found)->bytes(), expected->second), "the value that was put");
    }
  }
  uint64_t visited = 0;
  (void)archive.visit(0, UINT64_MAX, true, [&](const ArchiveItem& item) {
    (void)archive.read_value(item);
    return ++visited < 1000;
  });
  (void)archive.missing_items(0, 10);
  (void)archive.next_gap(0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t mode = input.number(1);
  MemoryStorage storage;
  const Values values = make_store(storage, mode);
  testkit::StoreMutator mutator(storage,
                                {kPageSizeBytes, archive::record_size_bytes(kKeySizeBytes)});
  const testkit::Mutation mutation = mutator.mutate(input);

  PrunableArchiveOptions options = options_of(mode);
  options.strict = mode / 8 % 4 == 0;
  options.access = ArchiveAccess::read_only;
  if (const auto reader = PrunableArchive::open(storage, options))
    read_everything(**reader, values, mutation);
  options.access = ArchiveAccess::write;
  const auto writer = PrunableArchive::open(storage, options);
  if (!writer) return 0;
  read_everything(**writer, values, mutation);
  const Bytes key(kKeySizeBytes, std::byte{77});
  const auto put = (*writer)->put(90, key, as_bytes("new"));
  if (!put || *put != PutOutcome::added || !(*writer)->sync()) return 0;
  const auto read = (*writer)->get(90);
  CHECK(read && *read && as_text((*read)->bytes()) == "new", "what was put is there");
  (void)(*writer)->close();
  return 0;
}
