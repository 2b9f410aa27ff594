// SPDX-License-Identifier: Apache-2.0
//
// Hostile store directories under info, verify and salvage, with right and wrong options, and with
// files beside the store's. The verbs end with one of the codes of a damaged store; what they print
// holds no control characters, or is JSON; what verify --deep finds undamaged is read, and is what
// was put; so is what salvage made.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include "firn/base/bytes.h"
#include "firn/base/check.h"
#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "fuzz/fuzzed_stores.h"
#include "testkit/fuzz_input.h"
#include "testkit/fuzzed_storage.h"
#include "testkit/store_mutator.h"
#include "testkit/temporary_directory.h"
#include "tools/firn/exit_code.h"
#include "tools/firn/freezer_access.h"
#include "tools/firn/metadata_access.h"
#include "tools/firn/salvage.h"
#include "tools/firn/store_kind.h"

namespace {

using namespace firn;
using namespace firn::command;
namespace fs = std::filesystem;
using fuzz::Items;

// Standard output goes to memory while this lives.
class CapturedOutput {
 public:
  CapturedOutput() {
    CHECK(::ftruncate(file(), 0) == 0 && ::lseek(file(), 0, SEEK_SET) == 0, "memory has room");
    CHECK(::dup2(file(), STDOUT_FILENO) >= 0, "a descriptor is free");
  }
  ~CapturedOutput() { (void)::dup2(standard_output(), STDOUT_FILENO); }
  CapturedOutput(const CapturedOutput&) = delete;
  CapturedOutput& operator=(const CapturedOutput&) = delete;

  [[nodiscard]] static std::string text() {
    std::string text(static_cast<size_t>(::lseek(file(), 0, SEEK_END)), '\0');
    CHECK(::pread(file(), text.data(), text.size(), 0) == std::ssize(text), "memory is read");
    return text;
  }

 private:
  static int file() {
    static const int file = ::memfd_create("output", MFD_CLOEXEC);
    return file;
  }
  static int standard_output() {
    static const int kept = ::dup(STDOUT_FILENO);
    return kept;
  }
};

bool is_control(char c) {
  return (c >= 0 && c < ' ') || c == 0x7F;
}

void check_printed(const std::string& text, bool json) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool is_fine =
        json ? nlohmann::json::accept(line) : std::ranges::none_of(line, is_control);
    if (!is_fine) std::cerr << std::quoted(line) << '\n';
    CHECK(is_fine, "each line is JSON, or has nothing that moves a terminal");
  }
}

// Runs a verb. What a store says, however hostile, is no failure of the device.
ExitCode run(const std::function<Status(Output&)>& verb, bool json) {
  Output output(json);
  const CapturedOutput captured;
  const Status outcome = verb(output);
  CHECK(output.flush().has_value(), "memory has room");
  check_printed(CapturedOutput::text(), json);
  const ExitCode code = outcome ? ExitCode::done : exit_code_of(outcome.error().code);
  CHECK(code != ExitCode::io && code != ExitCode::locked, "damage is not called anything else");
  CHECK(outcome || !outcome.error().message.empty(), "a failure is said");
  return code;
}

struct Metadata {
  static constexpr uint32_t kRecordSizeBytes = 16;  // no records

  static Items make(Storage& storage, uint64_t mode) {
    StoreOptions options;
    options.identity.kind = kMetadataKind;
    options.identity.geometry = {{"key_size", uint64_t{fuzz::kKeySizeBytes}}};
    options.identity.partitions = {{StoreRole::metadata, kDefaultMetadataPartition}};
    OpenedMetadata made;
    auto store = Store::open(storage, options);
    CHECK(store.has_value(), "memory has room");
    made.store = std::move(*store);
    MetadataStoreOptions of_map;
    of_map.key_size_bytes = fuzz::kKeySizeBytes;
    auto map = MetadataStore::open(storage, of_map, made.store->recovery());
    CHECK(map.has_value(), "memory has room");
    made.metadata = std::move(*map);
    for (uint64_t i = 0; i < fuzz::kPuts; ++i) {
      const auto [key, value] = fuzz::nth_put(i);
      CHECK(made.metadata->put(key, value).has_value(), "it fits");
    }
    if (fuzz::is_closed(mode))
      CHECK(commit_metadata(made).has_value(), "memory does not fail");
    else
      CHECK(made.metadata->sync().has_value(), "memory does not fail");
    return items(*made.metadata);
  }

  static Items items(const MetadataStore& map) {
    Items items;
    map.for_each(
        [&](ByteSpan key, ByteSpan value) { items.emplace_back(to_bytes(key), to_bytes(value)); });
    return items;
  }
};

// What the command reads of a store of its kind.
Result<Items> read(const StoreArguments& arguments, std::string_view kind) {
  if (kind == kMetadataKind) {
    TRY_INTO(const auto opened, open_metadata(arguments, Access::read));
    return Metadata::items(*opened.metadata);
  }
  if (kind == "freezer") {
    TRY_INTO(const auto opened, open_freezer(arguments, Access::read));
    return fuzz::SmallFreezer::items(*opened.freezer);
  }
  TRY_INTO(const auto opened, open_archive(arguments, Access::read));
  return fuzz::SmallArchive::items(*opened.archive);
}

std::string kind_of(const StoreArguments& arguments) {
  const auto storage = open_storage(arguments.path, Access::read);
  CHECK(storage.has_value(), "a directory opens");
  RecoveryLog unused(**storage, true);
  const auto manifest = Manifest::open(**storage, true, unused);
  const StoreKind* const kind =
      kind_of_store(**storage, manifest ? manifest->get() : nullptr, arguments);
  return kind == nullptr ? "" : std::string(kind->name);
}

void write_files(const MemoryStorage& storage, const fs::path& directory) {
  fs::create_directory(directory);
  storage.for_each_durable([&](std::string_view partition, ByteSpan name, ByteSpan content) {
    fs::create_directory(directory / partition);
    std::ofstream file(directory / partition / to_hex(name), std::ios::binary);
    file.write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
  });
}

// Returns whether there are any.
bool add_strays(testkit::FuzzInput& input, const fs::path& directory) {
  constexpr auto kStrays = std::to_array<std::string_view>(
      {"notes", "a b", "\x1b[2J", "index/notes", "values/0", "values/ab", "table/ffff", "state/00",
       "manifest/zz", "LOCK", "lost-found/x", "new.tmp"});
  const uint64_t plan = input.number(1);
  if (plan % 4 != 0) return false;
  for (uint64_t i = 0; i < plan / 4 % 4; ++i) {
    const fs::path path = directory / kStrays[input.below(kStrays.size())];
    const uint64_t kind = input.below(4);
    std::error_code failed;  // something may be there
    if (kind == 0) fs::create_directories(path, failed);
    if (kind == 1) fs::create_symlink("no\nwhere", path, failed);
    if (kind >= 2 && !fs::exists(path, failed)) std::ofstream(path) << "text\n";
  }
  return plan / 4 % 4 > 0;
}

StoreArguments arguments_of(testkit::FuzzInput& input, const std::string& path) {
  StoreArguments arguments;
  arguments.path = path;
  const uint64_t given = input.number(1);
  const auto size = [&](uint32_t right) {
    return given / 32 % 2 == 0 ? right : static_cast<uint32_t>(input.interesting(right));
  };
  if (given % 2 == 1) arguments.key_size_bytes = size(fuzz::kKeySizeBytes);
  if (given / 2 % 2 == 1) arguments.page_size_bytes = size(fuzz::kPageSizeBytes);
  if (given / 4 % 4 == 3) arguments.items_per_section = size(4);
  if (given / 16 % 8 == 7) arguments.table_initial_size = size(4);
  if (given / 64 == 3) arguments.index_partition = "values";
  if (given / 4 == 42) arguments.metadata_partition = kDefaultMetadataPartition;
  return arguments;
}

template <class Subject>
void run(testkit::FuzzInput& input, uint64_t mode) {
  const testkit::TemporaryDirectory directory;
  const StoreArguments arguments = arguments_of(input, directory / "store");
  fs::create_directory(arguments.path);
  const bool has_strays = add_strays(input, arguments.path);
  testkit::FuzzedStorage storage;
  const Items put = Subject::make(storage, mode);
  testkit::StoreMutator mutator(storage, {fuzz::kPageSizeBytes, Subject::kRecordSizeBytes});
  const testkit::Mutation mutation = mutator.mutate(input);
  write_files(storage, arguments.path);

  const bool json = mode / 8 % 2 == 1;
  (void)run([&](Output& output) { return run_info({arguments}, output); }, json);
  const VerifyRequest request{.store = arguments, .deep = mode / 16 % 2 == 0};
  const ExitCode verified = run([&](Output& output) { return run_verify(request, output); }, json);
  if (verified == ExitCode::done && request.deep) {
    const auto items = read(arguments, kind_of(arguments));
    CHECK(items.has_value(), "what verify finds undamaged is read");
    if (mutation == testkit::Mutation::damaged && !has_strays)
      CHECK(std::ranges::all_of(
                *items, [&](const auto& item) { return std::ranges::count(put, item) > 0; }),
            "and is what was put");
  }
  if (mode / 32 % 4 != 0) return;
  const SalvageRequest salvage{.store = arguments, .target = directory / "target"};
  (void)run([&](Output& output) { return run_salvage(salvage, output); }, json);
  if (!fs::exists(salvage.target)) return;
  StoreArguments target;
  target.path = salvage.target;
  const VerifyRequest again{.store = target, .deep = true};
  const ExitCode code = run([&](Output& output) { return run_verify(again, output); }, json);
  CHECK(code == ExitCode::done, "what salvage makes is undamaged");
  CHECK(read(target, kind_of(target)).has_value(), "and is read");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Directories in memory; unless something else was said.
  [[maybe_unused]] static const int said = ::setenv("TEST_TMPDIR", "/dev/shm/", 0);
  testkit::FuzzInput input(data, size);
  const uint64_t mode = input.number(1);
  switch (input.below(3)) {
    case 0: run<fuzz::SmallArchive>(input, mode); break;
    case 1: run<fuzz::SmallFreezer>(input, mode); break;
    default: run<Metadata>(input, mode);
  }
  return 0;
}
