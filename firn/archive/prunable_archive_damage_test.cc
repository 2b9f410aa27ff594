// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: every byte flipped, every file cut at every length, every file removed. An item
// that was synced answers with its value or with an error; it is never wrong, and never missing
// unless recovery said that something is.
#include <array>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/base/endian.h"
#include "firn/io/blob_header.h"
#include "firn/io/memory_storage.h"
#include "firn/io/page_record.h"
#include "testkit/matchers.h"
#include "testkit/store_files.h"

namespace firn {
namespace {

using archive::answer;
using testkit::file_text;
using testkit::FileName;
using testkit::files_of;
using testkit::load_files;
using Files = testkit::StoreFiles;

constexpr uint32_t kPageSizeBytes = 48;
constexpr uint32_t kKeySizeBytes = 4;

// A file shorter than its header holds nothing; opening it for writing makes the header whole
// (FORMAT.md, section 1). That is no change.
Files with_whole_headers(Files files) {
  const auto header = encode_blob_header(0);
  for (auto& [name, content] : files)
    if (content.size() < header.size()) content.assign(header.begin(), header.end());
  return files;
}

struct Item {
  uint64_t index;
  Bytes key;
  std::string value;
};

Item item(uint64_t index, std::string value) {
  Bytes key(kKeySizeBytes);
  store_big_endian(key.data(), static_cast<uint32_t>(index * 0x9E3779B9));
  return {index, std::move(key), std::move(value)};
}

enum class Ending : uint8_t {
  closed,           // the store was closed
  killed,           // after a sync
  killed_unsynced,  // after a sync and more puts, which reached the files
};

PrunableArchiveOptions options() {
  PrunableArchiveOptions options;
  options.key_size_bytes = kKeySizeBytes;
  options.items_per_section = 8;
  options.page_size_bytes = kPageSizeBytes;
  options.write_buffer_bytes = 0;
  options.page_cache_bytes = 4096;
  return options;
}

struct Victim {
  Files files;
  std::vector<Item> synced;
  std::vector<Item> unsynced;
};

Victim make_victim(Ending ending) {
  Victim victim;
  MemoryStorage storage;
  auto archive = std::move(*PrunableArchive::open(storage, options()));
  const auto put = [&](std::vector<Item>& items, uint64_t index, std::string value) {
    items.push_back(item(index, std::move(value)));
    EXPECT_OK(archive->put(index, items.back().key, as_bytes(items.back().value)));
  };
  std::vector<Item> pruned;
  put(pruned, 0, "pruned");
  put(victim.synced, 8, "first");
  EXPECT_OK(archive->sync());
  put(victim.synced, 10, "a longer value than the others");
  put(victim.synced, 9, "");
  EXPECT_OK(archive->sync());
  put(victim.synced, 17, "seventeen");
  EXPECT_OK(archive->prune(8));
  put(victim.synced, 18, "eighteen");
  EXPECT_OK(archive->sync());
  if (ending == Ending::closed) {
    EXPECT_OK(archive->close());
  } else if (ending == Ending::killed_unsynced) {
    // So many that pages leave the buffer.
    for (const uint64_t index : std::array<uint64_t, 8>{11, 12, 13, 14, 15, 19, 20, 25})
      put(victim.unsynced, index, concat("unsynced ", index));
  }
  archive.reset();
  victim.files = files_of(storage);
  return victim;
}

std::string file_text(const RecoveryReport& report) {
  std::string text = report.was_clean ? "clean\n" : "unclean\n";
  for (const CutRange& cut : report.cuts)
    text += concat("cut ", cut.range.partition, "/", cut.range.blob, " ", cut.range.offset, "+",
                   cut.range.size_bytes, " ", cut.range.reason, "\n");
  for (const BlobRange& range : report.damage)
    text += concat("damage ", range.partition, "/", range.blob, " ", range.reason, "\n");
  for (const std::string& note : report.notes)
    text += concat("note ", note, "\n");
  return text;
}

struct Verdict {
  std::string problem;  // empty: as promised
  std::string outcome;  // report and answers
};

// Opens the files and reads everything. An empty `undamaged_report` allows no item to be missing.
Verdict judge(const Files& files, const Victim& victim, const std::string& undamaged_report) {
  MemoryStorage storage;
  load_files(storage, files);
  const auto opened = PrunableArchive::open(storage, options());
  if (!opened) {
    if (with_whole_headers(files_of(storage)) != with_whole_headers(files))
      return {concat("files changed, although open failed: ", opened.error().message), ""};
    return {"", opened.error().message};
  }
  const PrunableArchive& archive = **opened;
  const std::string report = file_text(archive.recovery());
  Verdict verdict{"", report};
  const auto look_for = [&](const Item& expected, bool was_synced) {
    for (const std::string& found :
         {answer(archive.get(expected.index)), answer(archive.get(expected.key)),
          answer(archive.get_many(std::span(&expected.index, 1)).front())}) {
      verdict.outcome += concat(expected.index, "=", found, "\n");
      if (found == expected.value || found.starts_with("error: ")) continue;
      if (found != "absent")
        verdict.problem = concat("item ", expected.index, " is '", found, "'");
      else if (was_synced && (report == undamaged_report || undamaged_report.empty()))
        verdict.problem = concat("item ", expected.index, " is missing, and nobody said so");
    }
  };
  for (const Item& expected : victim.synced)
    look_for(expected, true);
  for (const Item& expected : victim.unsynced)
    look_for(expected, false);
  if (answer(archive.get(uint64_t{0})) == "pruned") verdict.problem = "a pruned item is back";
  return verdict;
}

// Bytes whose damage may have no effect at all.
bool may_be_of_no_effect(const FileName& name, const Bytes& content, size_t offset,
                         const Files& recovered) {
  // Hints: floors that are not yet in the two copies of the manifest. Losing one makes a floor
  // older, never wrong.
  if (name.first == kManifestPartition) return as_text(name.second) == "floors";
  // Values that no record refers to yet: they are reclaimed, whatever they are.
  const auto kept = recovered.find(name);
  if (kept == recovered.end() || offset >= kept->second.size()) return true;
  if (name.first != "index") return false;
  const size_t page_begin = offset - (offset - kBlobHeaderSizeBytes) % (kPageSizeBytes + 12);
  const auto page = validate_page(ByteSpan(content).subspan(page_begin, kPageSizeBytes + 12));
  if (!page) return false;
  const size_t within = offset - page_begin;
  // Padding of a page that is not full.
  if (within < kPageSizeBytes) return within >= page->size_bytes();
  // The slot that does not count: an earlier length, or none.
  return (within - kPageSizeBytes) / kPageSlotSize != page->slot;
}

// The most memory that this process ever had, in bytes.
uint64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  uint64_t kibibytes = 0;
  while (status >> word)
    if (word == "VmHWM:" && status >> kibibytes) break;
  return kibibytes << 10;
}

// Sanitizers keep freed memory, so that under them only a runaway allocation is noticed; and they
// are slow.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kMemoryMaxBytes = 2u << 30;
constexpr std::array<uint8_t, 1> kMasks = {0xFF};
#else
constexpr uint64_t kMemoryMaxBytes = 64 << 20;
constexpr std::array<uint8_t, 2> kMasks = {0xFF, 0x01};
#endif

class PrunableArchiveDamage : public testing::TestWithParam<Ending> {
 protected:
  void SetUp() override {
    victim_ = make_victim(GetParam());
    MemoryStorage storage;
    load_files(storage, victim_.files);
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, options()));
    undamaged_report_ = file_text(archive->recovery());
    recovered_ = files_of(storage);
    undamaged_ = judge(victim_.files, victim_, "");
  }

  // Hostile bytes must not make the archive allocate.
  void TearDown() override {
    EXPECT_GT(peak_before_, 0);
    EXPECT_LT(peak_memory_bytes(), peak_before_ + kMemoryMaxBytes);
  }

  // Judges the store with the file replaced.
  Verdict judge_with(const FileName& name, Bytes content) {
    Files files = victim_.files;
    files[name] = std::move(content);
    return judge(files, victim_, undamaged_report_);
  }

  const uint64_t peak_before_ = peak_memory_bytes();
  Victim victim_;
  std::string undamaged_report_;
  Verdict undamaged_;
  Files recovered_;  // what recovery makes of the undamaged files
};

std::string ending_name(const testing::TestParamInfo<Ending>& tested) {
  switch (tested.param) {
    case Ending::closed: return "Closed";
    case Ending::killed: return "Killed";
    case Ending::killed_unsynced: return "KilledUnsynced";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Stores, PrunableArchiveDamage,
                         testing::Values(Ending::closed, Ending::killed, Ending::killed_unsynced),
                         ending_name);

TEST_P(PrunableArchiveDamage, WhenUndamaged_ThenEveryItemIsFound) {
  EXPECT_EQ(undamaged_.problem, "");
  for (const Item& expected : victim_.synced)
    EXPECT_THAT(undamaged_.outcome,
                testing::HasSubstr(concat(expected.index, "=", expected.value, "\n")));
}

TEST_P(PrunableArchiveDamage, WhenAnyByteIsFlipped_ThenNoAnswerIsWrong) {
  for (const auto& [name, content] : victim_.files) {
    for (size_t offset = 0; offset < content.size(); ++offset) {
      for (const uint8_t mask : kMasks) {
        Bytes flipped = content;
        flipped[offset] ^= std::byte{mask};

        const Verdict verdict = judge_with(name, std::move(flipped));

        EXPECT_EQ(verdict.problem, "")
            << file_text(name) << " at " << offset << " xor " << int{mask};
        if (verdict.outcome != undamaged_.outcome) continue;
        EXPECT_TRUE(may_be_of_no_effect(name, content, offset, recovered_))
            << file_text(name) << " at " << offset << " xor " << int{mask} << " has no effect";
      }
    }
  }
}

TEST_P(PrunableArchiveDamage, WhenAnyFileIsCut_ThenNoAnswerIsWrong) {
  for (const auto& [name, content] : victim_.files) {
    for (size_t size = 0; size < content.size(); ++size) {
      const Verdict verdict =
          judge_with(name, Bytes(content.begin(), content.begin() + static_cast<ptrdiff_t>(size)));

      EXPECT_EQ(verdict.problem, "")
          << file_text(name) << " cut from " << content.size() << " to " << size;
    }
  }
}

TEST_P(PrunableArchiveDamage, WhenAnyFileIsRemoved_ThenNoAnswerIsWrong) {
  for (const auto& [name, content] : victim_.files) {
    Files files = victim_.files;
    files.erase(name);

    const Verdict verdict = judge(files, victim_, undamaged_report_);

    EXPECT_EQ(verdict.problem, "") << file_text(name);
  }
}

}  // namespace
}  // namespace firn
