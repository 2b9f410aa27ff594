// SPDX-License-Identifier: Apache-2.0
//
// Hostile stores under salvage_archive and salvage_freezer. Damage is no failure, the source stays
// as it is, and where no checksum was forged, what is in the new store was put.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "firn/archive/archive_salvage.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/freezer/freezer.h"
#include "firn/freezer/freezer_salvage.h"
#include "firn/io/memory_storage.h"
#include "fuzz/fuzzed_stores.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;

// What salvage is told of a store: its compression, and perhaps its sizes.
template <class Options>
Options told(uint64_t mode) {
  Options options;
  options.compression_level = fuzz::compression_of(mode);
  if (mode / 8 % 2 == 1) {
    options.key_size_bytes = fuzz::kKeySizeBytes;
    options.page_size_bytes = fuzz::kPageSizeBytes;
  }
  return options;
}

struct ArchiveSubject : fuzz::SmallArchive {
  static Result<SalvageSummary> salvage(Storage& source, Storage& target, uint64_t mode) {
    return salvage_archive(source, told<ArchiveSalvageOptions>(mode), target, {});
  }
};

struct FreezerSubject : fuzz::SmallFreezer {
  static Result<SalvageSummary> salvage(Storage& source, Storage& target, uint64_t mode) {
    return salvage_freezer(source, told<FreezerOptions>(mode), target, {});
  }
};

// Every file, header included, in one piece.
Bytes bytes_of(const MemoryStorage& storage) {
  Bytes all;
  storage.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
    for (const ByteSpan part : {as_bytes(partition), name, content})
      all.insert(all.end(), part.begin(), part.end());
  });
  return all;
}

template <class Subject>
void run(testkit::FuzzInput& input, uint64_t mode) {
  testkit::FuzzedStorage source;
  const fuzz::Items put = Subject::make(source, mode);
  testkit::StoreMutator mutator(source, {fuzz::kPageSizeBytes, Subject::kRecordSizeBytes});
  const testkit::Mutation mutation = mutator.mutate(input);
  const Bytes before = bytes_of(source);
  MemoryStorage target;
  const auto summary = Subject::salvage(source, target, mode);
  CHECK(bytes_of(source) == before, "the source stays as it is");
  if (!summary) {
    CHECK(summary.error().code == Errc::invalid_argument, "damage is no failure");
    return;
  }
  if (mutation == testkit::Mutation::forged || !summary->target_made) return;
  const fuzz::Items found = Subject::all_items(target);
  CHECK(found.size() == summary->items, "what was kept is counted");
  // Sections whose files all changed places come in another order.
  for (const auto& item : found)
    CHECK(std::ranges::count(put, item) == 1, "only what was put");
  // Without the floors of the newest manifest nobody knows what was synced.
  const bool has_floors = summary->copies == 0 && !source.scan(kManifestPartition)->empty();
  CHECK(found.size() == put.size() || summary->losses + summary->unsynced > 0 || !has_floors,
        "what is missing is told");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t mode = input.number(1);
  if (mode % 2 == 0)
    run<ArchiveSubject>(input, mode);
  else
    run<FreezerSubject>(input, mode);
  return 0;
}
