// SPDX-License-Identifier: Apache-2.0
//
// PagedBlob: every call to its blob fails once, reads too; and what opening refuses.
#include <functional>
#include <string>
#include <vector>

#include "firn/io/page_scan.h"
#include "testkit/failing_calls.h"
#include "testkit/paged_blob_fixture.h"

namespace firn {
namespace {

using testkit::FailingCalls;
using testkit::FailingStorage;
using testkit::FailsWith;
using testkit::letters;

constexpr uint32_t kPage = 16;
constexpr uint64_t kPhysical = 28;
constexpr uint64_t kSynced = 40;

// A paged blob "p/6e" whose calls can be made to fail.
struct FailingBlobStore {
  MemoryStorage memory;
  FailingCalls calls;
  FailingStorage storage{memory, calls};
  PageCache cache{0};
  PagedBlobOptions options{
      .partition = "p", .blob_name = "6e", .page_size = kPage, .cache = &cache};
  bool read_only = false;
  RecoveryReport report;
  std::unique_ptr<PagedBlob> paged;

  Status open() {
    paged.reset();
    options.write_buffer_bytes = 0;
    RecoveryLog recovery(storage, read_only);
    TRY_INTO(auto blob, storage.open("p", as_bytes("n"),
                                     read_only ? OpenMode::read_only : OpenMode::create, {}));
    auto opened = PagedBlob::open(std::move(blob), options, recovery);
    report = recovery.report();
    TRY_INTO(paged, std::move(opened));
    return {};
  }
  Bytes raw() const { return memory.raw("p", as_bytes("n")).value_or(Bytes()); }
  void set_raw(Bytes content) { memory.set_raw("p", as_bytes("n"), std::move(content)); }
  void resize_raw(size_t size) {
    Bytes content = raw();
    content.resize(size);
    set_raw(content);
  }
  void flip(size_t offset) {
    Bytes content = raw();
    content.at(8 + offset) ^= std::byte{0xFF};
    set_raw(content);
  }
  // Synced: 40 bytes, the last page of which has 8.
  void fill() {
    ASSERT_OK(open());
    ASSERT_OK(paged->append(as_bytes(letters(37))));
    ASSERT_OK(paged->sync());
    ASSERT_OK(paged->append(as_bytes(letters(kSynced).substr(37))));
    ASSERT_OK(paged->sync());
  }
};

struct BlobScript {
  std::string name;
  std::function<void(FailingBlobStore&)> prepare;
  std::function<Status(FailingBlobStore&)> run;
  uint64_t kept = kSynced;
};

void fail_each_blob_call(const BlobScript& script) {
  for (uint64_t call = 0;; ++call) {
    FailingBlobStore store;
    store.fill();
    script.prepare(store);
    store.calls.fail(call);
    const Status outcome = script.run(store);
    SCOPED_TRACE(concat(script.name, ", call ", call, ": ", store.calls.failed().value_or("-")));
    if (!store.calls.failed()) {
      EXPECT_OK(outcome);
      EXPECT_GT(call, 0u) << "nothing was called";
      return;
    }
    EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
    store.options = {
        .partition = "p", .blob_name = "6e", .page_size = kPage, .cache = &store.cache};
    store.read_only = false;
    ASSERT_OK(store.open());
    ASSERT_GE(store.paged->size(), script.kept);
    Bytes front(script.kept);
    EXPECT_OK(store.paged->read_at(0, front));
    EXPECT_EQ(as_text(front), letters(kSynced).substr(0, script.kept));
    if (testing::Test::HasFailure()) return;
  }
}

void change_nothing(FailingBlobStore&) {}
Status open_blob(FailingBlobStore& store) {
  return store.open();
}

TEST(PagedBlobCalls, WhenAnyCallOfAnOpeningFails_ThenThatIsToldAndDurableBytesStay) {
  const auto add_pages = [](FailingBlobStore& store) {
    Bytes longer = store.raw();
    longer.resize(longer.size() + 40);
    store.set_raw(longer);
  };
  const auto tear_everything = [](FailingBlobStore& store) {
    store.resize_raw(8 + kPhysical);
    store.flip(0);
  };
  const auto spoil_longer_record = [](FailingBlobStore& store) {
    store.flip(2 * kPhysical + 6);  // the page has records of 5 and of 8 bytes
  };
  const auto with_floor = [](uint64_t floor, const auto& prepare) {
    return [=](FailingBlobStore& store) {
      prepare(store);
      store.options.floor = floor;
    };
  };
  for (const BlobScript& script : std::vector<BlobScript>{
           {"open, floor unknown", change_nothing, open_blob},
           {"open, bytes follow, floor unknown", add_pages, open_blob},
           {"open, bytes follow", with_floor(20, add_pages), open_blob},
           {"open, no page is valid", tear_everything, open_blob, 0},
           {"open, the longer record is invalid", spoil_longer_record, open_blob, 37},
           {"open at the floor", with_floor(kSynced, change_nothing),
            [](FailingBlobStore& store) {
              store.read_only = true;
              store.options.ends_at_floor = true;
              return store.open();
            }},
           {"a fraction of a record", change_nothing,
            [](FailingBlobStore& store) {
              store.options.record_size = 7;
              return store.open();
            },
            35},
           {"a fraction of a record, only read", change_nothing, [](FailingBlobStore& store) {
              store.read_only = true;
              store.options.record_size = 21;
              return store.open();
            }}})
    fail_each_blob_call(script);
}

TEST(PagedBlobCalls, WhenAnyCallFails_ThenThatIsToldAndDurableBytesStay) {
  const auto write = [](FailingBlobStore& store) -> Status {
    TRY(store.open());
    TRY(store.paged->append(as_bytes(letters(100).substr(kSynced, 1))));
    TRY(store.paged->sync());
    TRY(store.paged->append(as_bytes(letters(100).substr(kSynced + 1))));
    TRY(store.paged->sync());
    return store.paged->append(as_bytes(letters(100)));
  };
  const auto cut_to = [](uint64_t size) {
    return [size](FailingBlobStore& store) -> Status {
      TRY(store.open());
      return store.paged->truncate(size);
    };
  };
  const auto read = [](FailingBlobStore& store) -> Status {
    TRY(store.open());
    Bytes all(store.paged->size());
    TRY(store.paged->read_at(0, all));
    TRY(store.paged->read_sequential(0, all));
    RecoveryLog findings(store.storage, true);
    return store.paged->verify(findings);
  };
  for (const BlobScript& script :
       std::vector<BlobScript>{{"writes", change_nothing, write},
                               {"a cut in the last page", change_nothing, cut_to(38), 38},
                               {"a cut in an earlier page", change_nothing, cut_to(20), 20},
                               {"a cut between pages", change_nothing, cut_to(32), 32},
                               {"reads", change_nothing, read}})
    fail_each_blob_call(script);
}

// Verify reads it once more.
TEST(PagedBlobCalls, GivenALastPageThatLooksDamaged_WhenItsReadsFail_ThenThatIsToldAndNotDamage) {
  for (uint64_t call = 0; call < 2; ++call) {
    FailingBlobStore store;
    store.fill();
    ASSERT_OK(store.open());
    store.flip(2 * kPhysical);
    store.calls.fail(call);
    RecoveryLog findings(store.memory, true);
    EXPECT_THAT(store.paged->verify(findings), FailsWith(Errc::io));
    EXPECT_TRUE(findings.report().damage.empty());
  }
}

TEST(PagedBlobCalls, GivenAFailedSync_WhenUsedOn_ThenEveryChangeIsPoisonedAndReadsGoOn) {
  FailingBlobStore store;
  store.fill();
  ASSERT_OK(store.paged->append(as_bytes("x")));
  store.calls.fail(0);

  EXPECT_THAT(store.paged->sync(), FailsWith(Errc::io));
  EXPECT_THAT(store.paged->append(as_bytes("y")), FailsWith(Errc::poisoned, "p/6e"));
  EXPECT_THAT(store.paged->sync(), FailsWith(Errc::poisoned));
  EXPECT_THAT(store.paged->truncate(1), FailsWith(Errc::poisoned));
  Bytes front(kSynced);
  EXPECT_OK(store.paged->read_at(0, front));
  EXPECT_EQ(as_text(front), letters(kSynced));
}

TEST(PagedBlobCalls, GivenMoreBytesThanAStreamCanHold_WhenAppended_ThenRefused) {
  FailingBlobStore store;
  store.fill();
  const std::byte one{1};

  EXPECT_THAT(store.paged->append(ByteSpan(&one, SIZE_MAX / 2)),
              FailsWith(Errc::invalid_argument, "exceeds the largest stream"));
  EXPECT_OK(store.paged->append(ByteSpan(&one, 1)));
}

TEST(PagedBlobCalls, GivenOptionsThatMissSomething_WhenOpened_ThenRefused) {
  FailingBlobStore store;
  store.options.ends_at_floor = true;
  EXPECT_THAT(store.open(), FailsWith(Errc::invalid_argument, "ends at its floor needs one"));
  store.options.floor = 0;
  EXPECT_OK(store.open());
  store.options.cache = nullptr;
  EXPECT_THAT(store.open(), FailsWith(Errc::invalid_argument, "needs a page cache"));
}

TEST(PagedBlobCalls, GivenAReaderAtAFloor_WhenTheBlobDoesNotHoldIt_ThenCorrupt) {
  for (const bool at_floor : {false, true}) {
    FailingBlobStore store;
    store.fill();
    store.read_only = true;
    store.options.ends_at_floor = at_floor;
    const auto opened_at = [&](uint64_t floor) {
      store.options.floor = floor;
      return store.open();
    };
    EXPECT_OK(opened_at(0));
    EXPECT_OK(opened_at(32));
    EXPECT_EQ(store.paged->size(), at_floor ? 32u : kSynced);
    EXPECT_OK(opened_at(kSynced));
    EXPECT_THAT(opened_at(kSynced + 1), FailsWith(Errc::corrupt, "found 8 valid bytes"));
    EXPECT_THAT(opened_at(49), FailsWith(Errc::corrupt, "which take 4 pages"));
    store.flip(2 * kPhysical);
    EXPECT_THAT(opened_at(kSynced), FailsWith(Errc::corrupt, "expects checksum"));
  }
}

TEST(PagedBlobCalls, GivenAnotherPageSize_WhenOpened_ThenTheFittingOneIsNamed) {
  for (const size_t tail : {size_t{0}, size_t{5}}) {
    for (const std::optional<uint64_t> floor :
         {std::optional<uint64_t>(), std::optional<uint64_t>(9), std::optional<uint64_t>(900)}) {
      FailingBlobStore store;
      store.options.page_size = 20;
      ASSERT_OK(store.open());
      ASSERT_OK(store.paged->append(as_bytes(letters(9))));
      ASSERT_OK(store.paged->sync());
      store.resize_raw(store.raw().size() + tail);
      store.options.page_size = 21;
      store.options.floor = floor;

      const Bytes before = store.raw();
      EXPECT_THAT(store.open(), FailsWith(Errc::invalid_argument, "is valid with page size"));
      EXPECT_EQ(store.raw(), before);
    }
  }
}

TEST(PagedBlobCalls, GivenAFileThatLostItsEnd_WhenVerified_ThenTheMissingPagesAreNamed) {
  FailingBlobStore store;
  store.fill();
  store.resize_raw(8 + kPhysical + 3);
  RecoveryLog findings(store.memory, true);

  EXPECT_OK(store.paged->verify(findings));
  ASSERT_EQ(findings.report().damage.size(), 1u);
  EXPECT_THAT(findings.report().damage[0].reason, testing::HasSubstr("pages 1 to 2 are missing"));
  EXPECT_EQ(findings.report().damage[0].offset, kPhysical);
  EXPECT_THAT(
      io::read_page_run(*store.storage.open("p", as_bytes("n"), OpenMode::read_only, {}).value(), 1,
                        2, kPhysical, "it"),
      FailsWith(Errc::corrupt, "it: pages 1 to 2 must be on disk"));
}

TEST(PagedBlobCalls, WhenAskedWhatToWantOfTheCache_ThenWhatIsBelowTheTip) {
  FailingBlobStore store;
  store.fill();
  constexpr uint32_t kSize = 4;
  const auto is_wanted = [&](uint64_t offset) {
    const PageCache::Wanted wanted = store.paged->wanted(offset, kSize);
    if (wanted.size_bytes == 0) return false;
    EXPECT_EQ(wanted.offset(), offset);
    EXPECT_EQ(wanted.size_bytes, kSize);
    return true;
  };

  EXPECT_TRUE(is_wanted(0));
  EXPECT_TRUE(is_wanted(kPage - 4));
  EXPECT_TRUE(is_wanted(kPage - 3)) << "two pages";
  EXPECT_FALSE(is_wanted(2 * kPage - 3)) << "into the tip";
  EXPECT_FALSE(is_wanted(2 * kPage)) << "the tip";
  EXPECT_FALSE(is_wanted(UINT64_MAX));
}

}  // namespace
}  // namespace firn
