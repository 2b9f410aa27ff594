// SPDX-License-Identifier: Apache-2.0
//
// What MetadataStore does while all goes well: contents, bytes on disk, and what each sync costs.
#include "firn/metadata/metadata_test_support.h"

namespace firn {
namespace {

using testkit::FailsWith;

TEST_F(MetadataStoreTest, GivenNewStore_WhenPutAndSynced_ThenReopenAndClearShowIt) {
  reopen();
  EXPECT_EQ(get(42), std::nullopt);
  EXPECT_EQ(counts(), "0/0/0");

  put(42, "hello");
  EXPECT_EQ(get(42), "hello");
  EXPECT_EQ(counts(), "0/0/1");
  sync();
  EXPECT_EQ(counts(), "1/0/1");
  reopen();

  EXPECT_EQ(get(42), "hello");
  EXPECT_EQ(counts(), "0/0/1");
  EXPECT_OK(store_->clear());
  EXPECT_EQ(get(42), std::nullopt);
  EXPECT_EQ(counts(), "0/0/0");
}

TEST_F(MetadataStoreTest, GivenRepeatedPuts_WhenReopened_ThenLastValueCounts) {
  reopen();
  put(1, "first");
  put(1, "second");
  EXPECT_EQ(get(1), "second");
  EXPECT_EQ(get(2), std::nullopt);
  put(1, "third");
  sync();

  reopen();

  EXPECT_EQ(get(1), "third");
}

TEST_F(MetadataStoreTest, GivenTwoKeys_WhenOneIsRemovedAfterReopen_ThenOnlyTheOtherStays) {
  reopen();
  put(42, "hello");
  sync();
  EXPECT_EQ(counts(), "1/0/1");
  put(42, "world");
  put(43, "foo");
  sync();
  EXPECT_EQ(counts(), "2/0/2");

  reopen();
  EXPECT_EQ(counts(), "0/0/2");
  EXPECT_EQ(get(42), "world");
  EXPECT_EQ(get(43), "foo");
  remove(42);
  sync();
  EXPECT_EQ(counts(), "1/0/1");

  reopen();
  EXPECT_EQ(keys(), std::vector<uint64_t>{43});
}

TEST_F(MetadataStoreTest, GivenUnsyncedPut_WhenReopened_ThenItIsAbsent) {
  reopen();
  put(42, "hello");

  reopen();

  EXPECT_EQ(get(42), std::nullopt);
  EXPECT_EQ(counts(), "0/0/0");
}

// The totals of the original's test of delta writes, since the version that skips idle syncs.
TEST_F(MetadataStoreTest, GivenHundredValues_WhenFewChange_ThenOnlyDeltasAreWritten) {
  reopen();
  const std::string value(100, 'v');  // 101 bytes with its length
  for (uint64_t key = 0; key < 100; ++key)
    put(key, value);
  const auto sync_and_check = [&](uint64_t written_bytes, std::string_view counts_after) {
    sync();
    EXPECT_EQ(storage_.written_bytes(), written_bytes);
    EXPECT_EQ(counts(), counts_after);
  };

  sync_and_check(10'912, "1/0/100");
  put(51, std::string(100, 'w'));
  sync_and_check(21'824, "2/0/100");
  sync_and_check(21'937, "2/1/100");
  sync_and_check(21'937, "2/1/100");
  remove(51);
  sync_and_check(32'740, "3/1/99");
  sync_and_check(43'543, "4/1/99");
  put(50, std::string(100, 'x'));
  sync_and_check(43'656, "4/2/99");
}

// Each copy gets what has changed since it was written: six values with their lengths, the version
// and the checksum.
TEST_F(MetadataStoreTest, GivenHundredValues_WhenSixChange_ThenEachCopyGetsTheirDelta) {
  reopen();
  for (uint64_t key = 0; key < 100; ++key)
    put(key, std::string(100, 'v'));
  ASSERT_OK(store_->sync_both());
  for (const uint64_t key : {0u, 1u, 42u, 50u, 51u, 99u})
    put(key, std::string(100, 'w'));
  const auto written_by_sync = [&] {
    const uint64_t before = storage_.written_bytes();
    sync();
    return storage_.written_bytes() - before;
  };

  EXPECT_EQ(written_by_sync(), 618u);
  EXPECT_EQ(written_by_sync(), 618u);
  EXPECT_EQ(written_by_sync(), 0u);

  EXPECT_EQ(counts(), "2/2/100");
  reopen();
  EXPECT_EQ(get(98), std::string(100, 'v'));
  EXPECT_EQ(get(99), std::string(100, 'w'));
}

// Many small writes cost more than one large one.
TEST_F(MetadataStoreTest, GivenMoreThan128Values_WhenAllChange_ThenTheImageIsWrittenAtOnce) {
  reopen();
  const auto put_all = [&](uint64_t count, std::string_view value) {
    for (uint64_t key = 0; key < count; ++key)
      put(key, value);
  };
  put_all(129, "old");
  EXPECT_OK(store_->sync_both());

  put_all(128, "new");
  EXPECT_OK(store_->sync_both());
  EXPECT_EQ(counts(), "2/2/129");
  put_all(129, "NEW");
  EXPECT_OK(store_->sync_both());

  EXPECT_EQ(counts(), "4/2/129");
  reopen();
  EXPECT_EQ(get(0), "NEW");
  EXPECT_EQ(get(128), "NEW");
}

TEST_F(MetadataStoreTest, GivenOneKey_WhenSyncedAgain_ThenOnlyMissingCopiesAreWritten) {
  reopen();
  put(1, "one");

  sync();
  EXPECT_EQ(counts(), "1/0/1");
  sync();
  EXPECT_EQ(counts(), "2/0/1");
  storage_.clear_log();
  sync();
  sync();

  EXPECT_EQ(counts(), "2/0/1");
  EXPECT_THAT(storage_.log(), testing::IsEmpty());
}

TEST_F(MetadataStoreTest, GivenChangedByte_WhenSynced_ThenOverwrittenInPlaceAndReadBack) {
  reopen();
  put(1, "hello");
  sync();
  sync();

  put(1, "Hello");
  sync();

  EXPECT_EQ(counts(), "2/1/1");
  reopen();
  EXPECT_EQ(get(1), "Hello");
}

TEST_F(MetadataStoreTest, GivenPutRemovePut_WhenSynced_ThenLastPutCounts) {
  reopen();
  put(1, "first");
  remove(1);
  put(1, "second");
  sync();
  EXPECT_EQ(get(1), "second");

  put(1, "third");
  remove(1);
  put(1, "fourth");
  sync();

  EXPECT_EQ(get(1), "fourth");
  reopen();
  EXPECT_EQ(get(1), "fourth");
}

TEST_F(MetadataStoreTest, GivenChangesOfEveryKind_WhenSynced_ThenOnlySameSizesOverwrite) {
  reopen();
  put(1, "0123456789");
  put(2, "0123456789");
  sync();
  put(1, "abcdefghij");
  put(2, "abcdefghij");
  sync();
  EXPECT_EQ(counts(), "2/0/2");
  sync();
  EXPECT_EQ(counts(), "2/1/2");
  put(1, "ABCDEFGHIJ");
  sync();
  EXPECT_EQ(counts(), "2/2/2");
  put(1, std::string(20, 'x'));
  sync();
  EXPECT_EQ(counts(), "3/2/2");
  put(3, "0123456789");
  sync();
  EXPECT_EQ(counts(), "4/2/3");
  sync();
  EXPECT_EQ(counts(), "5/2/3");
  put(3, "abcdefghij");
  sync();
  EXPECT_EQ(counts(), "5/3/3");

  reopen();
  EXPECT_EQ(get(1), std::string(20, 'x'));
  EXPECT_EQ(get(2), "abcdefghij");
  EXPECT_EQ(get(3), "abcdefghij");
}

TEST_F(MetadataStoreTest, GivenTenKeys_WhenNineAreRemoved_ThenBlobShrinksAndOneStays) {
  reopen();
  for (uint64_t key = 0; key < 10; ++key)
    put(key, std::string(100, static_cast<char>('a' + key)));
  sync();
  sync();
  EXPECT_EQ(counts(), "2/0/10");

  for (uint64_t key = 1; key < 10; ++key)
    remove(key);
  sync();

  EXPECT_EQ(counts(), "3/0/1");
  EXPECT_EQ(raw("right").size(), 2 * (8 + 12 + 8 + 101));
  reopen();
  EXPECT_EQ(keys(), std::vector<uint64_t>{0});
  EXPECT_EQ(get(0), std::string(100, 'a'));
}

TEST_F(MetadataStoreTest, GivenClearedStore_WhenSyncedAndRefilled_ThenOnlyNewKeysAreThere) {
  reopen();
  put(1, "one");
  put(2, "two");
  sync();
  EXPECT_OK(store_->clear());
  sync();
  reopen();
  EXPECT_TRUE(keys().empty());

  put(3, "three");
  put(4, "four");
  sync();

  reopen();
  EXPECT_EQ(keys(), (std::vector<uint64_t>{3, 4}));
}

TEST_F(MetadataStoreTest, GivenSixKeys_WhenVisitedByPrefix_ThenOnlyMatchesInOrder) {
  reopen();
  for (const uint64_t key : {0x3000u, 0x2001u, 0x2000u, 0x1002u, 0x1001u, 0x1000u})
    put(key, "v");

  EXPECT_EQ(keys(), (std::vector<uint64_t>{0x1000, 0x1001, 0x1002, 0x2000, 0x2001, 0x3000}));
  EXPECT_EQ(count_with_prefix(0x1000), 3u);
  EXPECT_EQ(count_with_prefix(0x2000), 2u);
  EXPECT_EQ(count_with_prefix(0x4000), 0u);
  for (const uint64_t key : {0x1000u, 0x1001u, 0x1002u})
    remove(key);
  sync();
  reopen();
  EXPECT_EQ(counts(), "0/0/3");
  EXPECT_EQ(keys(), (std::vector<uint64_t>{0x2000, 0x2001, 0x3000}));
}

TEST_F(MetadataStoreTest, GivenWorkedExample_WhenSynced_ThenBytesAreTheFormats) {
  reopen();
  put(1, "hello");
  put(2, "world");

  sync();
  EXPECT_EQ(raw("left"), "4357494300000000");
  EXPECT_EQ(raw("right"),
            "43574943000000000000000000000001"
            "00000000000000010568656c6c6f"
            "000000000000000205776f726c64"
            "efde4f7a");
  sync();
  EXPECT_EQ(raw("left"),
            "43574943000000000000000000000002"
            "00000000000000010568656c6c6f"
            "000000000000000205776f726c64"
            "f25e64e4");
  const uint64_t before = storage_.written_bytes();
  put(1, "HELLO");
  sync();
  EXPECT_EQ(storage_.written_bytes() - before, 18u);
  EXPECT_EQ(raw("right"),
            "43574943000000000000000000000003"
            "00000000000000010548454c4c4f"
            "000000000000000205776f726c64"
            "b5ef151e");
  put(1, "HI");
  sync();
  EXPECT_EQ(raw("left"),
            "43574943000000000000000000000004"
            "0000000000000001024849"
            "000000000000000205776f726c64"
            "7718ea3d");
}

TEST_F(MetadataStoreTest, GivenNewStoreWithoutKeys_WhenSynced_ThenRightHoldsVersionOne) {
  reopen();

  sync();

  EXPECT_EQ(raw("left"), "4357494300000000");
  EXPECT_EQ(raw("right"), "435749430000000000000000000000017e433189");
}

TEST_F(MetadataStoreTest, GivenReopenedStore_WhenOneValueChanges_ThenOnlyDeltasAreWritten) {
  reopen();
  for (uint64_t key = 0; key < 100; ++key)
    put(key, std::string(99, 'v'));
  EXPECT_OK(store_->sync_both());
  put(7, std::string(99, 'w'));
  sync();
  const std::string newest = raw("right");

  reopen();
  storage_.clear_log();
  put(9, std::string(99, 'x'));
  sync();

  EXPECT_THAT(
      storage_.log(),
      testing::ElementsAre("write state/left 772+100", "write state/left 988+100",
                           "write state/left 0+8", "write state/left 10808+4", "sync state/left"));
  EXPECT_EQ(raw("right"), newest);
  reopen();
  EXPECT_EQ(get(7), std::string(99, 'w'));
  EXPECT_EQ(get(9), std::string(99, 'x'));
  EXPECT_TRUE(recovery_->report().empty());
}

TEST_F(MetadataStoreTest, GivenSameValuePutAgain_WhenSynced_ThenNothingIsWritten) {
  reopen();
  put(1, "one");
  EXPECT_OK(store_->sync_both());
  storage_.clear_log();

  put(1, "one");
  sync();

  EXPECT_THAT(storage_.log(), testing::IsEmpty());
}

TEST_F(MetadataStoreTest, GivenSyncBoth_WhenEitherCopyIsLost_ThenNothingIsMissing) {
  for (const std::string_view lost : {"left", "right"}) {
    ASSERT_OK(memory_.remove_partition("state"));
    reopen();
    put(1, "one");
    EXPECT_OK(store_->sync_both());
    put(1, "two");
    EXPECT_OK(store_->sync_both());

    memory_.set_raw("state", as_bytes(lost), Bytes(40));
    reopen();

    EXPECT_EQ(get(1), "two") << lost;
    EXPECT_TRUE(store_->opened_from_one_copy());
  }
}

TEST_F(MetadataStoreTest, GivenReadOnly_WhenOpened_ThenReadsAndWritesNothing) {
  reopen();
  put(1, "one");
  sync();
  storage_.clear_log();
  options_.read_only = true;

  reopen();

  EXPECT_EQ(get(1), "one");
  EXPECT_THAT(store_->put(key_of(1), as_bytes("x")),
              FailsWith(Errc::invalid_argument, "read-only"));
  EXPECT_THAT(storage_.log(), testing::IsEmpty());
  options_.partition = "other";
  RecoveryLog log(storage_, true);
  EXPECT_THAT(MetadataStore::open(storage_, options_, log), FailsWith(Errc::not_found));
}

TEST_F(MetadataStoreTest, GivenSelfDelimitingValues_WhenStored_ThenNoLengthIsAdded) {
  options_.self_delimiting = [](ByteSpan rest) -> std::optional<size_t> {
    if (rest.empty()) return std::nullopt;
    return std::to_integer<size_t>(rest[0]) + 1;
  };
  reopen();
  put(1, "\x02hi");
  EXPECT_THAT(store_->put(key_of(2), as_bytes("\x09hi")), FailsWith(Errc::invalid_argument));
  sync();

  EXPECT_EQ(raw("right").substr(32, 22), "0000000000000001026869");
  reopen();
  EXPECT_EQ(get(1), "\x02hi");
}

}  // namespace
}  // namespace firn
