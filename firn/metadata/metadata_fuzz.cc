// SPDX-License-Identifier: Apache-2.0
//
// Hostile copies under a metadata store. If only bytes, lengths and names are wrong, the map is one
// that was committed, or opening fails. Whatever opens is what a reference finds in the bytes from
// before, and can be changed, synced and read again. What salvage makes of the copies agrees with
// that.
#include <cstdint>
#include <map>
#include <string>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/io/memory_storage.h"
#include "firn/metadata/metadata_image.h"
#include "firn/metadata/metadata_salvage.h"
#include "firn/metadata/metadata_store.h"
#include "testkit/fuzz_input.h"
#include "testkit/reference_metadata.h"
#include "testkit/store_files.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;
using Map = std::map<std::string, std::string>;

MetadataStoreOptions options_of(bool is_read_only) {
  MetadataStoreOptions options;
  options.key_size_bytes = 4;
  options.read_only = is_read_only;
  return options;
}

Map map_of(const MetadataStore& store) {
  Map map;
  store.for_each(
      [&](ByteSpan key, ByteSpan value) { map[std::string(as_text(key))] = as_text(value); });
  return map;
}

struct Committed {
  Map older;
  Map newer;
};

// Two commits and a bit.
Committed make_store(MemoryStorage& storage, uint64_t commits) {
  RecoveryLog recovery(storage, false);
  const auto store = MetadataStore::open(storage, options_of(false), recovery);
  CHECK(store.has_value(), "memory has room");
  Committed committed;
  for (uint64_t i = 0; i < commits; ++i) {
    const std::string key = "key" + std::to_string(i % 3);
    CHECK((*store)->put(as_bytes(key), as_bytes("value " + std::to_string(i * i * i))).has_value(),
          "it fits");
    committed.older = std::move(committed.newer);
    committed.newer = map_of(**store);
    CHECK((*store)->sync().has_value(), "memory does not fail");
  }
  return committed;
}

void check_salvage(MemoryStorage& storage, testkit::Mutation mutation, const Committed& committed) {
  const SalvageObserver observer;
  SalvageLog log(observer);
  const auto salvaged = salvage_metadata(storage, options_of(true), log);
  CHECK(salvaged.has_value(), "damage is no failure of salvage");
  if (mutation == testkit::Mutation::forged || salvaged->version == 0) return;
  Map map;
  for (const auto& [key, value] : salvaged->pairs)
    map[std::string(as_text(key))] = as_text(value);
  CHECK(map == committed.newer || map == committed.older, "only what was committed is salvaged");
}

void check_recovered(const MetadataStore& store, const Map& opened,
                     const testkit::reference::Metadata& expected) {
  Map map;
  for (const auto& [key, value] : expected.pairs)
    map[std::string(as_text(key))] = as_text(value);
  CHECK(store.version() == expected.version, "the newest valid copy counts");
  CHECK(opened == map, "with all of its pairs");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  MemoryStorage storage;
  const Committed committed = make_store(storage, 1 + input.below(4));
  const testkit::Mutation mutation = testkit::StoreMutator(storage, {}).mutate(input);
  check_salvage(storage, mutation, committed);

  RecoveryLog looking(storage, true);
  const auto reader = MetadataStore::open(storage, options_of(true), looking);
  RecoveryLog recovery(storage, false);
  const testkit::StoreFiles files = testkit::files_of(storage);
  auto writer = MetadataStore::open(storage, options_of(false), recovery);
  const auto reference = testkit::reference::read_metadata(files, options_of(false).partition, 4);
  CHECK(writer.has_value() == reference.has_value(), "what has no valid copy is refused, no more");
  if (!writer) return 0;
  const Map opened = map_of(**writer);
  check_recovered(**writer, opened, *reference);
  if (reader) CHECK(map_of(**reader) == opened, "readers see what writers see");
  if (mutation != testkit::Mutation::forged) {
    CHECK(opened == committed.newer || opened == committed.older || opened.empty(),
          "only what was committed is read");
    // No content, or a lone first commit, is how a store begins: nothing shows what is gone.
    CHECK(opened == committed.newer || !recovery.report().empty() || (*writer)->version() <= 1,
          "what is older is told");
  }
  if (!(*writer)->put(as_bytes("also"), as_bytes("this"))) return 0;
  const Map expected = map_of(**writer);
  if ((*writer)->version() == metadata::kVersionMax) {
    CHECK(!(*writer)->sync(), "a version that cannot be read is not written");
    return 0;
  }
  CHECK((*writer)->sync().has_value(), "memory does not fail");
  writer->reset();
  const auto again = MetadataStore::open(storage, options_of(false), recovery);
  CHECK(again && map_of(**again) == expected, "a sync keeps the map");
  return 0;
}
