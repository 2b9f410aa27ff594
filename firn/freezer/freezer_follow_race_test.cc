// SPDX-License-Identifier: Apache-2.0
//
// Readers beside the writer of another process: at every call of the writer, and at every call of
// their own. The writer works in every way that there is; a reader beside it works from memory.
#include <map>

#include "firn/base/random.h"
#include "firn/freezer/freezer_test_support.h"
#include "testkit/follow_race.h"
#include "testkit/logged_storage.h"
#include "testkit/observed_storage.h"

namespace firn::freezer {
namespace {

using testkit::FollowRace;
using testkit::LoggedStorage;
using testkit::ObservedStorage;
using testkit::ReadersOfARecovery;

FreezerOptions reading(const FreezerOptions& options) {
  FreezerOptions reader = with_engine(options, Engine::resident);
  reader.access = FreezerAccess::read_only;
  return reader;
}

struct Put {
  std::string key;
  std::string value;
};

// A writer, and what a reader may see: a prefix of the puts, with all that were synced.
class FollowedWriter {
 public:
  FollowedWriter(Storage& storage, Engine engine, uint64_t seed)
      : storage_(storage), options_(shared_options(engine)), random_(seed) {
    options_.key_size_bytes = 8;
    options_.page_cache_bytes = 1 << 13;
    options_.page_size_bytes = static_cast<uint32_t>(random_.between(40, 120));
    options_.section_target_bytes = random_.between(50, 600);
    options_.write_buffer_bytes = random_.below(200);
    options_.open_sections_max = random_.between(1, 4);
    options_.table.initial_size = 2;
    options_.table.resize_frequency = 1;
    options_.table.resize_chunk = 2;
  }

  Status step() {
    if (!freezer_) {
      TRY_INTO(freezer_, Freezer::open(storage_, options_));
      issued_.resize(freezer_->item_count());
      synced_ = issued_.size();
      return {};
    }
    if (random_.one_in(4)) {
      TRY(freezer_->sync());
      synced_ = issued_.size();
      return {};
    }
    if (random_.one_in(25)) {
      if (random_.one_in(2)) {
        TRY(freezer_->close());
        synced_ = issued_.size();
      }
      freezer_.reset();  // without a close, as a kill does
      return {};
    }
    issued_.push_back(
        {concat("k", random_.below(40)), concat(issued_.size(), "-", random_.next())});
    TRY(put(freezer_, issued_.back().key, issued_.back().value));
    return {};
  }

  [[nodiscard]] const std::vector<Put>& issued() const { return issued_; }
  [[nodiscard]] size_t synced() const { return synced_; }
  [[nodiscard]] const FreezerOptions& options() const { return options_; }

 private:
  Storage& storage_;
  FreezerOptions options_;
  Random random_;
  Store freezer_;
  std::vector<Put> issued_;
  size_t synced_ = 0;
};

// What is wrong with what the reader sees, of which there must be `at_least` puts. Counts them.
std::optional<std::string> check_view(const Store& reader, const FollowedWriter& writer,
                                      size_t at_least, size_t& seen) {
  const std::vector<Put> issued = writer.issued();
  std::map<std::string, std::string> newest;
  std::optional<std::string> problem;
  size_t count = 0;
  const Status visited = reader->visit([&](const FreezerItem& item) {
    if (count == issued.size() || item.key != test_key(issued[count].key, 8)) {
      problem = concat("put ", count, " is another one");
      return false;
    }
    newest[issued[count].key] = issued[count].value;
    if (const std::string value = get(reader, item.cursor()); value != issued[count].value)
      problem = concat("put ", count, " has the value ", value);
    ++count;
    return !problem;
  });
  if (!visited) return concat("a visit failed: ", visited.error().message);
  if (problem) return problem;
  if (count != reader->item_count()) return "the count is not that of the items";
  if (count < at_least) return concat(count, " puts are there, ", at_least, " were to be");
  seen = count;
  for (int i = 0; i < 40; ++i) {
    const std::string key = concat("k", i);
    const auto expected = newest.find(key);
    const std::string found = get(reader, key);
    if (found != (expected == newest.end() ? "absent" : expected->second))
      return concat("key ", key, " has the value ", found);
  }
  for (const BlobRange& damage : reader->recovery().damage)
    return concat("damage is reported in ", damage.partition, ": ", damage.reason);
  return std::nullopt;
}

using FreezerFollowRace = EveryEngine;
INSTANTIATE_TEST_SUITE_P(Engines, FreezerFollowRace,
                         testing::Values(Engine::immediate, Engine::on_disk, Engine::resident),
                         engine_of);

// A reader opens, and one that is open follows, at every call of the writer, and with half of a
// write done.
TEST_P(FreezerFollowRace, GivenAReaderAtEveryCallOfTheWriter_WhenItLooks_ThenItSeesAPrefix) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    MemoryStorage memory;
    LoggedStorage read_storage(memory);
    Store follower;
    size_t seen = 0;
    std::optional<std::string> problem;
    FollowedWriter* of_writer = nullptr;
    const auto look = [&] {
      if (problem) return;
      const size_t synced = of_writer->synced();
      auto fresh = Freezer::open(read_storage, reading(of_writer->options()));
      if (!fresh && fresh.error().code != Errc::not_found && fresh.error().code != Errc::locked)
        problem = concat("a reader cannot open: ", fresh.error().message);
      if (!fresh) return;
      size_t unused = 0;
      problem = check_view(*fresh, *of_writer, synced, unused);
      if (!follower) follower = std::move(*fresh);
      if (const auto refreshed = follower->refresh(); !refreshed)
        problem = concat("a reader cannot follow: ", refreshed.error().message);
      if (!problem) problem = check_view(follower, *of_writer, std::max(synced, seen), seen);
    };
    ObservedStorage storage(memory, look);
    FollowedWriter writer(storage, GetParam(), seed);
    of_writer = &writer;

    for (int step = 0; step < 70 && !problem; ++step)
      ASSERT_OK(writer.step());

    ASSERT_EQ(problem, std::nullopt);
    EXPECT_EQ(read_storage.changes(), 0u);
  }
}

// Hints of floors are not flushed, so that a power cut may take them; until a writer has found out
// again what is durable, a reader beside it would see less than what was synced.
TEST_P(FreezerFollowRace, GivenAPowerCutThatTookTheHints_WhenAWriterRecovers_ThenReadersWait) {
  const FreezerOptions options = shared_options(GetParam());
  MemoryStorage memory;
  {
    ASSERT_OK_INTO(const auto freezer, Freezer::open(memory, options));
    for (int i = 0; i < 3; ++i) {
      ASSERT_OK(put(freezer, concat("key", i), "value"));
      ASSERT_OK(freezer->sync());
    }
    // not closed
  }
  memory.lose_unsynced();

  ReadersOfARecovery readers(memory, 3, [&]() -> Result<uint64_t> {
    TRY_INTO(const auto reader, Freezer::open(memory, reading(options)));
    return reader->item_count();
  });
  ASSERT_OK_INTO(const auto writer, Freezer::open(readers.of_writer(), options));
  readers.look();

  EXPECT_EQ(readers.problem(), std::nullopt);
  EXPECT_GT(readers.waited(), 0);
  EXPECT_GT(readers.complete(), 0);
}

// The writer goes on between any two calls of the reader, too.
TEST_P(FreezerFollowRace, GivenWriterAndReaderInTurns_WhenTheReaderFollows_ThenItSeesAPrefix) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    FollowRace race(seed);
    FollowedWriter writer(race.of_writer(), GetParam(), seed);
    std::optional<std::string> problem;

    const auto read = [&] {
      Random random(seed);
      Store follower;
      size_t seen = 0;
      for (int round = 0; round < 40 && !problem; ++round) {
        const size_t synced = writer.synced();
        if (!follower || random.one_in(5)) {
          auto opened = Freezer::open(race.of_reader(), reading(writer.options()));
          if (!opened && opened.error().code != Errc::not_found &&
              opened.error().code != Errc::locked)
            problem = concat("a reader cannot open: ", opened.error().message);
          if (!opened) continue;
          follower = std::move(*opened);
          seen = 0;
        } else if (const auto refreshed = follower->refresh(); !refreshed) {
          if (refreshed.error().code == Errc::locked) continue;
          problem = concat("a reader cannot follow: ", refreshed.error().message);
          break;
        }
        problem = check_view(follower, writer, std::max(seen, synced), seen);
      }
    };
    Status written;
    race.run(
        [&] {
          for (int step = 0; step < 150 && written; ++step)
            written = writer.step();
        },
        read);

    ASSERT_OK(written);
    ASSERT_EQ(problem, std::nullopt);
    EXPECT_EQ(race.reader_changes(), 0u);
  }
}

}  // namespace
}  // namespace firn::freezer
