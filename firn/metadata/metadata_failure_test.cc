// SPDX-License-Identifier: Apache-2.0
//
// MetadataStore: every call to the storage fails once, reads too. The failure is what is told,
// never damage, absence or an older map; and what was committed is there at the next open.
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "firn/metadata/metadata_salvage.h"
#include "firn/metadata/metadata_test_support.h"
#include "testkit/failing_calls.h"

namespace firn {
namespace {

using testkit::FailingCalls;
using testkit::FailingStorage;
using testkit::FailsWith;

constexpr size_t kHeaderSize = 8;
constexpr size_t kVersionSize = 8;

Result<std::unique_ptr<MetadataStore>> open_metadata(Storage& storage,
                                                     MetadataStoreOptions options = {}) {
  RecoveryLog recovery(storage, options.read_only);
  return MetadataStore::open(storage, options, recovery);
}

Bytes copy_of(const MemoryStorage& memory, std::string_view side) {
  return memory.raw("state", as_bytes(side)).value_or(Bytes());
}

// Commits 1 to `commits`, each with key 1 and a value as long as its number says.
void commit_times(Storage& storage, uint64_t commits) {
  ASSERT_OK_INTO(const auto store, open_metadata(storage));
  for (uint64_t i = 1; i <= commits; ++i) {
    ASSERT_OK(store->put(key_of(1), Bytes(i, std::byte{1})));
    ASSERT_OK(store->sync());
  }
}

// After `commits` of them a power cut took a part of the older copy.
void leave_a_torn_copy(MemoryStorage& memory, uint64_t commits) {
  commit_times(memory, commits);
  const std::string_view older = commits % 2 == 0 ? "right" : "left";
  Bytes torn = copy_of(memory, older);
  torn.back() ^= std::byte{1};
  memory.set_raw("state", as_bytes(older), torn);
}

struct FailingScript {
  std::string name;
  std::function<void(MemoryStorage&)> prepare;
  std::function<Status(Storage&)> run;
  size_t committed_size = 0;  // of the value before the script; 0: none
};

// The script, failing at each of its calls in turn.
void run_failing(const FailingScript& script, FailingCalls::Repeat repeat) {
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    FailingCalls calls;
    FailingStorage storage(memory, calls);
    script.prepare(memory);
    calls.fail(call, Errc::io, repeat);
    const Status outcome = script.run(storage);
    SCOPED_TRACE(concat(script.name, repeat == FailingCalls::Repeat::once ? "" : ", for ever",
                        ", call ", call, ": ", calls.failed().value_or("-")));
    if (!calls.failed()) {
      EXPECT_OK(outcome);
      EXPECT_GT(call, 0u) << "nothing was called";
      return;
    }
    EXPECT_THAT(outcome, FailsWith(Errc::io, "the test made this call fail"));
    ASSERT_OK_INTO(const auto store, open_metadata(memory));
    const auto value = store->get(key_of(1));
    EXPECT_GE(value ? value->size() : 0, script.committed_size);
    EXPECT_OK(store->put(key_of(9), as_bytes("later")));
    EXPECT_OK(store->sync());
    if (testing::Test::HasFailure()) return;
  }
}

void run_failing(const FailingScript& script) {
  run_failing(script, FailingCalls::Repeat::once);
  run_failing(script, FailingCalls::Repeat::for_ever);
}

Status commit_once(Storage& storage) {
  TRY_INTO(const auto store, open_metadata(storage));
  TRY(store->put(key_of(2), as_bytes("two")));
  return store->sync();
}

TEST(MetadataFailure, WhenAnyCallFails_ThenThatIsToldAndWhatWasCommittedStays) {
  const auto commits = [](uint64_t count) {
    return [count](MemoryStorage& memory) { commit_times(memory, count); };
  };
  const auto open_with = [](const auto& change) {
    return [change](Storage& storage) -> Status {
      MetadataStoreOptions options;
      change(options);
      TRY(open_metadata(storage, options));
      return {};
    };
  };
  const auto lose_the_version = [](MemoryStorage& memory) {
    commit_times(memory, 1);
    Bytes first = copy_of(memory, "right");
    std::fill_n(first.begin() + kHeaderSize, kVersionSize, std::byte{0});
    memory.set_raw("state", as_bytes("right"), first);
  };
  const auto break_a_header = [](MemoryStorage& memory) {
    commit_times(memory, 2);
    Bytes older = copy_of(memory, "right");
    older[0] ^= std::byte{1};
    memory.set_raw("state", as_bytes("right"), older);
  };
  for (const FailingScript& script : std::vector<FailingScript>{
           {"a new store", [](MemoryStorage&) {}, commit_once},
           {"the second commit", commits(1), commit_once, 1},
           {"later commits", commits(3), commit_once, 3},
           {"a first commit without its version", lose_the_version, commit_once, 1},
           {"a copy with a damaged header", break_a_header, commit_once, 2},
           {"a torn copy", [](MemoryStorage& memory) { leave_a_torn_copy(memory, 3); }, commit_once,
            3},
           {"opening for reading", commits(2),
            open_with([](MetadataStoreOptions& options) { options.read_only = true; }), 2},
           {"a strict open", commits(2),
            open_with([](MetadataStoreOptions& options) { options.strict = true; }), 2},
           {"following", commits(2),
            [](Storage& storage) -> Status {
              MetadataStoreOptions options;
              options.read_only = true;
              TRY_INTO(const auto store, open_metadata(storage, options));
              TRY(store->refresh());
              return {};
            },
            2},
           {"removing", commits(2),
            [](Storage& storage) -> Status {
              TRY_INTO(const auto store, open_metadata(storage));
              TRY(store->put(key_of(2), as_bytes("two")));
              TRY(store->sync());
              TRY(store->remove(key_of(2)));
              return store->sync();
            },
            2},
           {"both copies", commits(2),
            [](Storage& storage) -> Status {
              TRY_INTO(const auto store, open_metadata(storage));
              TRY(store->put(key_of(1), Bytes(3, std::byte{1})));
              return store->sync_both();
            },
            2},
           {"a shorter image", commits(2), [](Storage& storage) -> Status {
              TRY_INTO(const auto store, open_metadata(storage));
              TRY(store->clear());
              return store->sync();
            }}})
    run_failing(script);
}

class MetadataRefusals : public MetadataStoreTest {
 protected:
  // Changes the open store's blob behind its back.
  void cut_copy(std::string_view side) {
    Bytes content = copy_of(memory_, side);
    content.pop_back();
    memory_.set_raw("state", as_bytes(side), content);
  }
};

TEST_F(MetadataRefusals, GivenAReader_WhenItIsToChange_ThenRefused) {
  leave_a_torn_copy(memory_, 2);
  options_.read_only = true;
  reopen();

  const ByteSpan value = as_bytes("x");
  EXPECT_THAT(store_->put(key_of(1), value), FailsWith(Errc::invalid_argument, "read-only"));
  EXPECT_THAT(store_->compare_and_set(key_of(1), std::nullopt, value),
              FailsWith(Errc::invalid_argument, "read-only"));
  EXPECT_THAT(store_->clear(), FailsWith(Errc::invalid_argument, "read-only"));
  EXPECT_THAT(store_->sync(), FailsWith(Errc::invalid_argument, "read-only"))
      << "a copy is torn, so that there is something to write";
  EXPECT_THAT(store_->sync_both(), FailsWith(Errc::invalid_argument, "read-only"));
}

TEST_F(MetadataRefusals, GivenABlobThatWasCutFromOutside_WhenOverwrittenInPlace_ThenTold) {
  reopen();
  put(1, "aa");
  sync();
  put(1, "bb");
  sync();
  put(1, "cc");
  cut_copy("right");

  EXPECT_THAT(store_->sync(), FailsWith(Errc::corrupt, "it was changed from outside"));
  EXPECT_THAT(store_->sync(), FailsWith(Errc::poisoned));
  reopen();
  EXPECT_EQ(get(1), "bb");
}

TEST_F(MetadataRefusals, GivenAPrefixLongerThanTheKeys_WhenVisited_ThenNothingMatches) {
  reopen();
  put(1, "one");

  store_->for_each_with_prefix(Bytes(9), [](ByteSpan, ByteSpan) { FAIL(); });
}

TEST_F(MetadataRefusals, GivenAnAcknowledgedCommit_WhenBothCopiesAreGone_ThenCorruptNotEmpty) {
  options_.has_commit = true;
  for (const bool read_only : {false, true}) {
    options_.read_only = read_only;
    RecoveryLog recovery(memory_, read_only);
    EXPECT_THAT(MetadataStore::open(memory_, options_, recovery),
                FailsWith(Errc::corrupt, "although a commit was acknowledged"));
  }
}

TEST_F(MetadataRefusals, GivenTheFirstCommitOnTheOtherSide_WhenReopened_ThenUsedAndTold) {
  reopen();
  put(1, "one");
  sync();
  store_.reset();
  for (const bool is_empty : {false, true}) {
    const Bytes first = copy_of(memory_, is_empty ? "left" : "right");
    const Bytes name = to_bytes(as_bytes("right"));
    ASSERT_OK(memory_.remove("state", std::span(&name, 1)));
    memory_.set_raw("state", as_bytes("left"), first);
    if (is_empty)
      memory_.set_raw("state", as_bytes("right"), Bytes(first.begin(), first.begin() + 8));

    MetadataStoreOptions options;
    options.read_only = true;
    RecoveryLog recovery(memory_, true);
    ASSERT_OK_INTO(const auto store, MetadataStore::open(memory_, options, recovery));
    EXPECT_EQ(store->get(key_of(1)), to_bytes(as_bytes("one")));
    ASSERT_EQ(recovery.report().damage.size(), 1u);
    EXPECT_THAT(recovery.report().damage[0].reason,
                testing::HasSubstr(is_empty ? "it has no content" : "it is missing"));
  }
}

TEST_F(MetadataRefusals, GivenAFirstCommitThatIsNoneAtAll_WhenOpened_ThenCorrupt) {
  reopen();
  store_.reset();
  Bytes stub = copy_of(memory_, "right");
  for (const std::byte fill : {std::byte{0}, std::byte{7}}) {
    stub.resize(kHeaderSize);
    stub.resize(kHeaderSize + 4, fill);
    memory_.set_raw("state", as_bytes("right"), stub);

    RecoveryLog recovery(memory_, true);
    const auto opened = MetadataStore::open(memory_, options_, recovery);
    if (fill == std::byte{0})
      EXPECT_OK(opened) << "a first commit that was cut off";
    else
      EXPECT_THAT(opened, FailsWith(Errc::corrupt, "no copy of the metadata is readable"));
  }
}

TEST_F(MetadataRefusals, GivenAnotherKeyInEachCopy_WhenReopenedAndCommitted_ThenTheNewestMapStays) {
  reopen();
  put(1, "one");
  sync();
  remove(1);
  put(2, "two");
  sync();

  reopen();
  EXPECT_EQ(keys(), std::vector<uint64_t>{2});
  put(2, "six");
  sync();
  reopen();
  EXPECT_EQ(get(2), "six");
  EXPECT_EQ(get(1), std::nullopt);
}

TEST_F(MetadataRefusals, GivenValuesThatDelimitThemselvesOtherwise_WhenOpened_ThenCorrupt) {
  options_.self_delimiting = [](ByteSpan bytes) { return std::optional<size_t>(bytes.size()); };
  reopen();
  put(1, "one");
  sync();
  store_.reset();
  const std::vector<std::function<std::optional<size_t>(ByteSpan)>> other = {
      [](ByteSpan) { return std::optional<size_t>(); },
      [](ByteSpan bytes) { return std::optional<size_t>(bytes.size() + 1); }};
  for (const auto& delimiting : other) {
    options_.self_delimiting = delimiting;
    RecoveryLog recovery(memory_, true);
    EXPECT_THAT(MetadataStore::open(memory_, options_, recovery),
                FailsWith(Errc::corrupt, "a value does not decode"));
  }
}

// A blob that claims to be larger than any, and one whose reads fail.
class OddStorage : public testkit::ForwardingStorage {
 public:
  using ForwardingStorage::ForwardingStorage;
  uint64_t claimed_size = 0;          // above 0: instead of the size
  std::optional<Errc> failure;        // of reads
  bool fails_each_read_anew = false;  // with a message of its own

 private:
  class OddBlob : public testkit::ForwardingBlob {
   public:
    OddBlob(std::unique_ptr<Blob> inner, OddStorage& storage)
        : ForwardingBlob(std::move(inner)), storage_(storage) {}
    [[nodiscard]] uint64_t size() const override {
      return storage_.claimed_size > 0 ? storage_.claimed_size : ForwardingBlob::size();
    }
    Status read_at(uint64_t offset, MutableByteSpan out) override {
      if (!storage_.failure) return ForwardingBlob::read_at(offset, out);
      if (storage_.fails_each_read_anew) ++storage_.reads_;
      return fail(*storage_.failure, concat("read ", storage_.reads_));
    }

   private:
    OddStorage& storage_;
  };
  std::unique_ptr<Blob> wrap(std::unique_ptr<Blob> blob, std::string_view, ByteSpan) override {
    return std::make_unique<OddBlob>(std::move(blob), *this);
  }
  uint64_t reads_ = 0;
};

TEST(MetadataReads, GivenABlobLargerThanAnyImage_WhenOpened_ThenCorruptAndNothingIsRead) {
  MemoryStorage memory;
  commit_times(memory, 2);
  OddStorage storage(memory);
  storage.claimed_size = (uint64_t{1} << 30) + 1;

  EXPECT_THAT(open_metadata(storage), FailsWith(Errc::corrupt, "at most 1073741824 expected"));

  SalvageObserver observer;
  std::vector<std::string> losses;
  observer.on_loss = [&](const SalvageLoss& loss) {
    losses.push_back(loss.range.reason);
    return Status();
  };
  SalvageLog log(observer);
  ASSERT_OK_INTO(const auto salvaged, salvage_metadata(storage, {}, log));
  EXPECT_TRUE(salvaged.pairs.empty());
  EXPECT_THAT(losses, testing::Each(testing::HasSubstr("at most 1073741824 expected")));
}

TEST(MetadataReads,
     GivenAReader_WhenACopyCannotBeRead_ThenAnIoErrorIsOneAndAnotherIsAWriterAtWork) {
  MemoryStorage memory;
  commit_times(memory, 2);
  OddStorage storage(memory);
  MetadataStoreOptions reader;
  reader.read_only = true;
  for (const bool anew : {false, true}) {
    storage.fails_each_read_anew = anew;
    for (const Errc code : {Errc::out_of_range, Errc::corrupt}) {
      storage.failure = code;
      EXPECT_THAT(open_metadata(storage, reader),
                  FailsWith(Errc::corrupt, "no copy of the metadata is readable"));
      EXPECT_THAT(open_metadata(storage), FailsWith(code)) << "a writer is alone";
    }
    storage.failure = Errc::io;
    EXPECT_THAT(open_metadata(storage, reader), FailsWith(Errc::io));
  }
}

// ---- salvage

struct MetadataRescue {
  std::optional<SalvagedMap> map;
  std::vector<std::string> losses;
  Status outcome;
};

// `failing_loss`: the observer's answer to the loss with this number.
MetadataRescue rescue(Storage& storage, size_t failing_loss = SIZE_MAX) {
  MetadataRescue rescued;
  SalvageObserver observer;
  observer.on_loss = [&](const SalvageLoss& loss) -> Status {
    rescued.losses.push_back(loss.range.reason);
    if (rescued.losses.size() == failing_loss + 1) return fail(Errc::no_space, "the list is full");
    return {};
  };
  SalvageLog log(observer);
  auto map = salvage_metadata(storage, {}, log);
  if (map)
    rescued.map = std::move(*map);
  else
    rescued.outcome = pass_on(map);
  return rescued;
}

TEST(MetadataSalvageFailure, WhenACallFails_ThenTheOtherCopyServesAndThatIsTold) {
  for (uint64_t call = 0;; ++call) {
    MemoryStorage memory;
    commit_times(memory, 2);
    FailingCalls calls;
    FailingStorage storage(memory, calls);
    calls.fail(call);
    const MetadataRescue rescued = rescue(storage);
    ASSERT_TRUE(rescued.map.has_value());
    ASSERT_EQ(rescued.map->pairs.size(), 1u);
    if (!calls.failed()) {
      EXPECT_TRUE(rescued.losses.empty());
      EXPECT_EQ(rescued.map->version, 2u);
      return;
    }
    EXPECT_THAT(rescued.losses, testing::Contains(testing::HasSubstr("made this call fail")));
  }
}

TEST(MetadataSalvageFailure, WhenALossCannotBeListed_ThenSalvageEnds) {
  const auto damage = [](std::string_view side, size_t offset) {
    return [=](MemoryStorage& memory) {
      Bytes copy = copy_of(memory, side);
      copy.at(offset) ^= std::byte{1};
      memory.set_raw("state", as_bytes(side), copy);
    };
  };
  const auto remove_left = [](MemoryStorage& memory) {
    const Bytes name = to_bytes(as_bytes("left"));
    EXPECT_OK(memory.remove("state", std::span(&name, 1)));
  };
  const std::vector<std::function<void(MemoryStorage&)>> damages = {
      damage("left", 0), damage("right", 0), damage("left", 30), damage("right", 30), remove_left};
  for (const auto& change : damages) {
    for (size_t loss = 0;; ++loss) {
      MemoryStorage memory;
      commit_times(memory, 3);
      change(memory);
      const MetadataRescue rescued = rescue(memory, loss);
      if (rescued.losses.size() <= loss) {
        EXPECT_GT(loss, 0u) << "nothing was lost";
        EXPECT_OK(rescued.outcome);
        break;
      }
      EXPECT_THAT(rescued.outcome, FailsWith(Errc::no_space, "the list is full"));
    }
  }
}

TEST(MetadataSalvageFailure, GivenAFirstCommitWithoutItsVersion_WhenSalvaged_ThenItIsTheFirst) {
  MemoryStorage memory;
  commit_times(memory, 1);
  Bytes first = copy_of(memory, "right");
  std::fill_n(first.begin() + kHeaderSize, kVersionSize, std::byte{0});
  memory.set_raw("state", as_bytes("right"), first);

  const MetadataRescue rescued = rescue(memory);
  ASSERT_TRUE(rescued.map.has_value());
  EXPECT_EQ(rescued.map->version, 1u);
  EXPECT_EQ(rescued.map->pairs.size(), 1u);
}

}  // namespace
}  // namespace firn
