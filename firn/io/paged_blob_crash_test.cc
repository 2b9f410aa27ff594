// SPDX-License-Identifier: Apache-2.0
//
// PagedBlob and crashes: torn writes, floors, wrong page sizes, bit rot, failed syncs. Each
// weakness of the original that PagedBlob repairs (power cut after a replay, truncation, wrong page
// size, bit rot, holes) has a test that shows the repair.
#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "firn/io/page_record.h"
#include "firn/io/paged_blob.h"
#include "testkit/paged_blob_fixture.h"

namespace firn {
namespace {

using testkit::BlobOperation;
using testkit::FailsWith;
using testkit::letters;
using testkit::OpenSettings;
using testkit::PagedBlobTest;

// The bytes that a power cut leaves: `durable`, then the first `torn` bytes of each operation.
Bytes after_crash(Bytes content, std::span<const BlobOperation> operations,
                  std::span<const size_t> torn) {
  for (size_t i = 0; i < operations.size(); ++i) {
    const BlobOperation& operation = operations[i];
    if (torn[i] == 0) continue;
    if (operation.kind == BlobOperation::Kind::resize) {
      content.resize(8 + operation.offset);
      continue;
    }
    const size_t end = 8 + operation.offset + torn[i];
    if (content.size() < end) content.resize(end);
    std::copy_n(operation.bytes.begin(), torn[i],
                content.begin() + static_cast<ptrdiff_t>(8 + operation.offset));
  }
  return content;
}

class PagedBlobCrash : public PagedBlobTest {
 protected:
  void write_synced(std::string_view text, OpenSettings settings = {}) {
    ASSERT_OK(storage_.remove_partition("p"));
    ASSERT_OK_INTO(const auto paged, open(settings));
    ASSERT_OK(paged->append(as_bytes(text)));
    ASSERT_OK(paged->sync());
  }

  // Splits what was recorded since `from` at its syncs, and calls `check` with every crash state of
  // each part: one operation torn at any byte, each other one lost or done.
  template <class Check>
  void for_each_crash(Bytes content, size_t from, const Check& check) {
    const std::vector<BlobOperation> recorded = record_.operations;  // checks record as well
    const std::span<const BlobOperation> all(recorded);
    size_t begin = from;
    while (begin < all.size()) {
      size_t end = begin;
      while (end < all.size() && all[end].kind != BlobOperation::Kind::sync)
        ++end;
      crash_in_part(content, all.subspan(begin, end - begin), check);
      std::vector<size_t> done;
      for (const BlobOperation& operation : all.subspan(begin, end - begin))
        done.push_back(std::max<size_t>(1, operation.bytes.size()));
      content = after_crash(content, all.subspan(begin, end - begin), done);
      begin = end + 1;
    }
    check(content);
  }

  template <class Check>
  void crash_in_part(const Bytes& content, std::span<const BlobOperation> part,
                     const Check& check) {
    ASSERT_LE(part.size(), 6u);
    std::vector<size_t> torn(part.size());
    for (size_t subset = 0; subset < (size_t{1} << part.size()); ++subset) {
      for (size_t i = 0; i < part.size(); ++i)
        torn[i] = (subset >> i & 1) != 0 ? std::max<size_t>(1, part[i].bytes.size()) : 0;
      check(after_crash(content, part, torn));
      for (size_t i = 0; i < part.size(); ++i) {
        const size_t whole = torn[i];
        for (size_t bytes = 1; bytes < part[i].bytes.size(); ++bytes) {
          torn[i] = bytes;
          check(after_crash(content, part, torn));
        }
        torn[i] = whole;
      }
    }
  }

  // A crash state must open as a prefix of `longest` that is no shorter than `least`.
  void expect_prefix(const Bytes& content, const std::string& longest, size_t least,
                     std::optional<uint64_t> floor) {
    set_raw(content);
    const auto paged = open({.floor = floor});
    ASSERT_OK(paged) << to_hex(content);
    const size_t size = (*paged)->size();
    ASSERT_GE(size, least) << to_hex(content);
    ASSERT_LE(size, longest.size()) << to_hex(content);
    if (floor || report().damage.empty()) {
      ASSERT_EQ(text_of(**paged), longest.substr(0, size)) << to_hex(content);
    } else {
      Bytes prefix(least);
      ASSERT_OK((*paged)->read_at(0, prefix)) << to_hex(content);
      ASSERT_EQ(as_text(prefix), longest.substr(0, least)) << to_hex(content);
    }
  }
};

TEST_F(PagedBlobCrash, GivenAppendsAndSyncs_WhenTornAnywhere_ThenDurableBytesSurvive) {
  for (const size_t first : {0u, 1u, 5u, 16u, 20u}) {
    for (const size_t second : {1u, 3u, 11u, 27u, 40u}) {
      for (const bool has_floor : {true, false}) {
        const std::string text = letters(first + second);
        write_synced(letters(first));
        const Bytes durable = raw();
        const size_t from = record_.operations.size();
        {
          ASSERT_OK_INTO(const auto paged, open({.floor = first}));
          ASSERT_OK(paged->append(as_bytes(std::string_view(text).substr(first))));
          ASSERT_OK(paged->sync());
        }

        const Bytes synced = raw();
        const auto floor = has_floor ? std::optional<uint64_t>(first) : std::nullopt;
        for_each_crash(durable, from, [&](const Bytes& content) {
          expect_prefix(content, text, content == synced ? text.size() : first, floor);
        });
      }
    }
  }
}

TEST_F(PagedBlobCrash, GivenThreeSyncsOfOnePage_WhenTheLastIsTorn_ThenTheSecondSurvives) {
  const std::string text = letters(16);
  for (const size_t third : {9u, 12u, 16u}) {
    write_synced(text.substr(0, 3));
    ASSERT_OK_INTO(auto paged, open());
    ASSERT_OK(paged->append(as_bytes(text.substr(3, 5))));
    ASSERT_OK(paged->sync());
    const Bytes durable = raw();
    const size_t from = record_.operations.size();

    ASSERT_OK(paged->append(as_bytes(text.substr(8, third - 8))));
    ASSERT_OK(paged->sync());
    paged.reset();

    for_each_crash(durable, from, [&](const Bytes& content) {
      expect_prefix(content, text.substr(0, third), 8, 3);  // a floor that lags is as good
    });
  }
}

TEST_F(PagedBlobCrash, GivenTruncation_WhenTornAnywhere_ThenTheOldTailOrTheNewOneIsThere) {
  // 9.1 item 3: the original rewrites the kept page without protection.
  for (const size_t durable_size : {7u, 16u, 21u, 40u}) {
    for (const size_t unsynced : {0u, 3u, 60u}) {
      const std::string text = letters(durable_size + unsynced);
      for (size_t size = 0; size < text.size(); size += 11) {
        write_synced(letters(durable_size));
        const Bytes durable = raw();
        const size_t from = record_.operations.size();
        {
          ASSERT_OK_INTO(const auto paged, open({.floor = durable_size}));
          ASSERT_OK(paged->append(as_bytes(text.substr(durable_size))));
          ASSERT_OK(paged->truncate(size));
        }
        const size_t least = std::min(size, durable_size);

        for_each_crash(durable, from,
                       [&](const Bytes& content) { expect_prefix(content, text, least, least); });
        storage_.lose_unsynced();
        ASSERT_OK_INTO(const auto reopened, open());
        ASSERT_LE(reopened->size(), size);
      }
    }
  }
}

TEST_F(PagedBlobCrash, GivenTruncationThenAppend_WhenTheSyncIsTorn_ThenTheKeptPrefixSurvives) {
  const std::string old_text = letters(40);
  for (const size_t size : {2u, 10u, 18u, 30u, 38u}) {
    const std::string new_text = old_text.substr(0, size) + letters(25, 9);
    write_synced(old_text);
    ASSERT_OK_INTO(auto paged, open());
    ASSERT_OK(paged->truncate(size));
    const Bytes durable = raw();
    const size_t from = record_.operations.size();

    ASSERT_OK(paged->append(as_bytes(new_text.substr(size))));
    ASSERT_OK(paged->sync());
    paged.reset();

    for_each_crash(durable, from,
                   [&](const Bytes& content) { expect_prefix(content, new_text, size, size); });
  }
}

TEST_F(PagedBlobCrash, GivenRecoveryItself_WhenTornAnywhere_ThenTheNextOneEndsTheSame) {
  write_synced(letters(30));
  Bytes content = raw();
  content.resize(content.size() + 50, std::byte{0x77});
  set_raw(content);
  const size_t from = record_.operations.size();
  {
    ASSERT_OK_INTO(const auto paged, open({.floor = 14, .record_size = 7}));
  }

  for_each_crash(content, from, [&](const Bytes& torn) {
    set_raw(torn);
    ASSERT_OK_INTO(const auto paged, open({.floor = 14, .record_size = 7}));
    ASSERT_EQ(text_of(*paged), letters(28));
  });
}

TEST_F(PagedBlobCrash, GivenReadsBetweenSyncs_WhenTheNextSyncIsTorn_ThenTheDurableSlotSurvives) {
  // 9.1 item 2: in the original a replay writes the partial page and protects the unsynced slot.
  write_synced("hello");
  ASSERT_OK_INTO(auto paged, open());
  const Bytes durable = raw();
  const size_t from = record_.operations.size();
  ASSERT_OK(paged->append(as_bytes("ABC")));
  Bytes replayed(8);
  ASSERT_OK(paged->read_sequential(0, replayed));
  EXPECT_EQ(as_text(replayed), "helloABC");
  EXPECT_EQ(record_.operations.size(), from);
  ASSERT_OK(paged->append(as_bytes("DEF")));
  ASSERT_OK(paged->sync());
  paged.reset();

  for_each_crash(durable, from,
                 [&](const Bytes& content) { expect_prefix(content, "helloABCDEF", 5, 5); });
}

TEST_F(PagedBlobCrash, GivenFailedOperation_WhenRetried_ThenPoisonedAndDurableBytesStayReadable) {
  for (const size_t operations : {0u, 1u, 2u}) {
    record_.operations_until_failure = SIZE_MAX;
    write_synced("hello");
    ASSERT_OK_INTO(auto paged, open());
    ASSERT_OK(paged->append(as_bytes("ABC")));
    record_.operations_until_failure = operations;

    EXPECT_THAT(paged->sync(), FailsWith(Errc::io));

    record_.operations_until_failure = SIZE_MAX;
    const size_t performed = record_.operations.size();
    EXPECT_THAT(paged->sync(), FailsWith(Errc::poisoned, "the test made this operation fail"));
    EXPECT_THAT(paged->append(as_bytes("x")), FailsWith(Errc::poisoned));
    EXPECT_THAT(paged->truncate(0), FailsWith(Errc::poisoned));
    EXPECT_EQ(record_.operations.size(), performed);
    EXPECT_EQ(paged->durable_size(), 5u);
    Bytes prefix(5);
    ASSERT_OK(paged->read_at(0, prefix));
    EXPECT_EQ(as_text(prefix), "hello");
    ASSERT_OK_INTO(const auto reopened, open({.floor = 5}));
    EXPECT_EQ(text_of(*reopened).substr(0, 5), "hello");
  }
  record_.operations_until_failure = SIZE_MAX;
}

TEST_F(PagedBlobCrash, GivenAFailedWriteOfAFullBuffer_WhenUsedOn_ThenPoisoned) {
  write_synced("hello");
  ASSERT_OK_INTO(auto paged, open());
  record_.operations_until_failure = 0;

  EXPECT_THAT(paged->append(as_bytes(letters(100'000))), FailsWith(Errc::io));

  record_.operations_until_failure = SIZE_MAX;
  EXPECT_THAT(paged->append(as_bytes("x")), FailsWith(Errc::poisoned));
  EXPECT_THAT(paged->sync(), FailsWith(Errc::poisoned));
}

TEST_F(PagedBlobCrash, GivenFailedTruncation_WhenUsedOn_ThenPoisoned) {
  for (size_t operations = 0; operations < 5; ++operations) {
    record_.operations_until_failure = SIZE_MAX;
    write_synced(letters(40));
    ASSERT_OK_INTO(auto paged, open());
    record_.operations_until_failure = operations;

    EXPECT_THAT(paged->truncate(20), FailsWith(Errc::io));

    record_.operations_until_failure = SIZE_MAX;
    EXPECT_THAT(paged->append(as_bytes("x")), FailsWith(Errc::poisoned));
    EXPECT_EQ(text_of(*paged), letters(20));
    storage_.lose_unsynced();
    ASSERT_OK_INTO(const auto reopened, open({.floor = 20}));
    EXPECT_EQ(text_of(*reopened), letters(40).substr(0, reopened->size()));
  }
}

TEST_F(PagedBlobCrash, GivenAdoptedBytes_WhenPowerIsCutAfterOpen_ThenTheyAreDurable) {
  // 9.1 item 11: bytes of a crashed process that only the operating system's cache held.
  write_synced("hello");
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("ABC")));
    record_.operations_until_failure = 2;  // both writes, but not the sync
    EXPECT_THAT(paged->sync(), FailsWith(Errc::io));
    record_.operations_until_failure = SIZE_MAX;
  }

  {
    ASSERT_OK_INTO(const auto adopting, open({.floor = 5}));
    EXPECT_EQ(adopting->durable_size(), 8u);
  }
  storage_.lose_unsynced();

  ASSERT_OK_INTO(const auto reopened, open({.floor = 8}));
  EXPECT_EQ(text_of(*reopened), "helloABC");
}

TEST_F(PagedBlobCrash, GivenFloorReached_WhenOpened_ThenNothingIsWritten) {
  write_synced(letters(40));
  const size_t performed = record_.operations.size();

  ASSERT_OK_INTO(const auto paged, open({.floor = 40}));

  EXPECT_EQ(record_.operations.size(), performed);
  EXPECT_TRUE(report().empty());
}

TEST_F(PagedBlobCrash, GivenWrongPageSize_WhenOpened_ThenRefusedNamingTheFittingOne) {
  // 9.1 item 4: the original erases the blob.
  for (const size_t size : {5u, 64u, 1000u}) {
    for (const uint32_t wrong : {1u, 16u, 63u, 65u, 128u, 65535u}) {
      for (const std::optional<uint64_t> floor :
           {std::optional<uint64_t>(), std::optional<uint64_t>(0), std::optional<uint64_t>(5)}) {
        write_synced(letters(size), {.page_size = 64});
        const Bytes before = raw();

        const auto opened = open({.floor = floor, .page_size = wrong});

        EXPECT_THAT(opened, FailsWith(Errc::invalid_argument, "page size 64"))
            << size << " " << wrong;
        EXPECT_EQ(raw(), before);
      }
    }
  }
}

TEST_F(PagedBlobCrash, GivenKnownFloor_WhenAnyByteFlips_ThenRightDataOrCorruptNeverShorter) {
  // 9.1 item 5: in the original rot at the tail is cut like a torn write.
  const std::string text = letters(41);
  write_synced(text.substr(0, 20));
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes(text.substr(20))));
    ASSERT_OK(paged->sync());
  }
  const Bytes good = raw();
  for (size_t at = 0; at + 8 < good.size(); ++at) {
    for (const std::byte mask : {std::byte{1}, std::byte{0x80}, std::byte{0xff}}) {
      set_raw(good);
      damage(at, mask);
      const Bytes damaged = raw();
      const auto paged = open({.floor = 41});
      if (!paged) {
        EXPECT_THAT(paged, FailsWith(Errc::corrupt));
        EXPECT_EQ(raw(), damaged) << "a refused blob stays as it is";
        continue;
      }
      ASSERT_EQ((*paged)->size(), 41u) << at;
      Bytes bytes(41);
      if (const Status read = (*paged)->read_at(0, bytes); read) {
        EXPECT_EQ(as_text(bytes), text) << at;
      } else {
        EXPECT_THAT(read, FailsWith(Errc::corrupt)) << at;
      }
    }
  }
}

TEST_F(PagedBlobCrash, GivenKnownFloor_WhenTheFileIsShorter_ThenCorrupt) {
  write_synced(letters(41));
  const Bytes good = raw();
  for (size_t size = 8; size < good.size(); ++size) {
    set_raw(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size)));

    EXPECT_THAT(open({.floor = 41}), FailsWith(Errc::corrupt)) << size;
  }
  set_raw(good);
  EXPECT_THAT(open({.floor = 42}), FailsWith(Errc::corrupt, "must hold 10 bytes"));
  EXPECT_THAT(open({.floor = UINT64_MAX}), FailsWith(Errc::corrupt));
}

TEST_F(PagedBlobCrash, GivenHoleAboveTheFloor_WhenOpened_ThenCutBeforeTheHoleAndSaved) {
  // 9.1 item 6: the original takes the valid last page and can never read the hole.
  write_synced(letters(80));
  damage(2 * 28 + 1);

  ASSERT_OK_INTO(const auto paged, open({.floor = 20}));

  EXPECT_EQ(text_of(*paged), letters(32));
  ASSERT_EQ(report().cuts.size(), 1u);
  EXPECT_EQ(report().cuts[0].range.offset, 2u * 28u);
  EXPECT_EQ(report().cuts[0].saved_size_bytes, 3u * 28u);
  EXPECT_EQ(physical_size(), 2u * 28u);
}

TEST_F(PagedBlobCrash, GivenPartialPageBeforeAnother_WhenOpenedAboveTheFloor_ThenItsBytesAreKept) {
  // The floor may lag behind a sync that made the partial page durable.
  write_synced("hello");
  const Bytes durable = raw();
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes(letters(30))));
    ASSERT_OK(paged->sync());
  }
  Bytes holed = raw();
  std::copy(durable.begin(), durable.end(), holed.begin());
  set_raw(holed);

  ASSERT_OK_INTO(const auto paged, open({.floor = 0}));

  EXPECT_EQ(text_of(*paged), "hello");
  EXPECT_EQ(physical_size(), 28u);
  EXPECT_EQ(report().cuts.size(), 1u);
}

TEST_F(PagedBlobCrash, GivenUnknownFloor_WhenAnInnerPageIsBad_ThenReportedAndNothingIsCut) {
  write_synced(letters(80));
  damage(2 * 28 + 1);
  const Bytes before = raw();

  ASSERT_OK_INTO(const auto paged, open());

  EXPECT_EQ(paged->size(), 80u);
  ASSERT_EQ(report().damage.size(), 1u);
  EXPECT_EQ(report().damage[0].offset, 2u * 28u);
  EXPECT_TRUE(report().cuts.empty());
  EXPECT_EQ(raw(), before);
  Bytes bytes(16);
  EXPECT_OK(paged->read_at(16, bytes));
  EXPECT_THAT(paged->read_at(32, bytes), FailsWith(Errc::corrupt, "page 2"));
}

TEST_F(PagedBlobCrash, GivenRawTail_WhenOpened_ThenCutSavedAndReported) {
  write_synced(letters(20));
  Bytes content = raw();
  content.resize(content.size() + 27, std::byte{0x55});
  set_raw(content);

  ASSERT_OK_INTO(const auto paged, open());

  EXPECT_EQ(text_of(*paged), letters(20));
  EXPECT_EQ(physical_size(), 56u);
  ASSERT_EQ(report().cuts.size(), 1u);
  EXPECT_EQ(report().cuts[0].saved_size_bytes, 27u);
  ASSERT_OK_INTO(const auto saved, storage_.scan(kLostFoundPartition));
  EXPECT_EQ(saved.size(), 1u);
}

TEST_F(PagedBlobCrash, GivenReadOnly_WhenTheTailIsInvalid_ThenTheDiskStaysAsItIs) {
  write_synced(letters(20));
  Bytes content = raw();
  content.resize(content.size() + 27, std::byte{0x55});
  set_raw(content);
  const size_t performed = record_.operations.size();

  ASSERT_OK_INTO(const auto paged, open({.record_size = 7, .read_only = true}));

  EXPECT_EQ(text_of(*paged), letters(14));
  EXPECT_EQ(raw(), content);
  EXPECT_EQ(record_.operations.size(), performed);
  ASSERT_EQ(report().cuts.size(), 1u);
  EXPECT_TRUE(report().cuts[0].saved_as.empty());
}

TEST_F(PagedBlobCrash, GivenRecordSize_WhenTheTailHoldsAFraction_ThenCutAboveTheFloorOnly) {
  for (const uint32_t record_size : {3u, 7u, 33u, 50u}) {
    for (size_t size = 1; size < 60; size += 4) {
      const size_t whole = size - size % record_size;
      write_synced(letters(size));

      ASSERT_OK_INTO(const auto paged, open({.floor = 0, .record_size = record_size}));

      EXPECT_EQ(text_of(*paged), letters(whole));
      EXPECT_EQ(report().cuts.size(), whole == size ? 0u : 1u);
      storage_.lose_unsynced();
      ASSERT_OK_INTO(const auto again, open({.floor = whole, .record_size = record_size}));
      EXPECT_EQ(text_of(*again), letters(whole));
      EXPECT_TRUE(report().empty());
      write_synced(letters(size));
      ASSERT_OK_INTO(const auto floored, open({.floor = size, .record_size = record_size}));
      EXPECT_EQ(text_of(*floored), letters(size)) << "at the floor nothing is cut";
    }
  }
}

TEST_F(PagedBlobCrash, GivenRandomOperationsAndCrashes_WhenComparedWithAModel_ThenTheyAgree) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    ASSERT_OK(storage_.remove_partition("p"));
    const uint32_t page_size = std::vector<uint32_t>{1, 13, 16, 103}[seed % 4];
    OpenSettings settings{.floor = 0, .page_size = page_size};
    settings.write_buffer_bytes = seed % 3 == 0 ? 500 : 0;
    ASSERT_OK_INTO(auto paged, open(settings));
    std::string model;
    size_t durable = 0;
    for (int step = 0; step < 120; ++step) {
      const uint64_t choice = random() % 100;
      if (choice < 50) {
        const std::string text = letters(random() % (choice < 5 ? 400 : 30), random() % 26);
        ASSERT_OK(paged->append(as_bytes(text)));
        model += text;
      } else if (choice < 65) {
        ASSERT_OK(paged->sync());
        durable = model.size();
      } else if (choice < 75 && !model.empty()) {
        model.resize(model.size() - random() % std::min<size_t>(model.size() + 1, 60));
        ASSERT_OK(paged->truncate(model.size()));
        durable = std::min(durable, model.size());
      } else if (choice < 80) {
        paged.reset();
        storage_.lose_unsynced();
        settings.floor = random() % 2 == 0 ? durable : durable / 2;
        ASSERT_OK_INTO(paged, open(settings));
        ASSERT_GE(paged->size(), durable);
        ASSERT_LE(paged->size(), model.size());
        model.resize(paged->size());
        durable = model.size();
        ASSERT_TRUE(report().empty());
      } else if (!model.empty()) {
        const size_t offset = random() % model.size();
        Bytes bytes(random() % (model.size() - offset + 1));
        ASSERT_OK(choice % 2 == 0 ? paged->read_at(offset, bytes)
                                  : paged->read_sequential(offset, bytes));
        ASSERT_EQ(as_text(bytes), model.substr(offset, bytes.size()));
      }
      ASSERT_EQ(paged->size(), model.size());
      ASSERT_GE(paged->durable_size(), durable);
    }
    ASSERT_EQ(text_of(*paged), model);
  }
}

TEST_F(PagedBlobCrash, GivenGarbage_WhenOpened_ThenItNeverCrashesNorInventsBytes) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 500; ++i) {
    Bytes content = *from_hex("4357494300000000");
    content.resize(8 + random() % 200);
    for (size_t at = 8; at < content.size(); ++at)
      content[at] = static_cast<std::byte>(random() % 4 == 0 ? random() : 0);
    set_raw(content);

    ASSERT_OK_INTO(const auto paged, open({.floor = 0}));

    EXPECT_EQ(paged->size(), 0u);
    EXPECT_EQ(physical_size(), 0u);
  }
}

// The first slot of the second page lies where the second slot of a page of 12 bytes would, and
// covers bytes that are equal to those at the front.
TEST_F(PagedBlobCrash, GivenEqualPagesAndATornFirst_WhenOpened_ThenNoOtherPageSizeIsSeen) {
  {
    ASSERT_OK_INTO(const auto paged, open({.page_size = 3}));
    ASSERT_OK(paged->append(Bytes(6)));
    ASSERT_OK(paged->sync());
  }
  Bytes content = raw();
  content.at(8 + 3 + 2) ^= std::byte{1};
  set_raw(content);

  ASSERT_OK_INTO(const auto paged, open({.floor = 0, .page_size = 3}));

  EXPECT_EQ(paged->size(), 0u);
}

// The slot of the second page covers one byte, which the first page begins with, and lies where a
// slot of a page of 28 bytes would.
TEST_F(PagedBlobCrash, GivenPagesThatBeginAlikeAndAreAllTorn_WhenOpened_ThenNoOtherPageSizeIsSeen) {
  {
    ASSERT_OK_INTO(const auto paged, open({.page_size = 8}));
    ASSERT_OK(paged->append(as_bytes("aaaaaaaaa")));
    ASSERT_OK(paged->sync());
  }
  Bytes content = raw();
  content.at(8 + 8 + 2) ^= std::byte{1};
  content.at(8 + 20) = std::byte{0};
  set_raw(content);

  ASSERT_OK_INTO(const auto paged, open({.floor = 0, .page_size = 8}));

  EXPECT_EQ(paged->size(), 0u);
}

}  // namespace
}  // namespace firn
