// SPDX-License-Identifier: Apache-2.0
//
// salvage_metadata: whatever happens to the two copies, the map is one that was committed, the
// newest one if its copy is whole, and what may differ is told.
#include "firn/metadata/metadata_salvage.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/metadata/metadata_image.h"
#include "firn/metadata/metadata_test_support.h"
#include "testkit/store_damage.h"

namespace firn {
namespace {

using testkit::DamagedStore;
using testkit::FailsWith;
using testkit::StoreFiles;
using Pairs = std::vector<std::pair<Bytes, Bytes>>;

class SalvageMetadata : public MetadataStoreTest {
 protected:
  [[nodiscard]] Pairs pairs_now() const {
    Pairs pairs;
    store_->for_each(
        [&](ByteSpan key, ByteSpan value) { pairs.emplace_back(to_bytes(key), to_bytes(value)); });
    return pairs;
  }

  struct Salvaged {
    SalvagedMap map;
    std::vector<SalvageLoss> losses;
    SalvageSummary summary;
  };
  Salvaged salvage(const StoreFiles& files) {
    MemoryStorage memory;
    testkit::load_files(memory, files);
    testkit::LoggedStorage source(memory);
    Salvaged salvaged;
    SalvageObserver observer;
    observer.on_loss = [&](const SalvageLoss& loss) {
      salvaged.losses.push_back(loss);
      return Status();
    };
    SalvageLog log(observer);
    auto map = salvage_metadata(source, options_, log);
    EXPECT_OK(map);
    if (map) salvaged.map = std::move(*map);
    salvaged.summary = log.summary;
    EXPECT_TRUE(source.log().empty());
    EXPECT_EQ(testkit::files_of(memory), files);
    return salvaged;
  }

  // Three commits; `left` holds the second, `right` the third.
  void make_store() {
    reopen();
    put(1, "one");
    put(5, "five");
    sync();
    put(2, "two");
    sync();
    older_ = pairs_now();
    put(1, "uno");
    remove(5);
    put(9, "");
    sync();
    newer_ = pairs_now();
    store_.reset();
    files_ = testkit::files_of(memory_);
  }

  StoreFiles files_;
  Pairs older_;
  Pairs newer_;
};

TEST_F(SalvageMetadata, GivenNoDamage_ThenTheNewestMapIsTakenAndNothingIsTold) {
  make_store();
  const Salvaged salvaged = salvage(files_);
  EXPECT_EQ(salvaged.map.pairs, newer_);
  EXPECT_EQ(salvaged.map.version, 3u);
  EXPECT_TRUE(salvaged.losses.empty());
}

TEST_F(SalvageMetadata, GivenAStoreWithOneCommit_ThenItsLoneCopyIsNoLoss) {
  reopen();
  put(1, "one");
  sync();
  const Salvaged salvaged = salvage(testkit::files_of(memory_));
  EXPECT_EQ(salvaged.map.version, 1u);
  EXPECT_TRUE(salvaged.losses.empty());
}

TEST_F(SalvageMetadata, GivenAStoreWithOneCommit_WhenTheCopyWithoutContentIsGone_ThenThatIsTold) {
  reopen();
  put(1, "one");
  sync();
  StoreFiles files = testkit::files_of(memory_);
  ASSERT_EQ(files.erase({"state", to_bytes(as_bytes("left"))}), 1u);

  const Salvaged salvaged = salvage(files);

  EXPECT_EQ(salvaged.map.version, 1u);
  EXPECT_EQ(salvaged.map.pairs.size(), 1u);
  ASSERT_EQ(salvaged.losses.size(), 1u);
  EXPECT_EQ(salvaged.losses[0].range.blob, to_hex(as_bytes("left")));
  EXPECT_EQ(salvaged.losses[0].range.copy, BlobRange::Copy::damaged);
}

// Its version is written last: without that, only the checksum tells that all else arrived.
TEST_F(SalvageMetadata, GivenAFirstCommitWithoutItsVersion_ThenItIsTakenOnlyIfAllElseArrived) {
  reopen();
  put(1, "one");
  sync();
  StoreFiles files = testkit::files_of(memory_);
  Bytes& first = files.at({"state", to_bytes(as_bytes("right"))});
  ASSERT_EQ(load_big_endian<uint64_t>(first.data() + 8), 1u);
  store_big_endian<uint64_t>(first.data() + 8, 0);
  EXPECT_EQ(salvage(files).map.pairs, pairs_now());

  first.back() ^= std::byte{1};
  const Salvaged torn = salvage(files);

  EXPECT_EQ(torn.map.version, 0u);
  EXPECT_FALSE(torn.losses.empty());
}

TEST_F(SalvageMetadata, GivenACloseOrNone_WhenTheNewestCopyIsDamaged_ThenTheLossesTellThemApart) {
  make_store();
  files_.at({"state", to_bytes(as_bytes("right"))}).back() ^= std::byte{1};
  for (const bool was_closed : {false, true}) {
    options_.was_closed = was_closed;
    const Salvaged salvaged = salvage(files_);
    ASSERT_FALSE(salvaged.losses.empty());
    for (const SalvageLoss& loss : salvaged.losses)
      EXPECT_EQ(loss.range.copy,
                was_closed ? BlobRange::Copy::damaged : BlobRange::Copy::maybe_unfinished);
  }
}

// A first commit that a crash cut off after `size` bytes: the version is written last.
TEST_F(SalvageMetadata, GivenAFirstCommitThatWasCutOff_ThenItIsToldAsAnOpenTellsItAndIsNoLoss) {
  reopen();
  put(1, "one");
  sync();
  store_.reset();
  const std::pair<std::string, Bytes> left{"state", to_bytes(as_bytes("left"))};
  const std::pair<std::string, Bytes> right{"state", to_bytes(as_bytes("right"))};
  StoreFiles files = testkit::files_of(memory_);
  const Bytes empty = files.at(left);
  Bytes whole = files.at(right);
  std::fill_n(whole.begin() + 8, 8, std::byte{0});
  for (size_t size = 9; size < whole.size(); ++size) {
    for (const bool is_alone : {false, true}) {
      files[left] = empty;
      if (is_alone) files.erase(left);
      files[right] = Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
      options_.has_commit = false;
      const Salvaged salvaged = salvage(files);
      EXPECT_EQ(salvaged.map.version, 0u);

      MemoryStorage opened;
      testkit::load_files(opened, files);
      RecoveryLog recovery(opened, true);
      options_.read_only = true;
      ASSERT_OK(MetadataStore::open(opened, options_, recovery));
      ASSERT_EQ(recovery.report().damage.size(), 1u);
      ASSERT_EQ(salvaged.losses.size(), 1u);
      EXPECT_EQ(salvaged.summary.copies, 1u) << size;
      EXPECT_EQ(salvaged.losses[0].range.copy, BlobRange::Copy::maybe_unfinished);
      EXPECT_EQ(describe(salvaged.losses[0].range), describe(recovery.report().damage[0]));

      options_.has_commit = true;
      EXPECT_EQ(salvage(files).summary.losses, 1u) << "of a commit that was acknowledged";
      EXPECT_THAT(MetadataStore::open(opened, options_, recovery),
                  FailsWith(Errc::corrupt, "although a commit was acknowledged"));
    }
  }
}

TEST_F(SalvageMetadata, GivenAFirstCommitWithAWrongVersion_ThenItIsTakenAsAnOpenTakesItAndTold) {
  reopen();
  put(1, "one");
  sync();
  StoreFiles files = testkit::files_of(memory_);
  store_big_endian<uint64_t>(files.at({"state", to_bytes(as_bytes("right"))}).data() + 8, 5);

  const Salvaged salvaged = salvage(files);

  EXPECT_EQ(salvaged.map.version, 1u);
  EXPECT_EQ(salvaged.map.pairs, pairs_now());
  ASSERT_EQ(salvaged.losses.size(), 1u);
  EXPECT_THAT(salvaged.losses[0].range.reason, testing::HasSubstr("version field is 5"));
}

TEST_F(SalvageMetadata, GivenAnAcknowledgedCommit_WhenNoCopyHasContent_ThenThatIsALoss) {
  make_store();
  options_.has_commit = true;
  for (auto& [name, content] : files_)
    content.resize(8);
  for (int removed = 0; removed < 3; ++removed) {
    const Salvaged salvaged = salvage(files_);
    EXPECT_EQ(salvaged.map.version, 0u);
    EXPECT_EQ(salvaged.summary.losses, 1u);
    if (!files_.empty()) files_.erase(files_.begin());
  }
}

// Of a first commit that was cut off, and of a commit that is missing.
TEST_F(SalvageMetadata, GivenALossThatCannotBeToldOn_ThenSalvageEnds) {
  reopen();
  put(1, "one");
  sync();
  store_.reset();
  SalvageObserver observer;
  observer.on_loss = [](const SalvageLoss&) { return Status(fail(Errc::io, "no more room")); };
  for (const ptrdiff_t size : {12, 8}) {
    Bytes image = *memory_.raw("state", as_bytes("right"));
    image.resize(static_cast<size_t>(size));
    std::fill_n(image.begin() + 8, size - 8, std::byte{0});
    memory_.set_raw("state", to_bytes(as_bytes("right")), image);
    options_.has_commit = size == 8;
    SalvageLog log(observer);
    EXPECT_THAT(salvage_metadata(memory_, options_, log), FailsWith(Errc::io, "no more room"));
  }
}

TEST(MetadataImage, GivenFewerBytesThanAVersionHas_ThenThereIsNone) {
  EXPECT_EQ(metadata::image_version(Bytes(7)), std::nullopt);
  EXPECT_EQ(metadata::image_version(Bytes(8)), 0u);
}

TEST_F(SalvageMetadata, GivenAnyDamageOfOneCopy_ThenTheMapIsOneThatWasCommittedAndTheLossIsTold) {
  make_store();
  const std::pair<std::string, Bytes> right{"state", to_bytes(as_bytes("right"))};
  const uint64_t count = testkit::for_each_damage(files_, [&](const DamagedStore& damaged) {
    const Salvaged salvaged = salvage(damaged.files);
    const auto found = damaged.files.find(right);
    const bool newest_is_whole =
        damaged.what.find("exchanged") != std::string::npos ||
        (found != damaged.files.end() && found->second == files_.at(right));
    const bool is_header_only = damaged.touched.front().end <= 8;
    const Pairs& expected = newest_is_whole || is_header_only ? newer_ : older_;
    EXPECT_EQ(salvaged.map.pairs, expected) << damaged.what;
    EXPECT_TRUE(damaged.touched.size() > 1 || !salvaged.losses.empty()) << damaged.what;
  });
  EXPECT_GT(count, 200u);
}

TEST_F(SalvageMetadata, GivenTheNewestCopyIsDamaged_ThenKeysThatMayDifferAreTold) {
  make_store();
  Bytes& right = files_[{"state", to_bytes(as_bytes("right"))}];
  right.back() ^= std::byte{1};

  const Salvaged salvaged = salvage(files_);

  EXPECT_EQ(salvaged.map.pairs, older_);
  std::vector<Bytes> keys;
  for (const SalvageLoss& loss : salvaged.losses)
    if (!loss.key.empty()) keys.push_back(loss.key);
  EXPECT_EQ(keys, (std::vector<Bytes>{key_of(1), key_of(9)}));
}

TEST_F(SalvageMetadata, GivenBothCopiesAreDamaged_ThenNothingIsTakenAndEveryKeyIsTold) {
  make_store();
  for (auto& [name, content] : files_)
    content.back() ^= std::byte{1};

  const Salvaged salvaged = salvage(files_);

  EXPECT_EQ(salvaged.map.version, 0u);
  EXPECT_TRUE(salvaged.map.pairs.empty());
  size_t told = 0;
  for (const SalvageLoss& loss : salvaged.losses)
    told += loss.key.empty() ? 0u : 1u;
  EXPECT_EQ(told, older_.size() + newer_.size());
}

TEST_F(SalvageMetadata, GivenAnotherKeySize_ThenNothingIsTaken) {
  make_store();
  for (const uint32_t key_size : {7u, 9u, 1024u}) {
    options_.key_size_bytes = key_size;
    const Salvaged salvaged = salvage(files_);
    EXPECT_EQ(salvaged.map.version, 0u) << key_size;
    EXPECT_FALSE(salvaged.losses.empty()) << key_size;
  }
}

}  // namespace
}  // namespace firn
