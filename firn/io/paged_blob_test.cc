// SPDX-License-Identifier: Apache-2.0
//
// PagedBlob without crashes: bytes on disk, record slots, truncation, reads.
#include "firn/io/paged_blob.h"

#include <string>

#include <gtest/gtest.h>

#include "firn/io/page_record.h"
#include "testkit/observed_storage.h"
#include "testkit/paged_blob_fixture.h"

namespace firn {
namespace {

using testkit::BlobOperation;
using testkit::FailsWith;
using testkit::letters;
using testkit::PagedBlobTest;

constexpr std::string_view kHelloDump =
    "4357494300000000"
    "68656c6c6f0000000000000000000000"
    "00059a71bb4c000000000000";
constexpr std::string_view kHelloAbcDump =
    "4357494300000000"
    "68656c6c6f4142430000000000000000"
    "00059a71bb4c0008785ee7b6";
constexpr std::string_view kHelloAbc1234Dump =
    "4357494300000000"
    "68656c6c6f4142433132333400000000"
    "000c48204b3f0008785ee7b6";
constexpr std::string_view kTwoPagesDump =
    "4357494300000000"
    "68656c6c6f414243313233347778797a"
    "000c48204b3f0010f1f16427"
    "5758595a300000000000000000000000"
    "0005814622ba000000000000";

TEST_F(PagedBlobTest, GivenWorkedExample_WhenSyncedFourTimes_ThenBytesMatchTheFormat) {
  ASSERT_OK_INTO(const auto paged, open());

  ASSERT_OK(paged->append(as_bytes("hello")));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(to_hex(raw()), kHelloDump);
  ASSERT_OK(paged->append(as_bytes("ABC")));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(to_hex(raw()), kHelloAbcDump);
  ASSERT_OK(paged->append(as_bytes("1234")));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(to_hex(raw()), kHelloAbc1234Dump);
  ASSERT_OK(paged->append(as_bytes("wxyzWXYZ0")));
  ASSERT_OK(paged->sync());

  EXPECT_EQ(to_hex(raw()), kTwoPagesDump);
}

TEST_F(PagedBlobTest, GivenWorkedExample_WhenSynced_ThenWritesAreThoseOfTheFormat) {
  ASSERT_OK_INTO(const auto paged, open());
  for (const std::string_view piece : {"hello", "ABC", "1234", "wxyzWXYZ0"}) {
    ASSERT_OK(paged->append(as_bytes(piece)));
    ASSERT_OK(paged->sync());
  }

  std::string operations;
  for (const BlobOperation& operation : record_.operations)
    operations +=
        operation.kind == BlobOperation::Kind::write
            ? std::to_string(operation.offset) + "+" + std::to_string(operation.bytes.size()) + " "
            : "sync ";

  EXPECT_EQ(operations, "0+28 sync 5+11 22+6 sync 8+14 sync 12+4 22+34 sync ");
}

TEST_F(PagedBlobTest, GivenNothing_WhenAppendedNothingAndSynced_ThenTheBlobStaysEmpty) {
  ASSERT_OK_INTO(const auto paged, open());

  ASSERT_OK(paged->append({}));
  ASSERT_OK(paged->sync());

  EXPECT_EQ(physical_size(), 0u);
  EXPECT_TRUE(record_.operations.empty());
}

TEST_F(PagedBlobTest, GivenPagesOf103Bytes_WhenGrown_ThenPhysicalSizesAreWholePages) {
  ASSERT_OK_INTO(const auto paged, open({.page_size = 103}));
  const std::string text = letters(206);

  ASSERT_OK(paged->append(as_bytes(text.substr(0, 10))));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(physical_size(), 115u);
  ASSERT_OK(paged->append(as_bytes(text.substr(10, 100))));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(physical_size(), 230u);
  ASSERT_OK(paged->append(as_bytes(text.substr(110))));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(physical_size(), 230u);

  EXPECT_EQ(text_of(*paged), text);
  ASSERT_OK_INTO(const auto reopened, open({.page_size = 103}));
  EXPECT_EQ(text_of(*reopened), text);
}

TEST_F(PagedBlobTest, GivenOneSync_WhenAppendedInAnyPieces_ThenBytesAreTheSame) {
  const std::string text = letters(333);
  std::vector<Bytes> images;
  for (const size_t piece : {1u, 7u, 16u, 50u, 333u}) {
    ASSERT_OK(storage_.remove_partition("p"));
    ASSERT_OK_INTO(const auto paged, open());
    for (size_t i = 0; i < text.size(); i += piece)
      ASSERT_OK(paged->append(as_bytes(std::string_view(text).substr(i, piece))));
    ASSERT_OK(paged->sync());
    images.push_back(raw());
  }

  for (const Bytes& image : images)
    EXPECT_EQ(to_hex(image), to_hex(images[0]));
}

TEST_F(PagedBlobTest, GivenSlot2Authoritative_WhenSynced_ThenSlot2StaysAndSlot1IsOverwritten) {
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("hello")));
    ASSERT_OK(paged->sync());
    ASSERT_OK(paged->append(as_bytes("ABC")));
    ASSERT_OK(paged->sync());
  }
  damage(18);  // the checksum of slot 1
  ASSERT_OK_INTO(const auto paged, open());

  ASSERT_OK(paged->append(as_bytes("1234")));
  ASSERT_OK(paged->sync());

  EXPECT_EQ(to_hex(raw()), kHelloAbc1234Dump);
}

TEST_F(PagedBlobTest, GivenSlot1Authoritative_WhenSynced_ThenSlot1StaysAndSlot2IsOverwritten) {
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("hello")));
    ASSERT_OK(paged->sync());
  }
  Bytes garbage = raw();
  for (size_t i = 8 + 24; i < 8 + 28; ++i)
    garbage[i] = std::byte{0xee};  // length 0 stays
  set_raw(garbage);
  ASSERT_OK_INTO(const auto paged, open());

  ASSERT_OK(paged->append(as_bytes("ABC")));
  ASSERT_OK(paged->sync());

  EXPECT_EQ(to_hex(raw()), kHelloAbcDump);
}

TEST_F(PagedBlobTest, GivenSyncAcrossAPageBoundary_WhenOneSlotIsDurable_ThenThatSlotIsUntouched) {
  for (const bool protects_slot_2 : {false, true}) {
    ASSERT_OK(storage_.remove_partition("p"));
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("hello")));
    ASSERT_OK(paged->sync());
    if (protects_slot_2) {
      ASSERT_OK(paged->append(as_bytes("ABC")));
      ASSERT_OK(paged->sync());
    }
    const size_t slot_at = 8 + 16 + (protects_slot_2 ? 6 : 0);
    const Bytes before = raw();

    ASSERT_OK(paged->append(as_bytes(letters(40))));
    ASSERT_OK(paged->sync());

    const Bytes after = raw();
    EXPECT_TRUE(
        equal_bytes(ByteSpan(before).subspan(slot_at, 6), ByteSpan(after).subspan(slot_at, 6)));
    EXPECT_TRUE(equal_bytes(ByteSpan(before).first(8 + 5), ByteSpan(after).first(8 + 5)));
  }
}

TEST_F(PagedBlobTest, GivenMangledPaddingAndPrefix_WhenSynced_ThenOnlyPaddingIsRewritten) {
  ASSERT_OK_INTO(const auto paged, open());
  ASSERT_OK(paged->append(as_bytes("hello")));
  ASSERT_OK(paged->sync());
  damage(0);
  damage(15);

  ASSERT_OK(paged->append(as_bytes("ABC")));
  ASSERT_OK(paged->sync());

  std::string expected(kHelloAbcDump);
  expected.replace(16, 2, "97");
  EXPECT_EQ(to_hex(raw()), expected);
}

TEST_F(PagedBlobTest,
       GivenCorruptLargerSlot_WhenOpened_ThenTheSmallerOneCountsAndTheCutIsReported) {
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("hello")));
    ASSERT_OK(paged->sync());
    ASSERT_OK(paged->append(as_bytes("ABC")));
    ASSERT_OK(paged->sync());
  }
  damage(24);

  ASSERT_OK_INTO(const auto paged, open());

  EXPECT_EQ(text_of(*paged), "hello");
  ASSERT_EQ(report().cuts.size(), 1u);
  EXPECT_EQ(report().cuts[0].saved_size_bytes, 28u);
  ASSERT_OK_INTO(const auto again, open());
  EXPECT_EQ(text_of(*again), "hello");
  EXPECT_TRUE(report().empty());
}

TEST_F(PagedBlobTest, GivenInnerPageFellBack_WhenOpened_ThenFullSizeAndReadsPastItsBytesFail) {
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("hello")));
    ASSERT_OK(paged->sync());
    ASSERT_OK(paged->append(as_bytes(letters(40))));
    ASSERT_OK(paged->sync());
  }
  damage(24);  // slot 2 of page 0, which holds its full length

  ASSERT_OK_INTO(const auto paged, open());

  EXPECT_EQ(paged->size(), 45u);
  EXPECT_EQ(report().damage.size(), 1u);
  Bytes whole(45);
  EXPECT_THAT(paged->read_at(0, whole), FailsWith(Errc::corrupt, "page 0"));
  EXPECT_THAT(paged->read_sequential(0, whole), FailsWith(Errc::corrupt, "page 0"));
  Bytes prefix(5);
  ASSERT_OK(paged->read_at(0, prefix));
  EXPECT_EQ(as_text(prefix), "hello");
  EXPECT_THAT(paged->truncate(3), FailsWith(Errc::corrupt, "cannot cut inside a page"));
}

TEST_F(PagedBlobTest, GivenDestroyedRecord_WhenTruncatedIntoItsPage_ThenCorruptAndNothingChanges) {
  ASSERT_OK_INTO(const auto paged, open());
  ASSERT_OK(paged->append(as_bytes(letters(40))));
  ASSERT_OK(paged->sync());
  damage(16);
  const Bytes before = raw();

  EXPECT_THAT(paged->truncate(10), FailsWith(Errc::corrupt, "page 0"));

  EXPECT_EQ(raw(), before);
  EXPECT_EQ(paged->size(), 40u);
  EXPECT_OK(paged->append(as_bytes("still usable")));
}

TEST_F(PagedBlobTest, GivenReopenAt5_WhenAppendedTruncatedSynced_ThenSixBytesAreRight) {
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("hello")));
    ASSERT_OK(paged->sync());
  }
  {
    ASSERT_OK_INTO(const auto paged, open());
    ASSERT_OK(paged->append(as_bytes("ABC")));
    ASSERT_OK(paged->truncate(6));
    ASSERT_OK(paged->sync());
  }

  ASSERT_OK_INTO(const auto paged, open());

  EXPECT_EQ(text_of(*paged), "helloA");
}

TEST_F(PagedBlobTest, GivenLengthsBeyondThePage_WhenOpened_ThenThePageIsDropped) {
  Bytes page(28);
  PageRecord record;
  for (const uint16_t second : {uint16_t{0}, uint16_t{17}}) {
    record.slots[0] = {40000, 1};
    record.slots[1] = {second, 2};
    encode_page_record(&page[16], record);
    Bytes content = *from_hex("4357494300000000");
    content.insert(content.end(), page.begin(), page.end());
    set_raw(content);

    ASSERT_OK_INTO(const auto paged, open());

    EXPECT_EQ(paged->size(), 0u);
    EXPECT_EQ(physical_size(), 0u);
    EXPECT_EQ(report().cuts.size(), 1u);
  }
}

TEST_F(PagedBlobTest, GivenFullPages_WhenReadTwice_ThenTheSecondReadTakesNoIo) {
  ASSERT_OK_INTO(const auto paged, open());
  const std::string text = letters(100);
  ASSERT_OK(paged->append(as_bytes(text)));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(text_of(*paged), text);
  EXPECT_EQ(record_.reads, 1u);

  EXPECT_EQ(text_of(*paged), text);

  EXPECT_EQ(record_.reads, 1u);
}

TEST_F(PagedBlobTest, GivenRanges_WhenRead_ThenBothPathsAgreeAndTheEndIsChecked) {
  ASSERT_OK_INTO(const auto paged, open({.page_size = 13}));
  const std::string text = letters(150);
  ASSERT_OK(paged->append(as_bytes(text)));
  ASSERT_OK(paged->sync());
  ASSERT_OK(paged->append(as_bytes("tail in memory")));
  const std::string whole = text + "tail in memory";

  for (size_t offset = 0; offset <= whole.size(); ++offset) {
    for (const size_t count : {0u, 1u, 12u, 13u, 14u, 40u, 164u}) {
      Bytes cached(count);
      Bytes direct(count);
      if (offset + count > whole.size()) {
        EXPECT_THAT(paged->read_at(offset, cached), FailsWith(Errc::out_of_range));
        EXPECT_THAT(paged->read_sequential(offset, direct), FailsWith(Errc::out_of_range));
        continue;
      }
      ASSERT_OK(paged->read_at(offset, cached));
      ASSERT_OK(paged->read_sequential(offset, direct));
      EXPECT_EQ(as_text(cached), whole.substr(offset, count));
      EXPECT_EQ(as_text(direct), whole.substr(offset, count));
    }
  }
  Bytes one(1);
  EXPECT_THAT(paged->read_at(UINT64_MAX, one), FailsWith(Errc::out_of_range));
}

TEST_F(PagedBlobTest, GivenBuffer_WhenAppendWouldOverflow_ThenItSaysSo) {
  ASSERT_OK_INTO(const auto paged, open({.write_buffer_bytes = 40}));

  EXPECT_FALSE(paged->append_would_write(40));
  EXPECT_TRUE(paged->append_would_write(41));
  EXPECT_TRUE(paged->append_would_write(SIZE_MAX));
  ASSERT_OK(paged->append(as_bytes(letters(40))));
  EXPECT_TRUE(record_.operations.empty());
  EXPECT_TRUE(paged->append_would_write(1));
  ASSERT_OK(paged->append(as_bytes("x")));

  EXPECT_EQ(record_.operations.size(), 1u);
  EXPECT_EQ(record_.operations[0].bytes.size(), 2u * 28u);
  EXPECT_EQ(paged->durable_size(), 0u);
}

TEST_F(PagedBlobTest, GivenNothingNew_WhenSyncedAgain_ThenNoIo) {
  ASSERT_OK_INTO(const auto paged, open());
  ASSERT_OK(paged->append(as_bytes("hello")));
  ASSERT_OK(paged->sync());
  const size_t operations = record_.operations.size();

  ASSERT_OK(paged->sync());
  ASSERT_OK(paged->append(as_bytes("x")));
  ASSERT_OK(paged->truncate(5));
  ASSERT_OK(paged->sync());
  ASSERT_OK(paged->truncate(5));

  EXPECT_EQ(record_.operations.size(), operations);
  EXPECT_THAT(paged->truncate(6), FailsWith(Errc::invalid_argument));
}

TEST_F(PagedBlobTest, GivenCachedPages_WhenTruncatedAndRewritten_ThenNewBytesAreRead) {
  // 9.1 item 16: the original keeps serving the cached page from before the cut.
  ASSERT_OK_INTO(const auto paged, open());
  ASSERT_OK(paged->append(as_bytes(letters(64))));
  ASSERT_OK(paged->sync());
  EXPECT_EQ(text_of(*paged), letters(64));

  ASSERT_OK(paged->truncate(20));
  ASSERT_OK(paged->append(as_bytes(letters(44, 5))));
  ASSERT_OK(paged->sync());

  EXPECT_EQ(text_of(*paged), letters(20) + letters(44, 5));
}

TEST_F(PagedBlobTest,
       GivenReadOfAPage_WhenCutAndRewrittenBeforeItEnds_ThenNewBytesAreReadAndCached) {
  ASSERT_OK_INTO(const auto paged, open());
  ASSERT_OK(paged->append(as_bytes(letters(64))));
  ASSERT_OK(paged->sync());
  record_.after_next_read = [&] {
    EXPECT_OK(paged->truncate(0));
    EXPECT_OK(paged->append(as_bytes(letters(64, 5))));
    EXPECT_OK(paged->sync());
  };

  Bytes first(32);
  ASSERT_OK(paged->read_at(16, first));
  Bytes second(32);
  ASSERT_OK(paged->read_at(16, second));

  EXPECT_EQ(as_text(first), letters(64, 5).substr(16, 32));
  EXPECT_EQ(as_text(second), letters(64, 5).substr(16, 32));
}

TEST_F(PagedBlobTest, GivenReadOfAPage_WhenCutBeforeItEnds_ThenTheReadIsBeyondTheEnd) {
  ASSERT_OK_INTO(const auto paged, open());
  ASSERT_OK(paged->append(as_bytes(letters(64))));
  ASSERT_OK(paged->sync());
  record_.after_next_read = [&] { EXPECT_OK(paged->truncate(20)); };

  Bytes bytes(32);
  EXPECT_THAT(paged->read_sequential(16, bytes), FailsWith(Errc::out_of_range));

  EXPECT_EQ(text_of(*paged), letters(20));
}

TEST_F(PagedBlobTest, GivenAnyHistory_WhenTruncatedAnywhere_ThenDiskAndMemoryAgree) {
  // Durable, written and buffered parts of every kind, cut at every size, then grown again.
  for (const size_t durable : {0u, 5u, 16u, 40u}) {
    for (const size_t more : {0u, 3u, 30u, 70u}) {
      const std::string text = letters(durable + more);
      for (size_t size = 0; size <= text.size(); ++size) {
        ASSERT_OK(storage_.remove_partition("p"));
        ASSERT_OK_INTO(auto paged, open());
        ASSERT_OK(paged->append(as_bytes(text.substr(0, durable))));
        ASSERT_OK(paged->sync());
        ASSERT_OK(paged->append(as_bytes(text.substr(durable))));

        ASSERT_OK(paged->truncate(size));

        const std::string context = "durable " + std::to_string(durable) + " more " +
                                    std::to_string(more) + " size " + std::to_string(size);
        EXPECT_EQ(text_of(*paged), text.substr(0, size)) << context;
        EXPECT_LE(paged->durable_size(), size) << context;
        const uint64_t kept_durable = paged->durable_size();
        EXPECT_GE(kept_durable, std::min(durable, size)) << context;
        ASSERT_OK(paged->append(as_bytes("regrown over a page end")));
        ASSERT_OK(paged->sync());
        const std::string expected = text.substr(0, size) + "regrown over a page end";
        EXPECT_EQ(text_of(*paged), expected) << context;
        storage_.lose_unsynced();
        ASSERT_OK_INTO(const auto reopened, open({.floor = expected.size()}));
        EXPECT_EQ(text_of(*reopened), expected) << context;
        EXPECT_TRUE(report().empty()) << context;
      }
    }
  }
}

TEST_F(PagedBlobTest, GivenDamage_WhenVerified_ThenEachBadPageIsNamed) {
  ASSERT_OK_INTO(const auto paged, open());
  ASSERT_OK(paged->append(as_bytes(letters(70))));
  ASSERT_OK(paged->sync());
  RecoveryLog clean(storage_, true);
  ASSERT_OK(paged->verify(clean));
  EXPECT_TRUE(clean.report().empty());
  damage(28 + 3);
  damage(4 * 28 + 1);

  RecoveryLog findings(storage_, true);
  ASSERT_OK(paged->verify(findings));

  ASSERT_EQ(findings.report().damage.size(), 2u);
  EXPECT_EQ(findings.report().damage[0].offset, 28u);
  EXPECT_EQ(findings.report().damage[1].offset, 4u * 28u);
  EXPECT_EQ(findings.report().damage[1].blob, "6e616d65");
}

// In the middle of a read, two syncs write both records of the page: their lengths are of bytes
// that the front half of the read does not have.
TEST_F(PagedBlobTest, GivenTwoSyncsDuringARead_WhenOpenedAndVerified_ThenThePageIsReadAgain) {
  for (int moment = 1, calls = 1; calls >= moment; ++moment) {
    ASSERT_OK(storage_.remove_partition("p"));
    ASSERT_OK_INTO(const auto writer, open());
    ASSERT_OK(writer->append(as_bytes("he")));
    ASSERT_OK(writer->sync());
    calls = 0;
    testkit::ObservedStorage observed(storage_, [&] {
      if (++calls != moment) return;
      for (const char* const letter : {"l", "l"}) {
        EXPECT_OK(writer->append(as_bytes(letter)));
        EXPECT_OK(writer->sync());
      }
    });

    ASSERT_OK_INTO(auto blob, observed.open("p", name_, OpenMode::read_only));
    PagedBlobOptions options{.page_size = 16, .cache = &cache_, .floor = 2, .ends_at_floor = true};
    RecoveryLog recovery(storage_, true);
    ASSERT_OK_INTO(const auto reader, PagedBlob::open(std::move(blob), options, recovery));

    EXPECT_EQ(text_of(*reader), "he") << "moment " << moment;
    RecoveryLog findings(storage_, true);
    EXPECT_OK(reader->verify(findings));
    EXPECT_TRUE(findings.report().empty()) << "moment " << moment;
  }
}

TEST_F(PagedBlobTest, GivenAViewThatWasCut_WhenAWriterCutsTheFile_ThenTheViewStays) {
  ASSERT_OK_INTO(const auto writer, open());
  ASSERT_OK(writer->append(as_bytes(letters(70))));
  ASSERT_OK(writer->sync());
  ASSERT_OK_INTO(const auto reader, open({.read_only = true}));
  ASSERT_OK(reader->cut_view(20));

  ASSERT_OK(writer->truncate(20));
  ASSERT_OK(writer->append(as_bytes("other")));
  ASSERT_OK(writer->sync());

  EXPECT_EQ(text_of(*reader), letters(20));
}

TEST_F(PagedBlobTest, GivenBadOptions_WhenOpened_ThenRefused) {
  EXPECT_THAT(open({.page_size = 0}), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(open({.page_size = 65536}), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(open({.record_size = 0}), FailsWith(Errc::invalid_argument));
  EXPECT_OK(open({.page_size = 65535}));
}

TEST_F(PagedBlobTest, GivenLargestAndSmallestPages_WhenUsed_ThenRoundTrip) {
  for (const uint32_t page_size : {1u, 65535u}) {
    ASSERT_OK(storage_.remove_partition("p"));
    const std::string text = letters(page_size == 1 ? 100 : 200'000);
    {
      ASSERT_OK_INTO(const auto paged, open({.page_size = page_size}));
      ASSERT_OK(paged->append(as_bytes(text)));
      ASSERT_OK(paged->sync());
      EXPECT_EQ(text_of(*paged), text);
      ASSERT_OK(paged->truncate(text.size() - 1));
    }
    ASSERT_OK_INTO(const auto paged, open({.page_size = page_size}));
    EXPECT_EQ(text_of(*paged), text.substr(0, text.size() - 1));
  }
}

}  // namespace
}  // namespace firn
