// SPDX-License-Identifier: Apache-2.0
//
// Readers beside a writer that appends, syncs, rewinds, prunes and closes: they see what was
// written or an error that says why not, while sections are opened, closed and removed below them.
// What the last close found is there after a power cut.
#include <atomic>
#include <thread>
#include <vector>

#include "firn/base/random.h"
#include "firn/journal/journal_test_support.h"

namespace firn {
namespace {

constexpr uint64_t kAppends = 10'000;
constexpr uint64_t kReads = 5'000;  // at least, by each reader
constexpr uint64_t kSections = 8;
constexpr size_t kReaders = 3;

// Runs `read` in several threads, kReads times and until `write` returns.
template <class Write, class Read>
void run_beside(Write&& write, Read&& read) {
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= kReaders; ++seed) {
    readers.emplace_back([&, seed] {
      Random random(seed);
      for (uint64_t i = 0; i < kReads || !done.load(); ++i)
        read(random);
    });
  }
  write();
  done = true;
  for (std::thread& reader : readers)
    reader.join();
}

bool is_expected(const Error& error) {
  return error.code == Errc::pruned || error.code == Errc::out_of_range;
}

class JournalStress : public IndexedValueLogTest {};

TEST_F(JournalStress, WhenAWriterAppendsSyncsAndPrunes_ThenReadersSeeWhatWasWritten) {
  open_sections_max_ = 3;
  use_floors();
  reopen();
  std::atomic<uint64_t> oldest = 0;
  std::atomic<uint64_t> found = 0;

  const auto write = [&] {
    Random random(99);
    for (uint64_t i = 0; i < kAppends; ++i) {
      const uint64_t section = oldest + random.below(kSections);
      const auto position = log_->entry_count(Section(section));
      ASSERT_OK(position);
      ASSERT_OK(append(section, id_of(section, *position)));
      if (random.one_in(50)) {
        ASSERT_OK(log_->sync(Section(section)));
      }
      if (random.one_in(300)) {
        ASSERT_OK(log_->sync_all());
      }
      if (random.one_in(1000)) {
        ASSERT_OK(log_->prune(Section(oldest + 1)));
        ++oldest;
      }
      if (random.one_in(1000)) {
        ASSERT_OK(log_->close());
      }
    }
    ASSERT_OK(log_->close());
  };
  const auto read = [&](Random& random) {
    const uint64_t section = oldest + random.below(kSections);
    const auto count = log_->entry_count(Section(section));
    if (!count || *count == 0) return;
    const uint64_t position = random.below(*count);
    const auto entry = get(section, position);
    if (!entry) {
      EXPECT_TRUE(is_expected(entry.error())) << entry.error().message;
      return;
    }
    EXPECT_EQ(entry->id, id_of(section, position));
    const auto stored = get_value(section, entry->location);
    if (stored) {
      EXPECT_EQ(*stored, value(entry->id));
      ++found;
    } else {
      EXPECT_TRUE(is_expected(stored.error())) << stored.error().message;
    }
  };
  run_beside(write, read);

  EXPECT_GT(found, 100u);
  const std::vector<Section> sections = log_->sections();
  std::vector<uint64_t> counts;
  for (const Section section : sections)
    counts.push_back(log_->entry_count(section).value());
  storage_.lose_unsynced();
  reopen();
  EXPECT_TRUE(report_.cuts.empty() && report_.damage.empty());
  ASSERT_EQ(log_->sections(), sections);
  for (size_t i = 0; i < sections.size(); ++i) {
    ASSERT_EQ(log_->entry_count(sections[i]).value(), counts[i]);
    for (uint64_t position = 0; position < counts[i]; ++position) {
      ASSERT_OK_INTO(const auto entry, get(sections[i].value, position));
      EXPECT_EQ(entry.id, id_of(sections[i].value, position));
      EXPECT_EQ(get_value(sections[i].value, entry.location), value(entry.id));
    }
  }
}

class FixedJournalStress : public FixedJournalTest {};

TEST_F(FixedJournalStress, WhenAWriterRewinds_ThenReadersSeeWholeRecordsAndReplayEnds) {
  open_sections_max_ = 3;
  reopen();
  std::atomic<uint64_t> found = 0;
  // Every byte of a record follows from its first one.
  const auto is_whole = [](ByteSpan bytes) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const auto first = std::to_integer<uint64_t>(bytes[0]) - 1;
      if (std::to_integer<uint64_t>(bytes[i]) != 1 + (first + i * 7) % 255) return false;
    }
    return true;
  };

  const auto write = [&] {
    Random random(99);
    for (uint64_t i = 0; i < 4 * kAppends; ++i) {
      const uint64_t section = random.below(kSections);
      ASSERT_OK(append(section, random.below(255)));
      if (random.one_in(50)) {
        ASSERT_OK(journal_->sync(Section(section)));
      }
      if (random.one_in(2000)) {
        ASSERT_OK(journal_->close());
      }
      if (!random.one_in(200)) continue;
      const auto count = journal_->record_count(Section(section));
      ASSERT_OK(count);
      const uint64_t kept = random.below(*count + 1) * kRecordSizeBytes;
      ASSERT_OK(random.one_in(8) ? journal_->rewind(Section(section), kept)
                                 : journal_->rewind_section(Section(section), kept));
    }
    ASSERT_OK(journal_->close());
  };
  const auto read = [&](Random& random) {
    const uint64_t section = random.below(kSections);
    if (random.one_in(200)) {
      auto items = journal_->replay(Section(section));
      if (!items) return;
      for (uint64_t i = 0; i < 100; ++i) {
        const auto item = items->next();
        if (!item || !*item) break;
        EXPECT_TRUE(is_whole((**item).record));
      }
      return;
    }
    const auto count = journal_->record_count(Section(section));
    if (!count || *count == 0) return;
    const auto read_record = get(section, random.below(*count));
    if (!read_record) {
      EXPECT_TRUE(is_expected(read_record.error())) << read_record.error().message;
      return;
    }
    EXPECT_TRUE(is_whole(*read_record));
    ++found;
  };
  run_beside(write, read);

  EXPECT_GT(found, 100u);
  const auto records = [&] {
    std::vector<Bytes> all;
    for (const Section section : journal_->sections())
      for (uint64_t i = 0; i < journal_->record_count(section).value(); ++i)
        all.push_back(get(section.value, i).value());
    return all;
  };
  const std::vector<Bytes> closed = records();
  storage_.lose_unsynced();
  reopen();
  EXPECT_EQ(records(), closed);
}

}  // namespace
}  // namespace firn
