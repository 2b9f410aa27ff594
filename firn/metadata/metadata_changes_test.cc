// SPDX-License-Identifier: Apache-2.0
//
// Batches, comparisons and limits of MetadataStore: a change happens as a whole or not at all.
#include <map>

#include "firn/base/random.h"
#include "firn/metadata/metadata_test_support.h"

namespace firn {
namespace {

using testkit::FailsWith;

class MetadataChangesTest : public MetadataStoreTest {
 protected:
  // Whether the value was set.
  bool compare_and_set(uint64_t key, std::optional<std::string_view> expected,
                       std::optional<std::string_view> desired) {
    const auto bytes = [](std::optional<std::string_view> text) {
      return text ? std::optional<ByteSpan>(as_bytes(*text)) : std::nullopt;
    };
    const auto compared = store_->compare_and_set(key_of(key), bytes(expected), bytes(desired));
    EXPECT_OK(compared);
    return compared && *compared == MetadataStore::Comparison::equal;
  }
};

TEST_F(MetadataChangesTest, GivenABatch_WhenAppliedAndSynced_ThenAllOfItIsThere) {
  reopen();
  put(1, "one");
  put(2, "two");
  MetadataBatch batch;
  batch.put(key_of(2), as_bytes("TWO"));
  batch.remove(key_of(1));
  batch.remove(key_of(9));
  batch.put(key_of(3), as_bytes("three"));

  ASSERT_OK(store_->apply(batch));

  EXPECT_EQ(keys(), (std::vector<uint64_t>{2, 3}));
  sync();
  reopen();
  EXPECT_EQ(get(1), std::nullopt);
  EXPECT_EQ(get(2), "TWO");
  EXPECT_EQ(get(3), "three");
}

TEST_F(MetadataChangesTest, GivenSeveralChangesOfAKey_WhenApplied_ThenTheLastCounts) {
  reopen();
  put(1, "old");
  ASSERT_OK(store_->sync_both());
  storage_.clear_log();
  MetadataBatch batch;
  batch.put(key_of(1), as_bytes("a longer value"));
  batch.remove(key_of(1));
  batch.put(key_of(1), as_bytes("new"));
  batch.put(key_of(2), as_bytes("gone"));
  batch.remove(key_of(2));

  ASSERT_OK(store_->apply(batch));
  sync();

  EXPECT_EQ(get(1), "new");
  EXPECT_EQ(get(2), std::nullopt);
  EXPECT_EQ(counts(), "2/1/1") << "nothing but a value of the same size has changed";
}

TEST_F(MetadataChangesTest, GivenOneWrongChange_WhenBatchApplied_ThenNothingChanges) {
  options_.value_size_max_bytes = 100;
  reopen();
  put(1, "one");
  ASSERT_OK(store_->sync_both());
  storage_.clear_log();
  MetadataBatch long_value;
  long_value.remove(key_of(1));
  long_value.put(key_of(2), Bytes(101));
  MetadataBatch wrong_key;
  wrong_key.put(key_of(1), as_bytes("other"));
  wrong_key.remove(Bytes(9));

  EXPECT_THAT(store_->apply(long_value), FailsWith(Errc::invalid_argument, "limit is 100"));
  EXPECT_THAT(store_->apply(wrong_key), FailsWith(Errc::invalid_argument, "keys have 8"));

  EXPECT_EQ(get(1), "one");
  EXPECT_EQ(keys(), std::vector<uint64_t>{1});
  sync();
  EXPECT_THAT(storage_.log(), testing::IsEmpty()) << "there is nothing to write";
}

TEST_F(MetadataChangesTest, GivenAnImageAtItsLimit_WhenABatchWouldGrowIt_ThenNothingChanges) {
  reopen();
  constexpr uint64_t kLimit = 1u << 30;
  const std::string value(16u << 20, 'x');  // the largest; 12 bytes more with key and length
  for (uint64_t key = 10; key < 73; ++key)
    put(key, value);
  const uint64_t left = kLimit - store_->statistics().image_bytes;
  put(1, std::string_view(value).substr(0, left - 12 - uint64_t{2} * (8 + 1)));
  MetadataBatch fits;
  fits.put(key_of(2), {});
  fits.put(key_of(3), {});
  MetadataBatch grows;
  grows.remove(key_of(2));
  grows.put(key_of(3), as_bytes("y"));
  grows.put(key_of(4), {});

  ASSERT_OK(store_->apply(fits));
  EXPECT_EQ(store_->statistics().image_bytes, kLimit);
  EXPECT_THAT(store_->apply(grows), FailsWith(Errc::invalid_argument, "would grow to 1073741825"));

  EXPECT_EQ(store_->statistics().keys, 66u);
  EXPECT_EQ(get(2), "");
  EXPECT_EQ(get(3), "");
}

TEST_F(MetadataChangesTest, GivenWrongArguments_WhenPut_ThenRefusedAndNothingChanges) {
  options_.value_size_max_bytes = 100;
  reopen();
  put(1, "one");

  EXPECT_OK(store_->put(key_of(1), Bytes(100)));
  EXPECT_THAT(store_->put(key_of(2), Bytes(101)),
              FailsWith(Errc::invalid_argument, "limit is 100"));
  EXPECT_THAT(store_->put(Bytes(7), Bytes(1)), FailsWith(Errc::invalid_argument, "keys have 8"));
  EXPECT_THAT(store_->remove(Bytes(9)), FailsWith(Errc::invalid_argument, "keys have 8"));
  EXPECT_THAT(store_->compare_and_set(Bytes(9), std::nullopt, std::nullopt),
              FailsWith(Errc::invalid_argument, "keys have 8"));
  EXPECT_THAT(store_->compare_and_set(key_of(2), std::nullopt, ByteSpan(Bytes(101))),
              FailsWith(Errc::invalid_argument, "limit is 100"));

  EXPECT_OK(store_->sync());
  EXPECT_EQ(keys(), std::vector<uint64_t>{1});
}

TEST_F(MetadataChangesTest, GivenAKeySize_WhenOpened_ThenItIsBounded) {
  for (const uint32_t size : {0u, kMetadataKeySizeMaxBytes + 1}) {
    options_.key_size_bytes = size;
    RecoveryLog log(storage_, false);
    EXPECT_THAT(MetadataStore::open(storage_, options_, log),
                FailsWith(Errc::invalid_argument, "1 to 1024"));
  }
  options_.key_size_bytes = kMetadataKeySizeMaxBytes;
  reopen();
  EXPECT_OK(store_->put(Bytes(kMetadataKeySizeMaxBytes), as_bytes("v")));
}

TEST_F(MetadataChangesTest, GivenAValue_WhenComparedAndSet_ThenOnlyTheExpectedOneIsReplaced) {
  reopen();

  EXPECT_FALSE(compare_and_set(1, "absent", "x"));
  EXPECT_FALSE(compare_and_set(1, "", "x")) << "an empty value is not an absent one";
  EXPECT_TRUE(compare_and_set(1, std::nullopt, "one"));
  EXPECT_FALSE(compare_and_set(1, std::nullopt, "x"));
  EXPECT_FALSE(compare_and_set(1, "on", "x"));
  EXPECT_EQ(get(1), "one");
  EXPECT_TRUE(compare_and_set(1, "one", "two"));
  EXPECT_EQ(get(1), "two");
  EXPECT_FALSE(compare_and_set(1, "one", std::nullopt));
  EXPECT_TRUE(compare_and_set(1, "two", std::nullopt));
  EXPECT_EQ(get(1), std::nullopt);
  EXPECT_TRUE(compare_and_set(1, std::nullopt, std::nullopt));

  EXPECT_TRUE(compare_and_set(2, std::nullopt, "kept"));
  sync();
  reopen();
  EXPECT_EQ(get(2), "kept");
}

TEST_F(MetadataChangesTest, GivenAComparisonThatFails_WhenSynced_ThenNothingIsWritten) {
  reopen();
  put(1, "one");
  ASSERT_OK(store_->sync_both());
  storage_.clear_log();

  EXPECT_FALSE(compare_and_set(1, "two", "three"));
  sync();

  EXPECT_THAT(storage_.log(), testing::IsEmpty());
}

TEST_F(MetadataChangesTest, GivenAValueThatWasPutBack_WhenSynced_ThenNothingIsWritten) {
  reopen();
  put(1, "one");
  ASSERT_OK(store_->sync_both());
  storage_.clear_log();

  put(1, "two");
  put(1, "three");
  put(1, "one");
  sync();

  EXPECT_THAT(storage_.log(), testing::IsEmpty());
}

// The older copy holds what was put back, but as the older version: it must become the newer one.
TEST_F(MetadataChangesTest, GivenTheOlderCopysValueIsPutBack_WhenSynced_ThenItIsTheNewest) {
  reopen();
  put(1, "one");
  ASSERT_OK(store_->sync_both());
  put(1, "two");
  sync();
  EXPECT_EQ(counts(), "2/1/1");
  const uint64_t before = storage_.written_bytes();

  put(1, "one");
  sync();

  EXPECT_EQ(storage_.written_bytes() - before, 12u) << "version and checksum";
  reopen();
  EXPECT_EQ(get(1), "one");
}

TEST_F(MetadataChangesTest, GivenSixKeys_WhenSomeAreNotRetained_ThenTheyAreGoneForGood) {
  reopen();
  for (const uint64_t key : {0x1000u, 0x1001u, 0x1002u, 0x2000u, 0x2001u, 0x3000u})
    put(key, "v");
  const auto keep_all_but = [&](uint64_t prefix) {
    return store_->retain([&](ByteSpan key, ByteSpan) {
      return !equal_bytes(key.first(7), ByteSpan(key_of(prefix)).first(7));
    });
  };

  ASSERT_OK(keep_all_but(0x1000));
  EXPECT_EQ(counts(), "0/0/3");
  sync();
  reopen();
  EXPECT_EQ(keys(), (std::vector<uint64_t>{0x2000, 0x2001, 0x3000}));
  ASSERT_OK(store_->sync_both());
  storage_.clear_log();
  ASSERT_OK(keep_all_but(0x4000));
  sync();
  EXPECT_THAT(storage_.log(), testing::IsEmpty());
  ASSERT_OK(store_->retain([](ByteSpan, ByteSpan) { return false; }));
  EXPECT_EQ(store_->statistics().keys, 0u);
}

// Whatever the mutations, the store is the map that they make; a second run writes the same bytes.
class MetadataRandomTest : public MetadataChangesTest {
 protected:
  void mutate(Random& random) {
    const uint64_t key = random.below(50);
    const std::string value = to_hex(random.bytes(random.below(64)));
    switch (random.below(10)) {
      case 0: return sync();
      case 1: remove(key), model_.erase(key); return;
      case 2: return apply_two_changes(key, value);
      case 3: {
        const auto expected = random.one_in(2) ? get(key) : std::optional(value);
        if (compare_and_set(key, expected, "set")) model_[key] = "set";
        return;
      }
      case 4: EXPECT_OK(store_->sync_both()); return void(reopen());
      default: put(key, value), model_[key] = value;
    }
  }

  void apply_two_changes(uint64_t key, const std::string& value) {
    MetadataBatch batch;
    batch.put(key_of(key), as_bytes(value));
    batch.remove(key_of(key + 1));
    EXPECT_OK(store_->apply(batch));
    model_[key] = value;
    model_.erase(key + 1);
  }

  // Every call to the storage, and the bytes at the end.
  std::string run(uint64_t seed) {
    EXPECT_OK(memory_.remove_partition("state"));
    storage_.clear_log();
    model_.clear();
    Random random(seed);
    reopen();
    for (int i = 0; i < 1000; ++i)
      mutate(random);
    sync();
    std::string trace;
    for (const std::string& call : storage_.log())
      trace += call + "\n";
    return trace + raw("left") + raw("right");
  }

  std::map<uint64_t, std::string> model_;
};

TEST_F(MetadataRandomTest, GivenThousandMutations_WhenRunTwice_ThenContentIsRightAndTraceEqual) {
  const std::string trace = run(17);

  reopen();
  std::map<uint64_t, std::string> found;
  for (const uint64_t key : keys())
    found[key] = get(key).value_or("");
  EXPECT_EQ(found, model_);
  EXPECT_EQ(run(17), trace);
}

}  // namespace
}  // namespace firn
