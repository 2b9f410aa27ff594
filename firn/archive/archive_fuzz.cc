// SPDX-License-Identifier: Apache-2.0
//
// Hostile files under an archive. Where no checksum was forged, an index and a key answer with the
// value that was put, or with an error; absent they are only if opening or verify tells of damage.
// What opens for writing takes items and gives them back.
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
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

bool is_found(const Result<std::optional<Value>>& read, const Values& values, uint64_t index) {
  const auto expected = values.find(index);
  if (!read) return true;  // an error tells
  if (!*read) return expected == values.end();
  CHECK(expected != values.end(), "nothing is there that was not put, or was pruned");
  CHECK(equal_bytes((*read)->bytes(), expected->second), "the value that was put");
  return true;
}

// False if something is silently absent.
bool find_everything(const PrunableArchive& archive, const Values& values) {
  bool has_all = true;
  for (uint64_t index = 0; index < 32; ++index) {
    const Bytes key(kKeySizeBytes, static_cast<std::byte>(index));
    has_all &= is_found(archive.get(index), values, index);
    has_all &= is_found(archive.get(ByteSpan(key)), values, index);
  }
  uint64_t visited = 0;
  const Status all = archive.visit(0, UINT64_MAX, true, [&](const ArchiveItem&) {
    ++visited;
    return true;
  });
  for (const uint64_t missing : archive.missing_items(0, 32))
    has_all &= !values.contains(missing);
  return has_all && (!all || visited == values.size());
}

void read_everything(const PrunableArchive& archive) {
  for (uint64_t index = 0; index < 32; ++index) {
    (void)archive.get(index);
    (void)archive.get(ByteSpan(Bytes(kKeySizeBytes, static_cast<std::byte>(index))));
  }
  uint64_t visited = 0;
  (void)archive.visit(0, UINT64_MAX, true, [&](const ArchiveItem& item) {
    (void)archive.read_value(item);
    return ++visited < 1000;
  });
  (void)archive.missing_items(0, 10);
  (void)archive.next_gap(0);
}

testkit::Told told_by(const PrunableArchive& archive, Storage& storage) {
  testkit::Told told;
  told.add(archive.recovery());
  RecoveryLog findings(storage, true);
  told.add(archive.log().verify(true, findings, [](uint64_t) {}));
  told.add(findings.report());
  return told;
}

// What undamaged stores tell.
const testkit::Told& told_undamaged(uint64_t mode, ArchiveAccess access) {
  static std::map<std::pair<uint64_t, ArchiveAccess>, testkit::Told> known;
  const auto found = known.find({mode, access});
  if (found != known.end()) return found->second;
  testkit::FuzzedStorage storage;
  make_store(storage, mode);
  PrunableArchiveOptions options = options_of(mode);
  options.access = access;
  const auto archive = PrunableArchive::open(storage, options);
  CHECK(archive.has_value(), "an undamaged store opens");
  return known[{mode, access}] = told_by(**archive, storage);
}

void check_told(const PrunableArchive& archive, Storage& storage, uint64_t mode,
                ArchiveAccess access) {
  CHECK(told_by(archive, storage).says_more_than(told_undamaged(mode, access)),
        "what is absent is told");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t mode = input.number(1);
  testkit::FuzzedStorage storage;
  const Values values = make_store(storage, mode);
  const auto hints = storage.hints();
  testkit::StoreMutator mutator(storage,
                                {kPageSizeBytes, archive::record_size_bytes(kKeySizeBytes)});
  const testkit::Mutation mutation = mutator.mutate(input);

  PrunableArchiveOptions options = options_of(mode);
  options.strict = mode / 8 % 4 == 0;
  const bool is_forged = mutation == testkit::Mutation::forged;
  const bool has_floors = mode / 4 % 2 == 0 || storage.hints() == hints;
  options.access = ArchiveAccess::read_only;
  if (const auto reader = PrunableArchive::open(storage, options)) {
    read_everything(**reader);
    if (!is_forged && !find_everything(**reader, values) && has_floors)
      check_told(**reader, storage, mode, options.access);
  }
  options.access = ArchiveAccess::write;
  const auto writer = PrunableArchive::open(storage, options);
  if (!writer) return 0;
  read_everything(**writer);
  if (!is_forged && !find_everything(**writer, values) && has_floors)
    check_told(**writer, storage, mode, options.access);
  const Bytes key(kKeySizeBytes, std::byte{77});
  const auto put = (*writer)->put(90, key, as_bytes("new"));
  if (!put || *put != PutOutcome::added || !(*writer)->sync()) return 0;
  const auto read = (*writer)->get(90);
  CHECK(read && *read && as_text((*read)->bytes()) == "new", "what was put is there");
  (void)(*writer)->close();
  return 0;
}
