// SPDX-License-Identifier: Apache-2.0
//
// Hostile files under a freezer, its table in memory and on disk. Where no checksum was forged, a
// key answers with its newest value, or with an error; with an older one it does, and absent it is,
// only if opening or verify tells of damage. What opens for writing has exactly the records that a
// reference finds in the bytes from before.
// Also the bytes of slots, cursors, checkpoints and table records.
#include "firn/freezer/freezer.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "firn/freezer/format.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
#include "testkit/reference_recovery.h"
#include "testkit/store_files.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;
namespace reference = testkit::reference;

constexpr uint32_t kKeySizeBytes = 4;
constexpr uint32_t kPageSizeBytes = 50;
constexpr uint64_t kPuts = 12;

FreezerOptions options_of(uint64_t mode) {
  FreezerOptions options;
  options.key_size_bytes = kKeySizeBytes;
  options.page_size_bytes = kPageSizeBytes;
  options.section_target_bytes = 150;
  options.table.initial_size = 4;
  options.table.resize_chunk = 2;
  options.write_buffer_bytes = 0;
  options.page_cache_bytes = 4096;
  options.memory_budget_bytes = mode % 2 == 0 ? 0 : 1 << 20;
  if (mode / 2 % 2 == 0) options.table.writing = TableWriting::immediate;
  return options;
}

using Values = std::map<Bytes, std::vector<Bytes>>;

Values make_store(MemoryStorage& storage, uint64_t mode) {
  const auto store = Freezer::open(storage, options_of(mode));
  CHECK(store.has_value(), "memory has room");
  Values values;
  for (uint64_t i = 0; i < kPuts; ++i) {
    Bytes key(kKeySizeBytes, static_cast<std::byte>(i % 8));
    Bytes value = Random(i).bytes(1 + i * 5);
    CHECK((*store)->put(key, value).has_value(), "memory has room");
    if (i == 5) CHECK((*store)->sync().has_value(), "memory does not fail");
    values[key].push_back(std::move(value));
  }
  const bool is_closed = mode / 4 % 2 == 0;
  CHECK(is_closed ? (*store)->close().has_value() : (*store)->sync().has_value(),
        "memory does not fail");
  return values;
}

// False if something is silently absent.
bool find_everything(const Freezer& store, const Values& values) {
  bool has_all = true;
  for (const auto& [key, versions] : values) {
    const auto read = store.get(ByteSpan(key));
    if (!read) continue;  // an error tells
    has_all &= *read && equal_bytes((*read)->bytes(), versions.back());
    const auto is_read = [&](const Bytes& value) { return equal_bytes((*read)->bytes(), value); };
    CHECK(!*read || std::ranges::any_of(versions, is_read), "a value that the key had");
  }
  uint64_t visited = 0;
  const Status all = store.visit([&](const FreezerItem&) {
    ++visited;
    return true;
  });
  return has_all && (!all || visited == kPuts);
}

void read_everything(const Freezer& store, const Values& values) {
  for (const auto& [key, versions] : values)
    (void)store.get(ByteSpan(key));
  uint64_t visited = 0;
  (void)store.visit([&](const FreezerItem& item) {
    (void)store.get(item.cursor());
    return ++visited < 1000;
  });
}

testkit::Told told_by(const Freezer& store, Storage& storage) {
  testkit::Told told;
  told.add(store.recovery());
  RecoveryLog findings(storage, true);
  told.add(store.verify(FreezerDepth::values, findings, [](uint64_t) {}));
  told.add(findings.report());
  return told;
}

FreezerOptions options_of(uint64_t mode, FreezerAccess access) {
  FreezerOptions options = options_of(mode / 8);
  options.access = access;
  return options;
}

// What undamaged stores tell.
const testkit::Told& told_undamaged(uint64_t mode, FreezerAccess access) {
  static std::map<std::pair<uint64_t, FreezerAccess>, testkit::Told> known;
  const auto found = known.find({mode, access});
  if (found != known.end()) return found->second;
  testkit::FuzzedStorage storage;
  make_store(storage, mode);
  const auto store = Freezer::open(storage, options_of(mode, access));
  CHECK(store.has_value(), "an undamaged store opens");
  return known[{mode, access}] = told_by(**store, storage);
}

void check_told(const Freezer& store, Storage& storage, uint64_t mode, FreezerAccess access) {
  CHECK(told_by(store, storage).says_more_than(told_undamaged(mode, access)),
        "what is absent is told");
}

// In the order of the puts, and behind damage, too.
void check_recovered(const Freezer& store, const reference::Sections& sections) {
  std::vector<std::pair<Section, const reference::Record*>> expected;
  bool is_whole = true;
  bool is_damaged = false;
  for (const auto& [number, section] : sections) {
    for (const reference::Record& record : section.records) {
      if (record.fate == reference::Fate::readable) expected.emplace_back(number, &record);
      is_damaged = is_damaged || record.fate == reference::Fate::damaged;
    }
    is_damaged = is_damaged || section.beyond == reference::Fate::damaged;
    is_whole = is_whole && section.is_whole();
  }
  size_t at = 0;
  const Status visited = store.visit([&](const FreezerItem& item) {
    CHECK(at < expected.size(), "a record that recovery must cut, or cannot read");
    const auto& [section, record] = expected[at++];
    CHECK(item.section == section &&
              equal_bytes(item.key, ByteSpan(record->bytes).first(kKeySizeBytes)),
          "the next record");
    const auto value = store.get(item.cursor());
    CHECK(value.has_value() == (record->value_fate == reference::Fate::readable), "its value");
    CHECK(!value || equal_bytes(value->bytes(), record->value), "with these bytes");
    return true;
  });
  CHECK(at == expected.size(), "a record that recovery must keep");
  CHECK(visited ? !is_damaged : !is_whole, "damage is an error");
}

// What the newest record of a key has. Where nothing is damaged that lookups go by.
void check_newest(const Freezer& store, const reference::Sections& sections) {
  std::map<Bytes, const reference::Record*> newest;
  for (const auto& [number, section] : sections) {
    if (!section.is_whole()) return;
    for (const reference::Record& record : section.records)
      newest[to_bytes(ByteSpan(record.bytes).first(kKeySizeBytes))] = &record;
  }
  for (const auto& [key, record] : newest) {
    const auto read = store.get(ByteSpan(key));
    CHECK(read.has_value() == (record->value_fate == reference::Fate::readable),
          "a key answers with its newest value, or with an error");
    CHECK(!read || (*read && equal_bytes((*read)->bytes(), record->value)), "with this value");
  }
}

void decode(testkit::FuzzInput& input) {
  const Bytes bytes = input.rest();
  const auto front = [&](size_t size) {
    return ByteSpan(bytes).first(std::min(size, bytes.size()));
  };
  if (const auto cursor = freezer::decode_cursor(front(freezer::kCursorSizeBytes)))
    CHECK(equal_bytes(freezer::encode_cursor(*cursor), front(freezer::kCursorSizeBytes)),
          "one encoding");
  if (const auto checkpoint = freezer::decode_checkpoint(front(freezer::kCheckpointSizeBytes)))
    CHECK(
        equal_bytes(freezer::encode_checkpoint(*checkpoint), front(freezer::kCheckpointSizeBytes)),
        "one encoding");
  if (const auto record = freezer::decode_table_record(bytes)) {
    const auto again = freezer::decode_table_record(freezer::encode_table_record(*record));
    CHECK(again && *again == *record, "what was decoded can be recorded");
  }
  if (bytes.size() < freezer::kPairSizeBytes) return;
  const freezer::Pair pair = freezer::decode_pair(front(freezer::kPairSizeBytes));
  if (!pair.is_damaged()) (void)pair.head();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  const uint64_t mode = input.number(1);
  if (mode >= 224) {
    decode(input);
    return 0;
  }
  testkit::FuzzedStorage storage;
  const Values values = make_store(storage, mode);
  const auto hints = storage.hints();
  testkit::StoreMutator mutator(storage,
                                {kPageSizeBytes, freezer::record_size_bytes(kKeySizeBytes)});
  const testkit::Mutation mutation = mutator.mutate(input);

  const bool is_forged = mutation == testkit::Mutation::forged;
  const bool has_floors = mode / 4 % 2 == 0 || storage.hints() == hints;
  constexpr FreezerAccess kReading = FreezerAccess::read_only;
  if (const auto reader = Freezer::open(storage, options_of(mode, kReading))) {
    read_everything(**reader, values);
    if (!is_forged && !find_everything(**reader, values) && has_floors)
      check_told(**reader, storage, mode, kReading);
  }
  const testkit::StoreFiles files = testkit::files_of(storage);
  const FreezerAccess writing = mode / 32 % 2 == 0 ? FreezerAccess::write : FreezerAccess::rebuild;
  const auto writer = Freezer::open(storage, options_of(mode, writing));
  if (!writer) return 0;
  const auto manifest = reference::read_manifest(files);
  CHECK(manifest.has_value(), "what must be refused is refused");
  reference::Geometry geometry{kPageSizeBytes, freezer::record_size_bytes(kKeySizeBytes)};
  geometry.use_partitions_of(*manifest);
  const reference::Sections sections = reference::recover(files, *manifest, geometry);
  check_recovered(**writer, sections);
  if (mutation == testkit::Mutation::damaged) check_newest(**writer, sections);
  read_everything(**writer, values);
  if (!is_forged && !find_everything(**writer, values) && has_floors)
    check_told(**writer, storage, mode, writing);
  RecoveryLog findings(storage, true);
  (void)(*writer)->verify(FreezerDepth::values, findings, [](uint64_t) {});
  const Bytes key(kKeySizeBytes, std::byte{77});
  if (!(*writer)->put(key, as_bytes("new")) || !(*writer)->sync()) return 0;
  const auto read = (*writer)->get(ByteSpan(key));
  CHECK(is_forged || (read && *read && as_text((*read)->bytes()) == "new"),
        "what was put is there");
  (void)(*writer)->close();
  return 0;
}
