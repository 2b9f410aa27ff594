// SPDX-License-Identifier: Apache-2.0
//
// Hostile manifests: facts, floors and hints that are damaged, or forged with checksums that fit.
// Opening may fail; what opens answers, can be written, and then says the same again.
#include "firn/store/manifest.h"

#include <cstdint>

#include "firn/base/check.h"
#include "firn/io/memory_storage.h"
#include "testkit/fuzz_input.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;

constexpr uint64_t kFloor = 4242;

void make_store(MemoryStorage& storage, bool is_closed) {
  RecoveryLog recovery(storage, false);
  const ManifestIdentity identity = {
      .kind = "archive",
      .geometry = {{"page_size", uint64_t{64}}, {"compression", std::string("none")}},
      .partitions = {{StoreRole::index, "index"}},
      .id = StoreId{}};
  const auto manifest = Manifest::create(storage, identity, recovery);
  CHECK(manifest.has_value(), "memory has room");
  Floors& floors = (*manifest)->floors(StoreRole::index);
  CHECK(floors.raise(Section(8), 100).has_value(), "memory does not fail");
  CHECK(floors.set_boundary(Section(4)).has_value(), "memory does not fail");
  CHECK(floors.raise(Section(8), kFloor).has_value(), "memory does not fail");
  CHECK((*manifest)->set_record(1, as_bytes("a record")).has_value(), "memory does not fail");
  if (is_closed) CHECK((*manifest)->close().has_value(), "memory does not fail");
}

// Everything that a store asks its manifest.
void ask(Manifest& manifest, testkit::Mutation mutation) {
  (void)manifest.number("page_size");
  (void)manifest.text("compression");
  (void)manifest.partition(StoreRole::index);
  (void)manifest.record(1);
  (void)manifest.last_recovery();
  const Floors& floors = manifest.floors(StoreRole::index);
  for (const Section section : floors.sections())
    CHECK(floors.floor(section) > 0, "sections that are listed have a floor");
  if (mutation == testkit::Mutation::forged) return;
  CHECK(floors.sections().empty() || floors.sections().front() >= floors.boundary(),
        "nothing below the boundary has a floor");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  MemoryStorage storage;
  make_store(storage, input.below(2) == 1);
  const testkit::Mutation mutation = testkit::StoreMutator(storage, {}).mutate(input);

  RecoveryLog looking(storage, true);
  const auto reader = Manifest::open(storage, true, looking);
  if (reader && *reader != nullptr) ask(**reader, mutation);
  RecoveryLog recovery(storage, false);
  const auto writer = Manifest::open(storage, false, recovery);
  if (!writer || *writer == nullptr) return 0;
  ask(**writer, mutation);
  Floors& floors = (*writer)->floors(StoreRole::index);
  if (mutation != testkit::Mutation::forged) {
    CHECK(floors.floor(Section(8)) <= kFloor, "a floor is never above what was synced");
    CHECK(floors.boundary() <= Section(4), "a boundary is never above what was pruned");
  }
  const bool is_below = Section(8) < floors.boundary();
  const uint64_t before = floors.floor(Section(8));
  if (!floors.raise(Section(8), kFloor + 1) || !(*writer)->close() || is_below) return 0;
  const auto again = Manifest::open(storage, false, recovery);
  CHECK(again && *again != nullptr, "what was closed opens");
  CHECK((*again)->floors(StoreRole::index).floor(Section(8)) == std::max(before, kFloor + 1),
        "a floor that was raised and closed is there");
  return 0;
}
