// SPDX-License-Identifier: Apache-2.0
//
// Hostile files under an archive. Where no checksum was forged, an index and a key answer with the
// value that was put, or with an error; absent they are only if opening or verify tells of damage.
// What opens for writing takes items and gives them back, and has exactly those that a reference
// finds in the bytes from before. A strict open refuses what the ordinary one would cut or
// call damaged, and leaves it as it is.
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "firn/archive/format.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/random.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
#include "testkit/reference_bytes.h"
#include "testkit/reference_recovery.h"
#include "testkit/store_files.h"
#include "testkit/store_mutator.h"

namespace {

using namespace firn;
namespace reference = testkit::reference;

constexpr uint64_t kItemsPerSection = 8;
constexpr uint32_t kKeySizeBytes = 4;
constexpr uint32_t kPageSizeBytes = 40;

PrunableArchiveOptions options_of(uint64_t mode) {
  PrunableArchiveOptions options;
  options.key_size_bytes = kKeySizeBytes;
  options.items_per_section = kItemsPerSection;
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

// What the index sections of an archive say: the records of each index, in their order.
struct ReferenceItems {
  std::map<uint64_t, std::vector<reference::Record>> items;
  std::set<uint64_t> hiding;  // sections with records that nobody can tell
  std::set<uint64_t> unknown;

  // Of the sections that may hold the index: its own, or one with a name in between.
  static bool any_of(const std::set<uint64_t>& sections, uint64_t index) {
    const auto first = sections.lower_bound(index - index % kItemsPerSection);
    return first != sections.end() && *first <= index;
  }
};

ReferenceItems items_of(const reference::Sections& sections) {
  ReferenceItems found;
  for (const auto& [number, section] : sections) {
    if (!section.is_whole()) found.hiding.insert(number);
    if (section.beyond == reference::Fate::unknown) found.unknown.insert(number);
    uint64_t values_end = 0;
    for (const reference::Record& record : section.records) {
      if (record.fate != reference::Fate::readable) continue;
      const uint64_t index = reference::number_of(ByteSpan(record.bytes).first(8));
      const uint64_t offset = reference::value_offset(record.bytes);
      const bool follows = offset >= values_end;
      if (follows) {
        values_end = offset + reference::value_size(record.bytes);
        if (values_end < offset) values_end = UINT64_MAX;
      }
      if (follows && index - index % kItemsPerSection == number)
        found.items[index].push_back(record);
      else
        found.hiding.insert(number);  // the page of another place
    }
  }
  return found;
}

// Values are compared where they are stored as they are.
void check_value(const Result<std::optional<Value>>& read, const reference::Record& record,
                 bool is_compressed) {
  CHECK(read.has_value() == (record.value_fate == reference::Fate::readable),
        "a value is there, or an error, as recovery must leave it");
  if (!read) return;
  CHECK(read->has_value(), "an item that recovery must keep");
  CHECK(is_compressed || equal_bytes((*read)->bytes(), record.value), "with this value");
}

void check_recovered(const PrunableArchive& archive, const reference::Sections& sections,
                     bool is_compressed) {
  const ReferenceItems expected = items_of(sections);
  for (const auto& [index, records] : expected.items)
    check_value(archive.get(index), records.front(), is_compressed);
  for (uint64_t index = 0; index < 32; ++index) {
    if (expected.items.contains(index) || expected.any_of(expected.unknown, index)) continue;
    const auto read = archive.get(index);
    CHECK(read.has_value() != expected.any_of(expected.hiding, index), "damage is an error");
    CHECK(!read || !read->has_value(), "an item that recovery must cut");
  }
}

// The files are those of a store that opened strictly.
void check_healthy(const testkit::StoreFiles& files, PrunableArchiveOptions options) {
  MemoryStorage storage;
  testkit::load_files(storage, files);
  options.strict = false;
  const auto archive = PrunableArchive::open(storage, options);
  CHECK(archive.has_value(), "what opens strictly opens");
  CHECK((*archive)->recovery().cuts.empty(), "nothing is cut of what opens strictly");
  CHECK((*archive)->recovery().damage.empty(), "nor is it damaged");
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
  const testkit::StoreFiles files = testkit::files_of(storage);
  const auto writer = PrunableArchive::open(storage, options);
  if (!writer) {
    CHECK(!options.strict || testkit::files_of(storage) == files,
          "what strict refuses is as it was");
    return 0;
  }
  if (options.strict) check_healthy(files, options);
  const auto manifest = reference::read_manifest(files);
  CHECK(manifest.has_value(), "what must be refused is refused");
  // Whether what was forged decompresses, the reference does not know.
  const bool is_compressed = options.compression_level.has_value();
  if (!is_forged || !is_compressed) {
    reference::Geometry geometry{kPageSizeBytes, archive::record_size_bytes(kKeySizeBytes)};
    geometry.use_partitions_of(*manifest);
    check_recovered(**writer, reference::recover(files, *manifest, geometry), is_compressed);
  }
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
