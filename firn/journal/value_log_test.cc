// SPDX-License-Identifier: Apache-2.0
//
// The behaviours of the original's glob, in its order ("Pinned 7.3.n"), and what is ours.
#include "firn/journal/value_log.h"

#include <functional>

#include <zstd.h>

#include "firn/base/crc32c.h"
#include "firn/base/units.h"
#include "firn/journal/batches.h"
#include "firn/journal/journal_test_support.h"
#include "firn/journal/value_entry.h"
#include "testkit/failing_calls.h"
#include "testkit/logged_storage.h"

namespace firn {
namespace {

class ValueLogTest : public JournalTest {
 protected:
  ValueLogOptions options() const {
    ValueLogOptions options;
    options.partition = std::string(kValues);
    options.compression_level = compression_level_;
    options.write_buffer_bytes = write_buffer_bytes_;
    options.open_sections_max = open_sections_max_;
    options.value_size_max_bytes = value_size_max_bytes_;
    options.cache = &value_cache_;
    return options;
  }

  Result<std::unique_ptr<ValueLog>> try_open(Storage& storage, bool read_only = false) {
    RecoveryLog recovery(storage, read_only);
    return ValueLog::open(storage, options(), recovery);
  }

  void reopen() {
    log_.reset();
    ASSERT_OK_INTO(log_, try_open(storage_));
  }

  Result<Bytes> get(uint64_t section, ValueLocation location) const {
    TRY_INTO(const Value read, log_->read(Section(section), location));
    return to_bytes(read.bytes());
  }

  // A blob with this payload and its checksum.
  ValueLocation plant(uint64_t section, Bytes payload) {
    const uint32_t checksum = crc32c(payload);
    payload.resize(payload.size() + 4);
    store_big_endian(payload.data() + payload.size() - 4, checksum);
    EXPECT_OK(storage_.open(kValues, journal::section_name(Section(section)), OpenMode::create));
    patch_blob(kValues, section, 0, payload);
    reopen();
    return {0, static_cast<uint32_t>(payload.size())};
  }

  static Bytes compress(ByteSpan plain) {
    Bytes frame(ZSTD_compressBound(plain.size()));
    frame.resize(ZSTD_compress(frame.data(), frame.size(), plain.data(), plain.size(), 3));
    return frame;
  }

  // A zstd frame of one uncompressed block that says that it holds `claimed` bytes.
  static Bytes frame_that_claims(uint64_t claimed, ByteSpan block) {
    Bytes frame = *from_hex("28b52ffde0");  // the size has eight bytes, little-endian
    for (int shift = 0; shift < 64; shift += 8)
      frame.push_back(static_cast<std::byte>(claimed >> shift));
    const size_t header = block.size() << 3 | 1;  // the last one, as it is
    for (int shift = 0; shift < 24; shift += 8)
      frame.push_back(static_cast<std::byte>(header >> shift));
    frame.insert(frame.end(), block.begin(), block.end());
    return frame;
  }

  std::vector<ValueLocation> append_values(uint64_t section, uint64_t count) {
    std::vector<ValueLocation> locations;
    for (uint64_t i = 0; i < count; ++i) {
      const auto location = log_->append(Section(section), pattern(i, 16));
      EXPECT_OK(location);
      locations.push_back(location.value_or(ValueLocation()));
    }
    return locations;
  }

  std::optional<int> compression_level_;
  size_t write_buffer_bytes_ = 1024;
  size_t open_sections_max_ = 128;
  uint32_t value_size_max_bytes_ = UINT32_MAX - 4;
  mutable PageCache value_cache_{kMiB};
  Opened<ValueLog> log_;
};

// Pinned 7.3.1
TEST_F(ValueLogTest, WhenAppended_ThenTheFirstValueIsAtZeroAndReadsBeforeAndAfterSync) {
  reopen();

  ASSERT_OK_INTO(const auto location, log_->append(Section(1), pattern(1, 16)));

  EXPECT_EQ(location, (ValueLocation{0, 20}));
  EXPECT_EQ(get(1, location), pattern(1, 16));
  ASSERT_OK(log_->sync(Section(1)));
  EXPECT_EQ(get(1, location), pattern(1, 16));
}

// Pinned 7.3.2
TEST_F(ValueLogTest, WhenFiveAreAppended_ThenAllRead) {
  reopen();

  const auto locations = append_values(1, 5);

  for (uint64_t i = 0; i < 5; ++i)
    EXPECT_EQ(get(1, locations[i]), pattern(i, 16));
}

// Pinned 7.3.3
TEST_F(ValueLogTest, GivenCompression_WhenZerosAreAppended_ThenTheyShrinkAndReadBack) {
  compression_level_ = 3;
  reopen();
  const Bytes zeros(100);

  ASSERT_OK_INTO(const auto location, log_->append(Section(1), zeros));

  EXPECT_LT(location.size_bytes, 104u);
  EXPECT_EQ(get(1, location), zeros);
  ASSERT_OK(log_->sync_all());
  reopen();
  EXPECT_EQ(get(1, location), zeros);
}

// Pinned 7.3.4
TEST_F(ValueLogTest, WhenPruned_ThenLowerSectionsFailAndTheBlobsOfOthersRemain) {
  reopen();
  std::vector<ValueLocation> locations;
  for (uint64_t section = 1; section <= 5; ++section)
    locations.push_back(append_values(section, 1)[0]);
  ASSERT_OK(log_->sync_all());

  EXPECT_EQ(log_->prune(Section(3)), 2u);

  for (uint64_t section = 1; section <= 5; ++section) {
    EXPECT_EQ(has_blob(kValues, section), section >= 3);
    if (section < 3)
      EXPECT_THAT(get(section, locations[section - 1]), FailsWith(Errc::pruned));
    else
      EXPECT_EQ(get(section, locations[section - 1]), pattern(0, 16));
  }
}

// Pinned 7.3.5
TEST_F(ValueLogTest, WhenStoredBytesAreOverwritten_ThenTheReadFailsTheChecksum) {
  reopen();
  const auto locations = append_values(1, 2);
  ASSERT_OK(log_->sync_all());

  patch_blob(kValues, 1, 4, Bytes(4, std::byte{0xFF}));
  reopen();

  EXPECT_THAT(get(1, locations[0]), FailsWith(Errc::corrupt, "checksum"));
  EXPECT_EQ(get(1, locations[1]), pattern(1, 16));
}

// Pinned 7.3.6
TEST_F(ValueLogTest, WhenRewoundToTheEndOfAValue_ThenItAndEarlierOnesRead) {
  reopen();
  const auto locations = append_values(1, 5);
  ASSERT_OK(log_->sync_all());

  ASSERT_OK(log_->rewind_section(Section(1), 60));

  for (uint64_t i = 0; i < 3; ++i)
    EXPECT_EQ(get(1, locations[i]), pattern(i, 16));
  for (uint64_t i = 3; i < 5; ++i)
    EXPECT_THAT(get(1, locations[i]), FailsWith(Errc::out_of_range));
}

// Rule 2: the freed range may be reused at once, because the cut is durable when it returns.
TEST_F(ValueLogTest, WhenRewound_ThenAPowerCutDoesNotBringTheCutValuesBack) {
  reopen();
  append_values(1, 5);
  ASSERT_OK(log_->sync_all());

  ASSERT_OK(log_->rewind_section(Section(1), 60));
  storage_.lose_unsynced();

  EXPECT_EQ(blob_size(kValues, 1), 60u);
}

// Pinned 7.3.7
TEST_F(ValueLogTest, GivenASyncedValue_WhenReopenedAfterAPowerCut_ThenItReads) {
  reopen();
  const auto locations = append_values(1, 1);
  ASSERT_OK(log_->sync(Section(1)));

  storage_.lose_unsynced();
  reopen();

  EXPECT_EQ(get(1, locations[0]), pattern(0, 16));
}

// Pinned 7.3.8. The original says "insufficient length"; ours is out_of_range.
TEST_F(ValueLogTest, WhenTheSizeCannotHoldAChecksum_ThenTheReadIsOutOfRange) {
  reopen();
  append_values(1, 1);
  ASSERT_OK(log_->sync_all());

  for (uint32_t size = 0; size < 4; ++size)
    EXPECT_THAT(get(1, {0, size}), FailsWith(Errc::out_of_range)) << size;
}

// Pinned 7.3.9
TEST_F(ValueLogTest, WhenTheSizeIsOneLess_ThenTheReadFailsTheChecksum) {
  reopen();
  append_values(1, 1);
  ASSERT_OK(log_->sync_all());

  EXPECT_THAT(get(1, {0, 19}), FailsWith(Errc::corrupt, "checksum"));
}

// --------------------------------------------------------------------- beyond the pinned
// behaviours

TEST_F(ValueLogTest, WhenTheLocationLiesBeyondTheEnd_ThenTheReadIsOutOfRange) {
  reopen();
  append_values(1, 1);

  EXPECT_THAT(get(1, {0, 21}), FailsWith(Errc::out_of_range));
  EXPECT_THAT(get(1, {20, 4}), FailsWith(Errc::out_of_range));
  EXPECT_THAT(get(1, {UINT64_MAX - 2, 20}), FailsWith(Errc::out_of_range));
  EXPECT_THAT(get(1, {0, UINT32_MAX}), FailsWith(Errc::out_of_range));
  EXPECT_THAT(get(2, {0, 20}), FailsWith(Errc::out_of_range, "no blob values/0000000000000002"));
}

TEST_F(ValueLogTest, WhenGivenInParts_ThenTheValueIsTheirConcatenation) {
  reopen();
  const Bytes front = pattern(1, 10);
  const Bytes back = pattern(2, 20);
  const std::vector<ByteSpan> parts = {front, ByteSpan(), back};

  ASSERT_OK_INTO(const auto location, log_->append(Section(1), parts));

  Bytes joined = front;
  joined.insert(joined.end(), back.begin(), back.end());
  EXPECT_EQ(location, (ValueLocation{0, 34}));
  EXPECT_EQ(get(1, location), joined);
}

TEST_F(ValueLogTest, GivenEverySizeAroundTheBuffer_WhenAppended_ThenAllReadBeforeAndAfterSync) {
  write_buffer_bytes_ = 32;
  reopen();
  std::vector<ValueLocation> locations;
  for (uint64_t size = 0; size <= 70; ++size) {
    ASSERT_OK_INTO(const auto location, log_->append(Section(1), pattern(size, size)));
    locations.push_back(location);
    for (uint64_t i = 0; i <= size; ++i)
      ASSERT_EQ(get(1, locations[i]), pattern(i, i)) << i << " of " << size;
  }

  ASSERT_OK(log_->sync_all());
  storage_.lose_unsynced();
  reopen();

  for (uint64_t size = 0; size <= 70; ++size)
    EXPECT_EQ(get(1, locations[size]), pattern(size, size));
}

TEST_F(ValueLogTest, WhenTheValueIsLargerThanTheLimit_ThenAppendRefusesAndChangesNothing) {
  value_size_max_bytes_ = 15;
  reopen();

  EXPECT_THAT(log_->append(Section(1), pattern(1, 16)), FailsWith(Errc::invalid_argument));

  EXPECT_FALSE(has_blob(kValues, 1));
  EXPECT_OK(log_->append(Section(1), pattern(1, 15)));
}

// Rule 11: what a frame claims is bounded before memory is taken for it.
TEST_F(ValueLogTest, GivenAFrameThatClaimsTooMuch_WhenRead_ThenItIsCorrupt) {
  compression_level_ = 3;
  value_size_max_bytes_ = 1000;

  EXPECT_THAT(get(1, plant(1, compress(Bytes(100'000)))),
              FailsWith(Errc::corrupt, "impossible size"));
}

TEST_F(ValueLogTest, GivenAShortFrameThatClaimsALargeValue_WhenRead_ThenNoMemoryIsTakenForIt) {
  compression_level_ = 3;
  Bytes entry = compress(Bytes(100'000));
  constexpr size_t kClaimOffset = 5;  // behind the magic and the descriptor; little-endian
  ASSERT_EQ(entry[kClaimOffset], std::byte{0xA0}) << "100,000 is 0x186A0";
  entry[kClaimOffset + 3] = std::byte{0x10};  // 256 MiB, within the limit of values

  EXPECT_THAT(get(1, plant(1, entry)), FailsWith(Errc::corrupt, "impossible size"));
  EXPECT_FALSE(journal::is_compressed(entry));
}

TEST_F(ValueLogTest, GivenFramesWhoseClaimsDoNotHold_WhenRead_ThenTheyAreCorrupt) {
  compression_level_ = 3;
  const Bytes five = pattern(1, 5);
  EXPECT_EQ(get(1, plant(1, frame_that_claims(5, five))), five);

  EXPECT_THAT(get(2, plant(2, frame_that_claims(6, five))),
              FailsWith(Errc::corrupt, "does not decompress: "));

  // Together more than a number holds.
  Bytes two = frame_that_claims(uint64_t{1} << 63, {});
  two.insert(two.end(), two.begin(), two.end());
  EXPECT_THAT(get(3, plant(3, two)), FailsWith(Errc::corrupt, "no zstd frame of known size"));
}

TEST_F(ValueLogTest, GivenValuesWithoutCompression_WhenReadWithIt_ThenTheyAreRefused) {
  reopen();
  const auto locations = append_values(1, 1);
  ASSERT_OK(log_->sync_all());
  compression_level_ = 3;
  reopen();

  EXPECT_THAT(get(1, locations[0]), FailsWith(Errc::corrupt, "written without compression"));
}

TEST_F(ValueLogTest, GivenAConcatenationOfFrames_WhenRead_ThenItIsTheirConcatenation) {
  compression_level_ = 3;
  const Bytes plain = pattern(5, 50);
  Bytes entry = compress(plain);
  const Bytes frame = entry;
  entry.insert(entry.end(), frame.begin(), frame.end());

  Bytes twice = plain;
  twice.insert(twice.end(), plain.begin(), plain.end());
  EXPECT_EQ(get(1, plant(1, entry)), twice);
}

TEST_F(ValueLogTest, GivenMoreSectionsThanMayBeOpen_WhenAppendedWithSyncs_ThenFewStayOpen) {
  open_sections_max_ = 4;
  reopen();

  for (uint64_t section = 0; section < 100; ++section) {
    append_values(section, 2);
    ASSERT_OK(log_->sync(Section(section)));
    ASSERT_LE(log_->open_section_count(), 4u);
  }

  for (uint64_t section = 0; section < 100; ++section)
    EXPECT_EQ(get(section, {20, 20}), pattern(1, 16));
  EXPECT_LE(log_->open_section_count(), 4u);
}

// Rule 6: a failed sync is never retried.
TEST_F(ValueLogTest, GivenAFailedSync_WhenMutatedAgain_ThenTheLogIsPoisonedAndStillReads) {
  testkit::LoggedStorage logged(storage_);
  ASSERT_OK_INTO(log_, try_open(logged));
  const auto locations = append_values(1, 1);
  ASSERT_OK(log_->sync_all());
  append_values(1, 1);

  logged.fail_change(1);  // the write succeeds, its sync does not
  EXPECT_THAT(log_->sync(Section(1)), FailsWith(Errc::io));

  EXPECT_THAT(log_->sync(Section(1)), FailsWith(Errc::poisoned));
  EXPECT_THAT(log_->sync_all(), FailsWith(Errc::poisoned));
  EXPECT_THAT(log_->append(Section(2), pattern(1, 16)), FailsWith(Errc::poisoned));
  EXPECT_THAT(log_->rewind(Section(1), 0), FailsWith(Errc::poisoned));
  EXPECT_THAT(log_->prune(Section(1)), FailsWith(Errc::poisoned));
  EXPECT_THAT(log_->clear(), FailsWith(Errc::poisoned));
  EXPECT_THAT(log_->adopt(Section(1)), FailsWith(Errc::poisoned));
  EXPECT_EQ(get(1, locations[0]), pattern(0, 16));
  log_.reset();
}

// Each of its calls fails with each call to the storage in turn, its sections closed.
TEST_F(ValueLogTest, WhenACallToTheStorageFails_ThenThatIsTold) {
  open_sections_max_ = 1;
  const auto status_of = [](const auto& result) {
    return result ? Status() : Status(std::unexpected(result.error()));
  };
  const Section first(1);
  const std::vector<std::function<Status(RecoveryLog&)>> uses = {
      [&](RecoveryLog&) { return status_of(log_->append(first, pattern(9, 2000))); },
      [&](RecoveryLog&) { return status_of(log_->read(first, {0, 20})); },
      [&](RecoveryLog&) { return status_of(log_->size(first)); },
      [&](RecoveryLog&) { return log_->check(first, {0, 20}); },
      [&](RecoveryLog&) { return log_->sync(first); },
      [&](RecoveryLog&) { return log_->adopt(first); },
      [&](RecoveryLog&) { return log_->rewind(first, 20); },
      [&](RecoveryLog&) { return log_->rewind_section(first, 20); },
      [&](RecoveryLog&) { return status_of(log_->prune(Section(2))); },
      [&](RecoveryLog&) { return log_->remove_section(first); },
      [&](RecoveryLog&) { return log_->clear(); },
      [&](RecoveryLog&) { return log_->destroy(); },
      [&](RecoveryLog& recovery) { return log_->save_before_cut(first, 20, "why", recovery); }};
  for (size_t use = 0; use < uses.size(); ++use) {
    bool failed = true;
    for (uint64_t call = 0; failed; ++call) {
      ASSERT_OK(storage_.remove_partition(kValues));
      ASSERT_OK(storage_.remove_partition(kLostFoundPartition));
      testkit::FailingCalls calls;
      testkit::FailingStorage storage(storage_, calls);
      ASSERT_OK_INTO(log_, try_open(storage));
      for (const uint64_t section : {1u, 2u, 3u}) {
        append_values(section, 3);
        ASSERT_OK(log_->sync_all());
      }
      RecoveryLog recovery(storage, false);

      calls.fail(call);
      const Status outcome = uses[use](recovery);

      failed = calls.failed().has_value();
      SCOPED_TRACE(concat("use ", use, ", call ", call, ": ", calls.failed().value_or("-")));
      EXPECT_GT(call + (failed ? 1 : 0), 0u) << "nothing was called";
      if (failed) {
        EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
      } else {
        EXPECT_OK(outcome);
      }
      log_.reset();
    }
  }
}

TEST_F(ValueLogTest, GivenASmallValue_WhenReadAgain_ThenItComesFromTheCacheButChecksDoNot) {
  reopen();
  const auto locations = append_values(1, 1000);
  ASSERT_OK(log_->sync(Section(1)));
  log_->map_reads();
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(get(1, locations[7]), pattern(7, 16));

  patch_blob(kValues, 1, locations[7].offset, Bytes(100));

  EXPECT_EQ(get(1, locations[7]), pattern(7, 16));
  EXPECT_EQ(get(1, locations[9]), pattern(9, 16));  // of the same block
  EXPECT_THAT(log_->check(Section(1), locations[7]), FailsWith(Errc::corrupt));
}

TEST_F(ValueLogTest, GivenABatchOfReads_WhenSomeAreCached_ThenThoseThatAreRightHaveAValue) {
  reopen();
  const auto locations = append_values(1, 1000);
  ASSERT_OK(log_->sync(Section(1)));
  log_->map_reads();
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(get(1, locations[7]), pattern(7, 16));
  const auto found = [](const ValueLog& log, ValueLocation location) {
    std::optional<Value> value;
    ValueLog::Batch batch(log);
    batch.push(Section(1), location, value);
    batch.finish();
    return value ? to_bytes(value->bytes()) : Bytes();
  };

  EXPECT_EQ(found(*log_, locations[7]), pattern(7, 16));
  EXPECT_EQ(found(*log_, locations[9]), pattern(9, 16)) << "of the same block";
  EXPECT_EQ(found(*log_, locations[300]), Bytes()) << "of another block";
  const auto across = std::ranges::find_if(locations, [](const ValueLocation& location) {
    return location.offset < 4084 && location.offset + location.size_bytes > 4084;
  });
  ASSERT_NE(across, locations.end());
  EXPECT_EQ(found(*log_, *across), Bytes()) << "half of it is of another block";
  for (int i = 0; i < 2; ++i)
    ASSERT_EQ(get(1, locations[300]), pattern(300, 16));
  EXPECT_EQ(found(*log_, *across), pattern(static_cast<uint64_t>(across - locations.begin()), 16));
  EXPECT_EQ(found(*log_, {locations[7].offset + 1, 20}), Bytes()) << "no value begins there";

  compression_level_ = 3;
  ASSERT_OK_INTO(const auto compressed, try_open(storage_));
  EXPECT_EQ(found(*compressed, locations[7]), Bytes());
  compression_level_.reset();
  ValueLogOptions without_cache = options();
  without_cache.cache = nullptr;
  RecoveryLog recovery(storage_, true);
  ASSERT_OK_INTO(const auto uncached, ValueLog::open(storage_, without_cache, recovery));
  EXPECT_EQ(found(*uncached, locations[7]), Bytes());
}

// What a reader is told of the end of a section, see IndexedValueLog.
TEST_F(ValueLogTest, GivenAReader_WhenItsSectionsEndsAreKnown_ThenItReadsUpToThere) {
  reopen();
  const auto locations = append_values(1, 2);
  ASSERT_OK(log_->sync(Section(1)));
  ASSERT_OK_INTO(log_, try_open(storage_, true));
  Result<uint64_t> end = 20;
  const auto follow = [&](Result<uint64_t> told) {
    end = std::move(told);
    log_->follow([&](Section) { return end; });
  };

  follow(20);
  EXPECT_EQ(get(1, locations[0]), pattern(0, 16));
  EXPECT_THAT(get(1, locations[1]), FailsWith(Errc::out_of_range));
  follow(fail(Errc::corrupt, "its entries are damaged"));
  EXPECT_EQ(get(1, locations[1]), pattern(1, 16));
  follow(fail(Errc::io, "its entries cannot be read"));
  EXPECT_THAT(get(1, locations[1]), FailsWith(Errc::io, "its entries cannot be read"));
  log_.reset();
}

TEST_F(ValueLogTest, GivenValuesAcrossBlocks_WhenReadAgain_ThenEachIsWhole) {
  reopen();
  const auto locations = append_values(1, 1000);
  ASSERT_OK(log_->sync(Section(1)));
  log_->map_reads();

  for (int i = 0; i < 3; ++i)
    for (uint64_t k = 0; k < locations.size(); ++k)
      ASSERT_EQ(get(1, locations[k]), pattern(k, 16)) << k;
}

TEST_F(ValueLogTest, GivenAFetchFromAnywhere_WhenReadThen_ThenTheAnswerIsTheSame) {
  reopen();
  const auto locations = append_values(1, 1000);
  ASSERT_OK(log_->sync(Section(1)));
  log_->map_reads();

  for (int i = 0; i < 3; ++i) {
    for (uint64_t k = 0; k < locations.size(); k += 7) {
      for (const uint64_t offset : {locations[k].offset, uint64_t{1} << 37, UINT64_MAX}) {
        log_->fetch(Section(1), offset);
        ASSERT_EQ(get(1, locations[k]), pattern(k, 16)) << k;
      }
    }
  }
  log_->fetch(Section(2), 0);
  EXPECT_EQ(log_->sections().size(), 1u);
  const ValueLocation beyond{locations.back().offset + 20, 20};
  EXPECT_THAT(get(1, beyond), FailsWith(Errc::out_of_range));
}

TEST_F(ValueLogTest, GivenValuesThatMayChange_WhenReadOften_ThenNoneIsCached) {
  reopen();
  const size_t unused = value_cache_.used_bytes();
  const auto locations = append_values(1, 1000);
  ASSERT_OK(log_->sync(Section(1)));
  const auto read_often = [&] {
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(get(1, locations[7]), pattern(7, 16));
  };

  read_often();  // a rewind may follow
  EXPECT_EQ(value_cache_.used_bytes(), unused);
  reopen();
  log_->map_reads();
  const auto unsynced = append_values(2, 1000);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(get(2, unsynced[7]), pattern(7, 16));
  EXPECT_EQ(value_cache_.used_bytes(), unused);

  read_often();
  EXPECT_GT(value_cache_.used_bytes(), unused);
}

TEST_F(ValueLogTest, GivenCachedValues_WhenTheirSectionIsPruned_ThenTheyLeaveTheCache) {
  reopen();
  log_->map_reads();
  const auto locations = append_values(1, 1000);
  ASSERT_OK(log_->sync(Section(1)));
  const auto page = PageCache::cost_bytes(4084);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(get(1, locations[7]), pattern(7, 16));
  const size_t used = value_cache_.used_bytes();

  EXPECT_EQ(log_->prune(Section(2)), 1u);

  EXPECT_EQ(value_cache_.used_bytes(), used - page);
}

TEST_F(ValueLogTest, GivenReadOnly_WhenMutated_ThenItRefusesAndChangesNothing) {
  reopen();
  const auto locations = append_values(1, 2);
  ASSERT_OK(log_->sync_all());
  const auto before = all_blobs();
  log_.reset();
  ASSERT_OK_INTO(log_, try_open(storage_, true));

  EXPECT_THAT(log_->append(Section(1), pattern(1, 16)), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->rewind(Section(1), 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->rewind_section(Section(1), 0), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->remove_section(Section(1)), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->prune(Section(2)), FailsWith(Errc::invalid_argument));
  EXPECT_THAT(log_->destroy(), FailsWith(Errc::invalid_argument));

  EXPECT_EQ(all_blobs(), before);
  EXPECT_EQ(get(1, locations[1]), pattern(1, 16));
}

TEST_F(ValueLogTest, WhenDestroyed_ThenThePartitionIsGone) {
  reopen();
  append_values(1, 1);
  append_values(2, 1);

  ASSERT_OK(log_->destroy());

  EXPECT_TRUE(all_blobs().empty());
  ASSERT_OK_INTO(const auto partitions, storage_.partitions());
  EXPECT_TRUE(partitions.empty());
}

}  // namespace
}  // namespace firn
