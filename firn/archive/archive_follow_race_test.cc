// SPDX-License-Identifier: Apache-2.0
//
// Readers beside the writer of another process: at every call of the writer, at every call of their
// own, and beside writers that are killed. What a reader sees is compared with a model of what the
// writer has put and what it has synced.
#include <map>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/base/random.h"
#include "firn/io/memory_storage.h"
#include "firn/io/posix_storage.h"
#include "testkit/child_process.h"
#include "testkit/follow_race.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"
#include "testkit/observed_storage.h"
#include "testkit/temporary_directory.h"

namespace firn::archive {
namespace {

using testkit::FollowRace;
using testkit::LoggedStorage;
using testkit::ObservedStorage;
using testkit::ReadersOfARecovery;

constexpr uint64_t kFollowedSectionItems = 4;

PrunableArchiveOptions followed_options(uint64_t seed) {
  Random random(seed);
  PrunableArchiveOptions options;
  options.key_size_bytes = 4;
  options.items_per_section = kFollowedSectionItems;
  options.page_size_bytes = static_cast<uint32_t>(random.between(30, 90));
  options.write_buffer_bytes = random.below(200);
  options.page_cache_bytes = 1 << 16;
  options.open_sections_max = random.between(1, 4);
  options.translator = KeyTranslator::cap(4);
  return options;
}

// What a section of the archive may hold: a prefix of what was put, with all that was synced.
struct FollowedModel {
  struct Record {
    uint64_t index;
    Bytes key;
    Bytes value;
  };
  struct SectionRecords {
    std::vector<Record> issued;
    size_t synced = 0;
  };
  std::map<uint64_t, SectionRecords> sections;
  uint64_t pruned_before = 0;     // a prune to here returned
  uint64_t may_be_pruned_to = 0;  // a prune to here began
};

class FollowedWriter {
 public:
  FollowedWriter(Storage& storage, uint64_t seed)
      : storage_(storage), options_(followed_options(seed)), random_(seed ^ 0x5eed) {}

  // One random operation. Nothing fails here.
  Status step() {
    if (!archive_) {
      TRY_INTO(archive_, PrunableArchive::open(storage_, options_));
      // What was put before a kill, and is there, was made durable.
      for (auto& [start, section] : model_.sections) {
        if (start < archive_->oldest_allowed()) continue;
        TRY_INTO(const uint64_t count, archive_->log().entry_count(Section(start)));
        section.issued.resize(count);
        section.synced = count;
      }
      return {};
    }
    if (random_.one_in(4)) return sync();
    if (random_.one_in(12)) return prune();
    if (random_.one_in(25)) {
      archive_.reset();  // as a kill does
      return {};
    }
    if (random_.one_in(25)) {
      TRY(archive_->close());
      acknowledge();
      archive_.reset();
      return {};
    }
    return put();
  }

  [[nodiscard]] const FollowedModel& model() const { return model_; }
  [[nodiscard]] const PrunableArchiveOptions& options() const { return options_; }

 private:
  Status put() {
    const uint64_t first = std::max(next_ > 6 ? next_ - 6 : 0, model_.may_be_pruned_to);
    const uint64_t index = first + random_.below(8);
    next_ = std::max(next_, index + 1);
    ++serial_;
    FollowedModel::Record record{index, Bytes(4), random_.bytes(random_.below(90))};
    store_big_endian<uint32_t>(record.key.data(), serial_);
    model_.sections[index - index % kFollowedSectionItems].issued.push_back(record);
    return archive_->put_multi(index, record.key, record.value);
  }

  Status sync() {
    TRY(archive_->sync());
    acknowledge();
    return {};
  }

  Status prune() {
    const uint64_t min = random_.below(next_ + 1);
    model_.may_be_pruned_to = std::max(model_.may_be_pruned_to, min - min % kFollowedSectionItems);
    TRY(archive_->prune(min));
    acknowledge();
    model_.pruned_before = model_.may_be_pruned_to;
    return {};
  }

  void acknowledge() {
    for (auto& [start, section] : model_.sections)
      section.synced = section.issued.size();
  }

  Storage& storage_;
  const PrunableArchiveOptions options_;
  Random random_;
  std::unique_ptr<PrunableArchive> archive_;
  FollowedModel model_;
  uint64_t next_ = 0;
  uint32_t serial_ = 0;
};

// What is wrong with what the reader sees. `before`: the model when the reader began to look.
// `seen`: how many records of each section it saw before. The writer may go on meanwhile.
std::optional<std::string> check_view(const PrunableArchive& reader, const FollowedWriter& writer,
                                      const FollowedModel& before,
                                      std::map<uint64_t, size_t>& seen) {
  const FollowedModel now = writer.model();
  const auto may_be_pruned = [&](uint64_t start) {
    return start < writer.model().may_be_pruned_to;
  };
  std::map<uint64_t, size_t> counts;
  const uint64_t oldest = reader.oldest_allowed();
  if (oldest > now.may_be_pruned_to || oldest < before.pruned_before)
    return concat("the boundary is ", oldest, ", not between ", before.pruned_before, " and ",
                  now.may_be_pruned_to);
  std::map<uint64_t, std::map<uint64_t, ArchiveItem>> found;
  const Status visited = reader.visit(0, UINT64_MAX, false, [&](const ArchiveItem& item) {
    found[item.section.value][item.position.value] = item;
    return true;
  });
  if (!visited) return concat("a visit failed: ", visited.error().message);
  for (const auto& [start, items] : found) {
    const auto section = now.sections.find(start);
    if (section == now.sections.end()) return concat("section ", start, " was never written");
    uint64_t position = 0;
    for (const auto& [at, item] : items) {
      const std::string name = concat("record ", at, " of section ", start);
      if (at != position++ && !may_be_pruned(start)) return concat(name, " follows a hole");
      if (at >= section->second.issued.size()) return concat(name, " was never put");
      const FollowedModel::Record& expected = section->second.issued[at];
      if (item.index != expected.index || item.key != expected.key)
        return concat(name, " is another one");
      const auto value = reader.read_value(item);
      if (!value && value.error().code == Errc::pruned && may_be_pruned(start)) continue;
      if (!value) return concat(name, ": ", value.error().message);
      if (!equal_bytes(value->bytes(), expected.value)) return concat(name, " has a wrong value");
      const auto by_key = reader.get(ByteSpan(item.key));
      if (!by_key) return concat(name, ", by its key: ", by_key.error().message);
      if (!*by_key && !may_be_pruned(start)) return concat(name, " is not found by its key");
    }
    counts[start] = items.size();
  }
  for (const auto& [start, section] : before.sections) {
    if (may_be_pruned(start)) continue;
    if (counts[start] < section.synced)
      return concat("section ", start, " shows ", counts[start], " records, ", section.synced,
                    " were synced");
    if (counts[start] < seen[start])
      return concat("section ", start, " shows ", counts[start], " records, it was ", seen[start]);
  }
  for (const auto& [start, count] : counts)
    seen[start] = std::max(seen[start], count);
  for (const BlobRange& damage : reader.recovery().damage)
    return concat("damage is reported in ", damage.partition, "/", damage.blob, ": ",
                  damage.reason);
  return std::nullopt;
}

PrunableArchiveOptions reading(PrunableArchiveOptions options) {
  options.access = ArchiveAccess::read_only;
  return options;
}

struct Reader {
  std::unique_ptr<PrunableArchive> archive;
  std::map<uint64_t, size_t> seen;
};

// A reader opens, and one that is open follows, at every call of the writer, and with half of a
// write done.
TEST(ArchiveFollowRace, GivenAReaderAtEveryCallOfTheWriter_WhenItLooks_ThenItSeesAPrefix) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    MemoryStorage memory;
    LoggedStorage read_storage(memory);
    Reader follower;
    std::optional<std::string> problem;
    FollowedWriter* of_writer = nullptr;
    const auto look = [&] {
      if (problem) return;
      const FollowedModel& model = of_writer->model();
      const auto options = reading(of_writer->options());
      auto fresh = PrunableArchive::open(read_storage, options);
      if (!fresh && fresh.error().code != Errc::not_found && fresh.error().code != Errc::locked)
        problem = concat("a reader cannot open: ", fresh.error().message);
      if (!fresh) return;
      std::map<uint64_t, size_t> nothing;
      problem = check_view(**fresh, *of_writer, model, nothing);
      if (!follower.archive) follower.archive = std::move(*fresh);
      if (const auto refreshed = follower.archive->refresh(); !refreshed)
        problem = concat("a reader cannot follow: ", refreshed.error().message);
      if (!problem) problem = check_view(*follower.archive, *of_writer, model, follower.seen);
    };
    ObservedStorage storage(memory, look);
    FollowedWriter writer(storage, seed);
    of_writer = &writer;

    for (int step = 0; step < 120 && !problem; ++step)
      ASSERT_OK(writer.step());

    ASSERT_EQ(problem, std::nullopt);
    EXPECT_EQ(read_storage.changes(), 0u);
  }
}

// Hints of floors are not flushed, so that a power cut may take them; until a writer has found out
// again what is durable, a reader beside it would see less than what was synced.
TEST(ArchiveFollowRace, GivenAPowerCutThatTookTheHints_WhenAWriterRecovers_ThenReadersWait) {
  const PrunableArchiveOptions options = small_options();
  MemoryStorage memory;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(memory, options));
    for (uint64_t index = 0; index < 3; ++index) {
      ASSERT_OK(put(archive, index, concat("key", index), "value"));
      ASSERT_OK(archive->sync());
    }
    // not closed
  }
  memory.lose_unsynced();

  ReadersOfARecovery readers(memory, 3, [&]() -> Result<uint64_t> {
    TRY_INTO(const auto reader, PrunableArchive::open(memory, reading(options)));
    return reader->last_index().value_or(UINT64_MAX) + 1;
  });
  ASSERT_OK_INTO(const auto writer, PrunableArchive::open(readers.of_writer(), options));
  readers.look();

  EXPECT_EQ(readers.problem(), std::nullopt);
  EXPECT_GT(readers.waited(), 0);
  EXPECT_GT(readers.complete(), 0);
}

// The writer goes on between any two calls of the reader, too.
TEST(ArchiveFollowRace, GivenWriterAndReaderInTurns_WhenTheReaderFollows_ThenItSeesAPrefix) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(concat("seed ", seed));
    FollowRace race(seed);
    FollowedWriter writer(race.of_writer(), seed);
    std::optional<std::string> problem;

    const auto read = [&] {
      Random random(seed);
      Reader follower;
      for (int round = 0; round < 40 && !problem; ++round) {
        const FollowedModel before = writer.model();
        if (!follower.archive || random.one_in(5)) {
          auto opened = PrunableArchive::open(race.of_reader(), reading(writer.options()));
          if (!opened && opened.error().code != Errc::not_found &&
              opened.error().code != Errc::locked)
            problem = concat("a reader cannot open: ", opened.error().message);
          if (!opened) continue;
          follower = {std::move(*opened), {}};
        } else if (const auto refreshed = follower.archive->refresh(); !refreshed) {
          if (refreshed.error().code == Errc::locked) continue;
          problem = concat("a reader cannot follow: ", refreshed.error().message);
          break;
        }
        problem = check_view(*follower.archive, writer, before, follower.seen);
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

// Two processes, and a real file system. Item n has the value n.
TEST(ArchiveFollowRace, GivenWritersThatAreKilled_WhenAReaderStays_ThenItSeesAllThatWasSynced) {
  const testkit::TemporaryDirectory directory;
  PrunableArchiveOptions options = followed_options(1);
  options.items_per_section = 50;
  Random random(7);
  std::unique_ptr<Storage> storage;
  std::unique_ptr<PrunableArchive> reader;
  uint64_t seen = 0;
  for (int life = 0; life < 8; ++life) {
    testkit::ChildProcess writer([&](const auto& acknowledge) {
      const auto own = open_posix_storage(directory / "store", {.create = true});
      const auto archive = PrunableArchive::open(**own, options);
      uint64_t next = (*archive)->last_index().value_or(0) + 1;
      while (archive && next < 100'000) {
        for (const uint64_t end = next + random.below(20); next < end; ++next)
          if (!put(*archive, next, concat(next).substr(0, 4), concat(next))) ::_exit(1);
        if (!(*archive)->sync()) ::_exit(1);
        acknowledge(next - 1);
      }
    });
    const uint64_t life_end = seen + 1 + random.below(200);
    while (seen < life_end) {
      ASSERT_TRUE(writer.wait_for(seen + 1));
      const uint64_t acknowledged = writer.acknowledged();
      if (!reader) {
        ASSERT_OK_INTO(storage, open_posix_storage(directory / "store", {.read_only = true}));
        ASSERT_OK_INTO(reader, PrunableArchive::open(*storage, reading(options)));
      }
      ASSERT_OK(reader->refresh());
      const uint64_t last = reader->last_index().value_or(0);
      ASSERT_GE(last, acknowledged);
      ASSERT_EQ(reader->missing_items(1, 1).size(), 0u);
      for (uint64_t i = seen + 1; i <= last; ++i)
        ASSERT_EQ(get(reader, i), concat(i));
      ASSERT_EQ(get(reader, 1 + random.below(last)).empty(), false);
      seen = last;
    }
    writer.kill();
    ASSERT_OK(reader->refresh());
    seen = reader->last_index().value_or(0);
  }
  ASSERT_OK_INTO(const auto second, open_posix_storage(directory / "store", {.read_only = true}));
  ASSERT_OK_INTO(const auto fresh, PrunableArchive::open(*second, reading(options)));
  EXPECT_GE(fresh->last_index().value_or(0), seen);
  EXPECT_TRUE(fresh->recovery().damage.empty());
}

}  // namespace
}  // namespace firn::archive
