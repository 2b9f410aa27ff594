// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: every call to the storage fails, once or from then on, reads too: of an open, of
// a writer that prunes, of a reader that follows one, of salvage. The failure is what is told,
// never damage or absence, and what was synced is there at the next open.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/archive_salvage.h"
#include "testkit/failing_calls.h"
#include "testkit/matchers.h"

namespace firn::archive {
namespace {

using testkit::FailingCalls;
using testkit::FailingStorage;
using testkit::FailsWith;

constexpr uint64_t kFirstKept = 4;  // what the scripts prune lies below
constexpr uint64_t kSyncedEnd = 11;

struct CallsCase {
  bool closed;
  std::optional<int> compression_level;
};

PrunableArchiveOptions options_of(const CallsCase& store) {
  PrunableArchiveOptions options = small_options();
  options.page_cache_bytes = 0;
  options.compression_level = store.compression_level;
  return options;
}

Status put_range(const Archive& archive, uint64_t first, uint64_t end) {
  for (uint64_t i = first; i < end; ++i)
    TRY(put(archive, i, concat("key", i), concat("value", i, std::string(i * 5, 'v'))));
  return {};
}

void fill(Storage& storage, const CallsCase& store) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options_of(store)));
  ASSERT_OK(put_range(archive, 1, kSyncedEnd));
  ASSERT_OK(archive->sync());
  ASSERT_OK(put_range(archive, kSyncedEnd, kSyncedEnd + 2));
  if (!store.closed) return;
  ASSERT_OK(archive->close());
}

Status read_everything(const Archive& archive, Storage& storage) {
  for (uint64_t i = kFirstKept; i < kSyncedEnd; ++i) {
    const Bytes expected = to_bytes(as_bytes(concat("value", i, std::string(i * 5, 'v'))));
    TRY_INTO(const auto by_index, archive->get(i));
    EXPECT_TRUE(by_index && to_bytes(by_index->bytes()) == expected) << i;
    TRY_INTO(const auto by_key, archive->get(key_of(concat("key", i), 8)));
    EXPECT_TRUE(by_key && to_bytes(by_key->bytes()) == expected) << i;
  }
  RecoveryLog findings(storage, true);
  Status verified = archive->log().verify(true, findings, [](uint64_t) {});
  EXPECT_TRUE(findings.report().damage.empty());
  return verified;
}

struct ArchiveScript {
  std::string name;
  // `storage` fails; `memory` below it does not.
  std::function<Status(Storage& storage, MemoryStorage& memory, PrunableArchiveOptions)> run;
  // A read that failed is tried again, in pieces, and what it reads is checked.
  bool reads_again = false;
};

Status follow(Storage& storage, MemoryStorage& memory, const PrunableArchiveOptions& options) {
  PrunableArchiveOptions reading = options;
  reading.access = ArchiveAccess::read_only;
  auto writer = PrunableArchive::open(memory, options);
  EXPECT_OK(writer);
  TRY_INTO(const Archive reader, PrunableArchive::open(storage, reading));
  TRY(read_everything(reader, storage));
  EXPECT_OK(put_range(*writer, 20, 26));
  EXPECT_OK((*writer)->sync());
  EXPECT_OK((*writer)->prune(kFirstKept));
  TRY(reader->refresh());
  TRY(read_everything(reader, storage));
  TRY_INTO(const auto newest, reader->get(25));
  EXPECT_TRUE(newest.has_value());
  return {};
}

// A loss that is listed is as good as an error.
Status salvage_with(Storage& storage, const ArchiveSalvageOptions& options) {
  MemoryStorage target;
  TRY_INTO(const auto summary, salvage_archive(storage, options, target, {}));
  if (summary.losses + summary.unsynced + summary.unread + summary.copies > 0)
    return fail(Errc::io, "listed: the test made this call fail");
  PrunableArchiveOptions as_it_is;
  as_it_is.access = ArchiveAccess::read_only;
  const auto made = PrunableArchive::open(target, as_it_is);
  EXPECT_OK(made);
  EXPECT_EQ((*made)->items_per_section(), *small_options().items_per_section);
  return read_everything(*made, target);
}

Status salvage(Storage& storage, MemoryStorage&, const PrunableArchiveOptions&) {
  return salvage_with(storage, {});
}

Status salvage_without_manifest(Storage& storage, MemoryStorage& memory,
                                const PrunableArchiveOptions& options) {
  EXPECT_OK(memory.remove_partition("manifest"));
  ArchiveSalvageOptions told;
  told.key_size_bytes = options.key_size_bytes;
  told.page_size_bytes = options.page_size_bytes;
  told.compression_level = options.compression_level.value_or(kNoCompression);
  return salvage_with(storage, told);
}

std::vector<ArchiveScript> archive_scripts() {
  const auto opening = [](const std::function<void(PrunableArchiveOptions&)>& change) {
    return [=](Storage& storage, MemoryStorage&, PrunableArchiveOptions options) -> Status {
      change(options);
      TRY_INTO(const Archive archive, PrunableArchive::open(storage, options));
      return read_everything(archive, storage);
    };
  };
  return {{"opening", opening([](PrunableArchiveOptions&) {})},
          {"reading", opening([](PrunableArchiveOptions& options) {
             options.access = ArchiveAccess::read_only;
           })},
          {"pruning",
           [](Storage& storage, MemoryStorage&, const PrunableArchiveOptions& options) -> Status {
             TRY_INTO(const Archive archive, PrunableArchive::open(storage, options));
             TRY(put_range(archive, 20, 24));
             TRY(archive->sync());
             TRY(archive->prune(kFirstKept));
             TRY(put_range(archive, 24, 26));
             return archive->close();
           }},
          {"following", follow},
          {"salvaging", salvage, true},
          {"salvaging without a manifest", salvage_without_manifest, true}};
}

// The script, failing at each of its calls in turn.
void fail_each_call(const ArchiveScript& script, const CallsCase& store,
                    FailingCalls::Repeat repeat) {
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    fill(memory, store);
    FailingCalls calls;
    FailingStorage storage(memory, calls);
    calls.fail(call, Errc::io, repeat);
    const Status outcome = script.run(storage, memory, options_of(store));
    SCOPED_TRACE(concat(script.name, store.closed ? ", closed" : ", killed",
                        store.compression_level ? ", compressed" : "",
                        repeat == FailingCalls::Repeat::once ? ", once" : ", for ever", ", call ",
                        call, ": ", calls.failed().value_or("-")));
    calls.stop();
    if (!calls.failed()) {
      EXPECT_OK(outcome);
      return;
    }
    const bool is_read_again =
        script.reads_again && repeat == FailingCalls::Repeat::once && outcome.has_value();
    if (!is_read_again) {
      EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
    }
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(memory, options_of(store)));
    EXPECT_OK(read_everything(archive, memory));
    EXPECT_OK(archive->close());
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ArchiveCalls, WhenAnyCallFails_ThenThatIsToldAndNotDamage) {
  for (const CallsCase& store : {CallsCase{true, std::nullopt}, CallsCase{false, std::nullopt},
                                 CallsCase{true, 1}, CallsCase{false, 1}})
    for (const ArchiveScript& script : archive_scripts())
      for (const auto repeat : {FailingCalls::Repeat::once, FailingCalls::Repeat::for_ever})
        fail_each_call(script, store, repeat);
}

}  // namespace
}  // namespace firn::archive
