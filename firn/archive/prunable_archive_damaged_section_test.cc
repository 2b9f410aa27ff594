// SPDX-License-Identifier: Apache-2.0
//
// PrunableArchive: one damaged file of many. The items of the other sections are served and new
// ones are taken; of the damaged section nothing changes, and no answer says "not found".
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "firn/archive/archive_fixture.h"
#include "firn/archive/prunable_archive.h"
#include "firn/journal/section_name.h"
#include "testkit/logged_storage.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using archive::Archive;
using archive::get;
using archive::put;
using archive::small_options;
using archive::visible_files;
using testing::ElementsAre;
using testkit::FailsWith;

struct DamageKind {
  std::string name;
  std::string partition;  // of the damaged file
  // The new content of the file; nothing: it is removed.
  std::function<std::optional<Bytes>(Bytes)> apply;
  bool shows_after_clean_close = true;  // at open, without reading the values
  bool hides_items = false;
};

std::optional<Bytes> with_wrong_magic(Bytes file) {
  file[1] ^= std::byte{0x20};
  return file;
}

std::optional<Bytes> cut_in_the_middle(Bytes file) {
  file.resize(8 + (file.size() - 8) / 2);
  return file;
}

std::optional<Bytes> removed(const Bytes&) {
  return std::nullopt;
}

std::vector<DamageKind> damage_kinds() {
  return {{"IndexHeader", "index", with_wrong_magic, true, true},
          {"IndexShort", "index", cut_in_the_middle, true, true},
          {"IndexMissing", "index", removed, true, true},
          {"ValuesHeader", "values", with_wrong_magic, false, false},
          {"ValuesShort", "values", cut_in_the_middle, false, false},
          {"ValuesMissing", "values", removed, true, false}};
}

std::string value_of(uint64_t index) {
  return concat("the value of item ", index);
}

constexpr uint64_t kDamaged = 4;  // the section of the items 4, 5 and 7

class DamagedSection : public testing::TestWithParam<std::tuple<DamageKind, bool>> {
 protected:
  // Items 0, 1, 2, 4, 5, 7 and 9, in three sections of which the second is then damaged.
  void SetUp() override {
    ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage_, small_options()));
    for (const uint64_t index : kItems)
      ASSERT_OK(put(archive, index, concat("key", index), value_of(index)));
    ASSERT_OK(archive->sync());
    if (is_closed()) {
      ASSERT_OK(archive->close());
    }
    archive.reset();
    const Bytes name = journal::section_name(Section(kDamaged));
    auto damaged = kind().apply(*storage_.raw(kind().partition, name));
    if (damaged)
      storage_.set_raw(kind().partition, name, *std::move(damaged));
    else
      ASSERT_OK(storage_.remove(kind().partition, std::span(&name, 1)));
  }

  static const DamageKind& kind() { return std::get<0>(GetParam()); }
  static bool is_closed() { return std::get<1>(GetParam()); }
  static bool shows_at_open() { return !is_closed() || kind().shows_after_clean_close; }

  std::pair<std::optional<Bytes>, std::optional<Bytes>> damaged_files() const {
    const Bytes name = journal::section_name(Section(kDamaged));
    return {storage_.raw("index", name), storage_.raw("values", name)};
  }

  void expect_rest_is_served(const Archive& archive) {
    for (const uint64_t index : {0u, 1u, 2u, 9u}) {
      EXPECT_EQ(get(archive, index), value_of(index));
      EXPECT_EQ(get(archive, concat("key", index)), value_of(index));
    }
    EXPECT_EQ(get(archive, 3), "absent");
    EXPECT_EQ(get(archive, 8), "absent");
    if (shows_at_open()) {
      EXPECT_THAT(archive->damaged_sections(), ElementsAre(Section(kDamaged)));
    }
  }

  // The last one's value is gone in every kind of damage.
  void expect_damaged_are_corrupt(const Archive& archive) {
    const auto is_told = [] {
      return FailsWith(Errc::corrupt, concat(kind().partition, "/0000000000000004"));
    };
    EXPECT_THAT(archive->get(7), is_told());
    EXPECT_THAT(archive->get(7), FailsWith(Errc::corrupt, "offset"));
    EXPECT_THAT(archive->get(archive::key_of("key7", 8)), is_told());
    EXPECT_THAT(archive->get_all(7), is_told());
    for (const uint64_t index : {4u, 5u}) {
      const std::string answer = get(archive, index);
      EXPECT_TRUE(answer == "error: corrupt" || answer == value_of(index)) << answer;
    }
    if (!kind().hides_items) {
      EXPECT_EQ(archive::answer(archive->contains(5)), "present");
      EXPECT_EQ(get(archive, 6), "absent");
      EXPECT_EQ(get(archive, "key6"), "absent");
      ASSERT_OK_INTO(const auto range, archive->get_many(IndexRange{7, 99}, SIZE_MAX));
      ASSERT_GE(range.size(), 2u);
      EXPECT_THAT(range[0].value, is_told());
      ASSERT_OK(range[1].value);
      EXPECT_EQ(as_text(range[1].value->bytes()), value_of(9));
      return;
    }
    EXPECT_THAT(archive->contains(5), is_told());
    EXPECT_THAT(archive->find(6), is_told());
    EXPECT_THAT(archive->find(archive::key_of("key6", 8)), is_told());
    EXPECT_THAT(archive->visit(0, 99, false, [](const ArchiveItem&) { return true; }), is_told());
    EXPECT_OK(archive->visit(8, 99, false, [](const ArchiveItem&) { return true; }));
    EXPECT_THAT(archive->get_many(IndexRange{0, 99}, SIZE_MAX), is_told());
    EXPECT_OK(archive->get_many(IndexRange{0, 2}, SIZE_MAX));
    EXPECT_OK(archive->get_many(IndexRange{8, 99}, SIZE_MAX));
  }

  static constexpr std::array<uint64_t, 7> kItems = {0, 1, 2, 4, 5, 7, 9};
  MemoryStorage storage_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, DamagedSection,
                         testing::Combine(testing::ValuesIn(damage_kinds()), testing::Bool()),
                         [](const auto& tested) {
                           return std::get<0>(tested.param).name +
                                  (std::get<1>(tested.param) ? "Closed" : "Killed");
                         });

TEST_P(DamagedSection, WhenOpened_ThenTheRestIsServedAndDamageIsNeverAbsence) {
  const auto before = damaged_files();
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage_, small_options()));

  expect_rest_is_served(archive);
  expect_damaged_are_corrupt(archive);

  EXPECT_EQ(damaged_files(), before);
  if (shows_at_open()) {
    EXPECT_THAT(archive->recovery().damage,
                ElementsAre(testing::Field(&BlobRange::blob, "0000000000000004")));
  }
}

TEST_P(DamagedSection, WhenAskedForGaps_ThenItsItemsAreNotMissing) {
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage_, small_options()));

  if (kind().hides_items) {
    EXPECT_THAT(archive->missing_items(0, 9), ElementsAre(3, 8));
    EXPECT_EQ(archive->next_gap(1), (IndexGap{2, 4}));
    EXPECT_EQ(archive->next_gap(3), (IndexGap{std::nullopt, 4}));
    EXPECT_EQ(archive->next_gap(6), (IndexGap{7, 9}));
    EXPECT_EQ(archive->ranges(), (std::vector<IndexRange>{{0, 2}, {9, 9}}));
  } else {
    EXPECT_THAT(archive->missing_items(0, 9), ElementsAre(3, 6, 8));
    EXPECT_EQ(archive->next_gap(1), (IndexGap{2, 4}));
    EXPECT_EQ(archive->next_gap(4), (IndexGap{5, 7}));
  }
  EXPECT_EQ(archive->next_gap(9), (IndexGap{9, std::nullopt}));
}

TEST_P(DamagedSection, WhenWritten_ThenOtherSectionsTakeItemsAndItDoesNot) {
  const auto before = damaged_files();
  for (int attempt = 0; attempt < 2; ++attempt) {
    SCOPED_TRACE(attempt);
    ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage_, small_options()));
    const uint64_t next = 10 + static_cast<uint64_t>(attempt);

    EXPECT_THAT(put(archive, 6, "key6", "new"), FailsWith(Errc::corrupt, "0000000000000004"));
    EXPECT_THAT(archive::put_multi(archive, 5, "key6", "new"), FailsWith(Errc::corrupt));
    EXPECT_OK(put(archive, next, concat("key", next), value_of(next)));
    EXPECT_OK(put(archive, 100, "key100", "a new section"));
    EXPECT_OK(archive->sync());
    EXPECT_THAT(put(archive, 6, "key6", "new"), FailsWith(Errc::corrupt));

    EXPECT_EQ(get(archive, next), value_of(next));
    EXPECT_OK(archive->close());
    EXPECT_EQ(damaged_files(), before);
  }
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage_, small_options()));
  expect_rest_is_served(archive);
  expect_damaged_are_corrupt(archive);
  EXPECT_EQ(get(archive, 11), value_of(11));
}

TEST_P(DamagedSection, WhenPruned_ThenItIsGoneAndAbsenceIsCertainAgain) {
  ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage_, small_options()));

  ASSERT_OK(archive->prune(8));

  EXPECT_EQ(damaged_files(), std::make_pair(std::optional<Bytes>(), std::optional<Bytes>()));
  EXPECT_EQ(get(archive, 5), "absent");
  EXPECT_EQ(get(archive, "key5"), "absent");
  EXPECT_EQ(get(archive, 9), value_of(9));
  EXPECT_THAT(archive->damaged_sections(), ElementsAre());
  ASSERT_OK(archive->close());
  ASSERT_OK_INTO(archive, PrunableArchive::open(storage_, small_options()));
  EXPECT_TRUE(archive->recovery().damage.empty());
}

TEST_P(DamagedSection, WhenVerified_ThenItIsNotedAndTheRestIsChecked) {
  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage_, small_options()));
  RecoveryLog findings(storage_, true);
  uint64_t checked_bytes = 0;

  ASSERT_OK(archive->log().verify(true, findings, [&](uint64_t bytes) { checked_bytes += bytes; }));

  ASSERT_EQ(findings.report().damage.size(), 1);
  EXPECT_EQ(findings.report().damage[0].partition, kind().partition);
  EXPECT_EQ(findings.report().damage[0].blob, "0000000000000004");
  EXPECT_GE(checked_bytes, 4 * (28 + value_of(0).size()));
}

TEST_P(DamagedSection, WhenOpenedStrictly_ThenItIsRefusedAndNothingChanges) {
  const std::string before = visible_files(storage_);
  for (const ArchiveAccess access : {ArchiveAccess::create, ArchiveAccess::read_only}) {
    PrunableArchiveOptions strict = small_options();
    strict.strict = true;
    strict.access = access;

    EXPECT_THAT(PrunableArchive::open(storage_, strict),
                FailsWith(Errc::corrupt, concat(kind().partition, "/0000000000000004")));

    EXPECT_EQ(visible_files(storage_), before);
  }
}

PrunableArchiveOptions strict_options() {
  PrunableArchiveOptions strict = small_options();
  strict.strict = true;
  return strict;
}

TEST(StrictArchive, WhenAnUndamagedStoreIsOpened_ThenItServesAndIsWritten) {
  MemoryStorage storage;
  for (uint64_t index = 0; index < 6; ++index) {
    ASSERT_OK_INTO(auto archive, PrunableArchive::open(storage, strict_options()));
    for (uint64_t earlier = 0; earlier < index; ++earlier)
      EXPECT_EQ(get(archive, earlier), value_of(earlier));
    ASSERT_OK(put(archive, index, concat("key", index), value_of(index)));
    // Killed after a sync, or closed.
    ASSERT_OK(index % 2 == 0 ? archive->sync() : archive->close());
  }
}

// Everything that recovery would cut, or rot: whatever it is, a strict open does not touch it, even
// if the store was closed.
TEST(StrictArchive, WhenSomethingMustBeCut_ThenItIsRefusedAndNothingChanges) {
  using Change = std::function<void(MemoryStorage&)>;
  const auto append_to = [](const std::string& partition, uint64_t section) -> Change {
    return [=](MemoryStorage& storage) {
      const Bytes name = journal::section_name(Section(section));
      Bytes file = storage.raw(partition, name).value_or(Bytes());
      if (file.empty()) file = to_bytes(as_bytes(std::string_view("CWIC\0\0\0\0", 8)));
      file.push_back(std::byte{1});
      storage.set_raw(partition, name, std::move(file));
    };
  };
  const std::vector<std::pair<std::string, Change>> changes = {
      {"a torn page", append_to("index", 0)},
      {"a torn value", append_to("values", 0)},
      {"values without an index", append_to("values", 8)},
      {"a copy of the manifest", [](MemoryStorage& storage) {
         const Bytes name = to_bytes(as_bytes("left"));
         Bytes file = *storage.raw("manifest", name);
         file.back() ^= std::byte{1};
         storage.set_raw("manifest", name, std::move(file));
       }}};
  for (const auto& [name, change] : changes) {
    for (const bool is_closed : {false, true}) {
      SCOPED_TRACE(testing::Message() << name << ", closed " << is_closed);
      MemoryStorage storage;
      {
        ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, strict_options()));
        ASSERT_OK(put(archive, 1, "key1", value_of(1)));
        ASSERT_OK(is_closed ? archive->close() : archive->sync());
      }
      change(storage);
      const std::string before = visible_files(storage);

      EXPECT_THAT(PrunableArchive::open(storage, strict_options()),
                  FailsWith(Errc::corrupt, "nothing was changed"));

      EXPECT_EQ(visible_files(storage), before);
      ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, small_options()));
      EXPECT_EQ(get(archive, 1), value_of(1));
      EXPECT_FALSE(archive->recovery().empty());
    }
  }
}

// A page of one item, with a right checksum, in the place of another.
TEST(StrictArchive, WhenAPageIsInAWrongPlace_ThenItIsRefusedAndOtherwiseItsSectionIsDamaged) {
  MemoryStorage storage;
  PrunableArchiveOptions paged = small_options();
  paged.page_size_bytes = 28;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, paged));
    for (const uint64_t index : {0u, 1u, 4u, 5u})
      ASSERT_OK(put(archive, index, concat("key", index), value_of(index)));
    ASSERT_OK(archive->sync());
  }
  const auto other = storage.raw("index", journal::section_name(Section(0)));
  storage.set_raw("index", journal::section_name(Section(4)), *other);
  const std::string before = visible_files(storage);
  PrunableArchiveOptions strict = paged;
  strict.strict = true;

  EXPECT_THAT(PrunableArchive::open(storage, strict), FailsWith(Errc::corrupt, "holds index 0"));
  EXPECT_EQ(visible_files(storage), before);

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, paged));
  EXPECT_THAT(archive->damaged_sections(), ElementsAre(Section(4)));
  EXPECT_EQ(get(archive, 1), value_of(1));
  EXPECT_THAT(archive->get(5), FailsWith(Errc::corrupt, "index/0000000000000004"));
}

// No index of a store with four items a section has a section 9. What its file holds, nobody knows.
TEST(DamagedSectionOfNoIndex, WhenOpened_ThenWhatItMayHoldIsNeverAbsentNorMissing) {
  MemoryStorage storage;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, small_options()));
    for (const uint64_t index : {0u, 8u, 12u})
      ASSERT_OK(put(archive, index, concat("key", index), value_of(index)));
    ASSERT_OK(archive->sync());
  }
  const auto other = with_wrong_magic(*storage.raw("index", journal::section_name(Section(8))));
  storage.set_raw("index", journal::section_name(Section(9)), *other);

  ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, small_options()));

  EXPECT_THAT(archive->damaged_sections(), ElementsAre(Section(9)));
  for (const uint64_t index : {0u, 8u, 12u})
    EXPECT_EQ(get(archive, index), value_of(index));
  for (const uint64_t index : {9u, 10u, 11u})
    EXPECT_THAT(archive->get(index), FailsWith(Errc::corrupt, "index/0000000000000009"));
  for (const uint64_t index : {1u, 7u, 13u})
    EXPECT_EQ(get(archive, index), "absent");
  EXPECT_THAT(archive->missing_items(6, 4), ElementsAre(6, 7));
  EXPECT_EQ(archive->next_gap(8).current_end, 12);
}

// A store of the original knows no floors, but a wrong magic is damage in it, too.
TEST(StoreWithoutManifest, WhenAHeaderIsDamaged_ThenTheRestIsServed) {
  MemoryStorage storage;
  {
    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, small_options()));
    for (const uint64_t index : {1u, 5u, 9u})
      ASSERT_OK(put(archive, index, concat("key", index), value_of(index)));
    ASSERT_OK(archive->close());
  }
  ASSERT_OK(storage.remove_partition(kManifestPartition));
  const Bytes name = journal::section_name(Section(4));
  for (const std::string_view partition : {"index", "values"}) {
    const Bytes whole = *storage.raw(partition, name);
    storage.set_raw(partition, name, *with_wrong_magic(whole));
    const std::string before = visible_files(storage);

    ASSERT_OK_INTO(const auto archive, PrunableArchive::open(storage, small_options()));

    EXPECT_EQ(get(archive, 1), value_of(1));
    EXPECT_EQ(get(archive, 9), value_of(9));
    EXPECT_THAT(archive->get(5), FailsWith(Errc::corrupt, "0000000000000004"));
    EXPECT_EQ(visible_files(storage), before);
    storage.set_raw(partition, name, whole);
  }
}

}  // namespace
}  // namespace firn
