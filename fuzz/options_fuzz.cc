// SPDX-License-Identifier: Apache-2.0
//
// Names and options of any value: partitions, blobs, sections, geometry, buffers, caches, budgets.
// Either they are refused as invalid arguments, and nothing was made; or what was made works, and
// opens again without being told what it is.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/archive/prunable_archive.h"
#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/freezer/format.h"
#include "firn/freezer/freezer.h"
#include "firn/io/file_storage.h"
#include "firn/io/page_cache.h"
#include "firn/io/paged_blob.h"
#include "firn/journal/section_name.h"
#include "firn/metadata/metadata_store.h"
#include "firn/store/manifest.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
#include "testkit/simulated_file_system.h"

namespace {

using namespace firn;

constexpr uint64_t kItems = 5;
// Larger ones are fine, but take their time, or addresses.
constexpr uint32_t kTableSizeMax = 1 << 12;
constexpr uint64_t kCacheBytesMax = uint64_t{1} << 36;
constexpr uint64_t kBufferBytesMax = 1 << 24;

// Any text; mostly one that is a name, or about as long as the longest one.
std::string text(testkit::FuzzInput& input) {
  constexpr auto kKnown = std::to_array<std::string_view>(
      {"index", "values", "table", "state", "manifest", "lost-found", "LOCK", "", "..", "a/b"});
  const uint64_t choice = input.number(1);
  if (choice < kKnown.size()) return std::string(kKnown[choice]);
  if (choice < 100) return {static_cast<char>('a' + choice % 26), static_cast<char>(choice)};
  if (choice < 200) return std::string(input.number(2) % 300, static_cast<char>('A' + choice % 26));
  std::string text(input.below(8), 'x');
  for (char& c : text)
    c = static_cast<char>(input.number(1));
  return text;
}

uint64_t number(testkit::FuzzInput& input) {
  const uint64_t choice = input.number(1);
  return choice < 128 ? choice
                      : input.interesting(choice < 160 ? 1024 : uint64_t{1} << choice % 64);
}

// Any number, but of those that are allowed only what the machine has room for.
uint64_t bytes(testkit::FuzzInput& input, uint64_t allowed_max, uint64_t tried_max) {
  const uint64_t bytes = number(input);
  return bytes > allowed_max ? bytes : std::min(bytes, tried_max);
}
uint64_t cache_bytes(testkit::FuzzInput& input) {
  return bytes(input, kPageCacheBytesMax, kCacheBytesMax);
}
uint64_t buffer_bytes(testkit::FuzzInput& input) {
  return bytes(input, kWriteBufferBytesMax, kBufferBytesMax);
}

// Left to the store, or any number.
template <class Number>
std::optional<Number> given(testkit::FuzzInput& input) {
  if (input.below(3) == 0) return std::nullopt;
  return static_cast<Number>(number(input));
}
std::optional<std::string> given_name(testkit::FuzzInput& input) {
  if (input.below(3) != 0) return std::nullopt;
  return text(input);
}

// Of the n-th item.
Bytes key_of(uint64_t n, uint64_t size_bytes) {
  return Bytes(size_bytes, static_cast<std::byte>(n));
}
Bytes value_of(uint64_t n) {
  return Bytes(n * n * 50, static_cast<std::byte>(n));
}

bool is_value(const Result<std::optional<Value>>& read, uint64_t n) {
  return read && *read && equal_bytes((*read)->bytes(), value_of(n));
}

// The failure of an open of a new store.
void check_refused(const Error& error, Storage& storage) {
  CHECK(error.code == Errc::invalid_argument, "what cannot be done is the caller's mistake");
  CHECK(!error.message.empty(), "and is said");
  const auto partitions = storage.partitions();
  CHECK(partitions && partitions->empty(), "nothing was made");
}

PrunableArchiveOptions archive_options(testkit::FuzzInput& input) {
  PrunableArchiveOptions options;
  options.key_size_bytes = given<uint32_t>(input);
  options.items_per_section = given<uint64_t>(input);
  options.page_size_bytes = given<uint32_t>(input);
  options.compression_level = given<int>(input);
  options.index_partition = given_name(input);
  options.values_partition = given_name(input);
  if (input.below(2) == 0) options.translator = KeyTranslator::cap(1 + input.below(8));
  options.page_cache_bytes = cache_bytes(input);
  options.write_buffer_bytes = buffer_bytes(input);
  options.open_sections_max = number(input);
  options.strict = input.below(2) == 0;
  return options;
}

void check_archive(PrunableArchive& archive) {
  for (uint64_t n = 0; n < kItems; ++n) {
    const Bytes key = key_of(n, archive.key_size_bytes());
    CHECK(is_value(archive.get(n * 3), n), "an index is found");
    CHECK(is_value(archive.get(ByteSpan(key)), n), "a key is found");
  }
}

void try_archive(testkit::FuzzInput& input) {
  testkit::FuzzedStorage storage;
  PrunableArchiveOptions options = archive_options(input);
  auto opened = PrunableArchive::open(storage, options);
  if (!opened) return check_refused(opened.error(), storage);
  PrunableArchive& archive = **opened;
  for (uint64_t n = 0; n < kItems; ++n) {
    const Bytes key = key_of(n, archive.key_size_bytes());
    CHECK(archive.put(n * 3, key, value_of(n)).has_value(), "a store takes items");
    if (n == 2) CHECK(archive.sync().has_value(), "memory does not fail");
  }
  check_archive(archive);
  CHECK(archive.close().has_value(), "memory does not fail");
  opened->reset();

  PrunableArchiveOptions others;
  others.page_cache_bytes = 0;
  const auto reopened = PrunableArchive::open(storage, others);
  CHECK(reopened.has_value(), "a store says itself what it is");
  check_archive(**reopened);
  CHECK((*reopened)->close().has_value(), "memory does not fail");
  CHECK(PrunableArchive::open(storage, options).has_value(), "the same options fit again");
}

FreezerOptions freezer_options(testkit::FuzzInput& input) {
  FreezerOptions options;
  options.key_size_bytes = given<uint32_t>(input);
  options.page_size_bytes = given<uint32_t>(input);
  options.compression_level = given<int>(input);
  options.table.initial_size = given<uint32_t>(input);
  if (const auto size = options.table.initial_size; size && freezer::is_table_size(*size))
    options.table.initial_size = std::min(*size, kTableSizeMax);
  options.table.resize_frequency = given<uint32_t>(input);
  options.table.resize_chunk = given<uint32_t>(input);
  if (input.below(2) == 0) options.table.writing = TableWriting::immediate;
  options.partitions.table = given_name(input);
  options.partitions.index = given_name(input);
  options.partitions.values = given_name(input);
  options.section_target_bytes = number(input);
  options.memory_budget_bytes = number(input);
  options.page_cache_bytes = cache_bytes(input);
  options.write_buffer_bytes = buffer_bytes(input);
  options.open_sections_max = number(input);
  options.strict = input.below(2) == 0;
  return options;
}

void check_freezer(Freezer& freezer) {
  for (uint64_t n = 0; n < kItems; ++n) {
    const Bytes key = key_of(n, freezer.key_size_bytes());
    CHECK(is_value(freezer.get(ByteSpan(key)), n), "a key is found");
  }
}

void try_freezer(testkit::FuzzInput& input) {
  testkit::FuzzedStorage storage;
  FreezerOptions options = freezer_options(input);
  auto opened = Freezer::open(storage, options);
  if (!opened) return check_refused(opened.error(), storage);
  Freezer& freezer = **opened;
  for (uint64_t n = 0; n < kItems; ++n) {
    const Bytes key = key_of(n, freezer.key_size_bytes());
    CHECK(freezer.put(key, value_of(n)).has_value(), "a store takes items");
    if (n == 2) CHECK(freezer.sync().has_value(), "memory does not fail");
  }
  check_freezer(freezer);
  CHECK(freezer.close().has_value(), "memory does not fail");
  opened->reset();

  FreezerOptions others;
  others.page_cache_bytes = 0;
  const auto reopened = Freezer::open(storage, others);
  CHECK(reopened.has_value(), "a store says itself what it is");
  check_freezer(**reopened);
  CHECK((*reopened)->close().has_value(), "memory does not fail");
  CHECK(Freezer::open(storage, options).has_value(), "the same options fit again");
}

void try_metadata(testkit::FuzzInput& input) {
  testkit::FuzzedStorage storage;
  MetadataStoreOptions options;
  if (const auto name = given_name(input)) options.partition = *name;
  if (const auto size = given<uint32_t>(input)) options.key_size_bytes = *size;
  if (const auto size = given<uint32_t>(input)) options.value_size_max_bytes = *size;
  options.strict = input.below(2) == 0;
  RecoveryLog recovery(storage, false);
  auto opened = MetadataStore::open(storage, options, recovery);
  if (!opened) return check_refused(opened.error(), storage);
  std::vector<bool> is_there(kItems);
  for (uint64_t n = 0; n < kItems; ++n) {
    const Status put = (*opened)->put(key_of(n, options.key_size_bytes), value_of(n));
    CHECK(put || put.error().code == Errc::invalid_argument, "a value is refused, if at all");
    is_there[n] = put.has_value();
    CHECK(is_there[n] == (value_of(n).size() <= options.value_size_max_bytes), "by its size");
  }
  CHECK((*opened)->sync().has_value(), "memory does not fail");
  opened->reset();
  const auto reopened = MetadataStore::open(storage, options, recovery);
  CHECK(reopened.has_value(), "what was written opens again");
  for (uint64_t n = 0; n < kItems; ++n) {
    const auto read = (*reopened)->get(key_of(n, options.key_size_bytes));
    CHECK(read.has_value() == is_there[n], "a key is there if it was put");
    CHECK(!read || *read == value_of(n), "with its value");
  }
}

void try_manifest(testkit::FuzzInput& input) {
  testkit::FuzzedStorage storage;
  ManifestIdentity identity{.kind = text(input), .geometry = {}, .partitions = {}, .id = {}};
  for (uint64_t i = input.below(4); i > 0; --i) {
    GeometryField field{.name = text(input), .value = number(input)};
    if (input.below(2) == 0) field.value = text(input);
    identity.geometry.push_back(std::move(field));
  }
  for (uint32_t role = 1; role <= input.below(4); ++role)
    identity.partitions.emplace_back(static_cast<StoreRole>(role), text(input));
  RecoveryLog recovery(storage, false);
  const auto created = Manifest::create(storage, identity, recovery);
  if (!created) return check_refused(created.error(), storage);
  const auto opened = Manifest::open(storage, true, recovery);
  CHECK(opened && *opened, "what was written opens again");
  CHECK((*opened)->kind() == identity.kind, "the kind is recorded");
  for (const GeometryField& field : identity.geometry) {
    const auto is_it = [&](const GeometryField& other) {
      return other.name == field.name && other.value == field.value;
    };
    const auto is_named = [&](const GeometryField& other) { return other.name == field.name; };
    CHECK(std::ranges::any_of((*opened)->geometry(), is_it) ||
              std::ranges::count_if(identity.geometry, is_named) > 1,
          "the geometry is recorded");
  }
  for (const auto& [role, name] : identity.partitions)
    CHECK((*opened)->partition(role) == name, "names of partitions are recorded");
}

// Any name, in memory and in files: both take it, or both refuse it.
void try_names(testkit::FuzzInput& input) {
  const std::string partition = text(input);
  const Bytes blob = to_bytes(as_bytes(text(input)));
  testkit::SimulatedFileSystem disk;
  FileStorage files(disk);
  MemoryStorage memory;
  std::optional<Error> refused;
  for (Storage* const storage : {static_cast<Storage*>(&memory), static_cast<Storage*>(&files)}) {
    const auto opened = storage->open(partition, blob, OpenMode::create);
    if (storage == &files)
      CHECK(opened.has_value() == !refused, "memory and files take the same names");
    if (!opened) {
      refused = opened.error();
      check_refused(*refused, *storage);
      continue;
    }
    const auto names = storage->scan(partition);
    CHECK(names && *names == std::vector<Bytes>{blob}, "a name is listed as it is");
    const auto partitions = storage->partitions();
    CHECK(partitions && *partitions == std::vector{partition}, "and so is a partition");
    const auto sections = journal::scan_sections(*storage, partition);
    if (!sections) {
      CHECK(sections.error().code == Errc::corrupt && blob.size() != sizeof(uint64_t),
            "what is no section is told");
      continue;
    }
    CHECK(sections->size() == 1 && journal::section_name(sections->front()) == blob,
          "a section has one name");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testkit::FuzzInput input(data, size);
  switch (input.below(5)) {
    case 0: try_archive(input); break;
    case 1: try_freezer(input); break;
    case 2: try_metadata(input); break;
    case 3: try_manifest(input); break;
    default: try_names(input);
  }
  return 0;
}
