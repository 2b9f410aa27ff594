// SPDX-License-Identifier: Apache-2.0
//
// SectionTable: what is known of sections that are open, closed or set aside.
#include "firn/journal/section_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace firn::journal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

struct TestHandle {
  uint64_t bytes = 0;
  [[nodiscard]] uint64_t size() const { return bytes; }
  [[nodiscard]] bool dirty() const { return false; }
};

using TestTable = SectionTable<TestHandle>;

Result<std::shared_ptr<TestHandle>> open_with_size(Section, const TestTable::Entry& entry) {
  return std::make_shared<TestHandle>(entry.size.value_or(7));
}

TEST(SectionTableTest, GivenSectionsThatWereNeverOpened_WhenAskedForSizes_ThenOfTheOthersOnly) {
  TestTable table(1, open_with_size);
  for (const uint64_t section : {1u, 2u, 3u})
    table.add_closed(Section(section), section);
  EXPECT_THAT(table.known_sizes(), IsEmpty());

  ASSERT_TRUE(table.find(Section(1)).has_value());
  ASSERT_TRUE(table.find(Section(3)).has_value());  // closes 1

  EXPECT_EQ(table.open_count(), 1u);
  EXPECT_THAT(table.known_sizes(), ElementsAre(Pair(Section(1), 7), Pair(Section(3), 7)));
  table.set_aside(Section(3), {Errc::corrupt, "why"}, TestTable::Readable::yes);
  EXPECT_THAT(table.known_sizes(), ElementsAre(Pair(Section(1), 7)));
}

TEST(SectionTableTest, GivenASectionThatIsSetAside_WhenItsFloorRises_ThenItDoesNotGrow) {
  TestTable table(1, open_with_size);
  const auto new_cache_id = [] { return uint64_t{9}; };
  table.set_aside(Section(1), {Errc::corrupt, "why"}, TestTable::Readable::no);

  EXPECT_EQ(table.grow(Section(1), 10, new_cache_id), TestTable::Growth::none);
  EXPECT_EQ(table.grow(Section(2), 10, new_cache_id), TestTable::Growth::longer);
  EXPECT_EQ(table.grow(Section(2), 10, new_cache_id), TestTable::Growth::none);

  EXPECT_FALSE(table.find(Section(1)).has_value());
  EXPECT_EQ(table.find_open(Section(1)), nullptr);
  EXPECT_EQ((*table.find(Section(2)))->size(), 10u);
}

TEST(SectionTableTest, GivenMoreThanMayBeOpen_WhenOneWasPeekedAt_ThenTheNextOneIsClosed) {
  TestTable table(3, open_with_size);
  for (uint64_t section = 1; section <= 5; ++section)
    table.add_closed(Section(section), section);
  for (uint64_t section = 1; section <= 4; ++section)
    ASSERT_TRUE(table.find(Section(section)).has_value());  // closes 1
  const ReadSection reading;
  ASSERT_EQ(table.peek(Section(1)), nullptr);
  ASSERT_NE(table.peek(Section(2)), nullptr);

  ASSERT_TRUE(table.find(Section(5)).has_value());

  EXPECT_EQ(table.peek(Section(3)), nullptr);
  for (const uint64_t section : {2u, 4u, 5u})
    EXPECT_NE(table.peek(Section(section)), nullptr) << section;
  EXPECT_EQ(table.open_count(), 3u);
}

TEST(SectionTableTest, GivenOneInUse_WhenOthersAreOpened_ThenItStaysOpen) {
  TestTable table(1, open_with_size);
  for (uint64_t section = 1; section <= 3; ++section)
    table.add_closed(Section(section), section);
  const auto held = *table.find(Section(1));

  ASSERT_TRUE(table.find(Section(2)).has_value());
  ASSERT_TRUE(table.find(Section(3)).has_value());  // closes 2

  EXPECT_EQ(table.find_open(Section(1)), held);
  EXPECT_EQ(table.find_open(Section(2)), nullptr);
  EXPECT_EQ(table.open_count(), 2u);
}

TEST(SectionTableTest, GivenAReader_WhenItsSectionIsClosed_ThenItsHandleStaysUntilItHasRead) {
  std::weak_ptr<TestHandle> opened;
  TestTable table(1, [&](Section, const TestTable::Entry&) {
    auto handle = std::make_shared<TestHandle>(7);
    opened = handle;
    return Result<std::shared_ptr<TestHandle>>(std::move(handle));
  });
  table.add_closed(Section(1), 1);
  ASSERT_TRUE(table.find(Section(1)).has_value());
  {
    const ReadSection reading;
    const TestHandle* const handle = table.peek(Section(1));
    ASSERT_NE(handle, nullptr);

    EXPECT_EQ(table.erase(Section(1)), 1u);

    EXPECT_EQ(table.peek(Section(1)), nullptr);
    ASSERT_FALSE(opened.expired());
    EXPECT_EQ(handle->size(), 7u);
  }
  EXPECT_FALSE(opened.expired());
  table.collect();
  EXPECT_TRUE(opened.expired());
}

TEST(SectionTableTest, GivenAnOpenSection_WhenSetAside_ThenPeekingShowsItOnlyIfItCanBeRead) {
  TestTable table(2, open_with_size);
  for (const uint64_t section : {1u, 2u})
    table.add_open(Section(section), section, std::make_shared<TestHandle>(7));

  table.set_aside(Section(1), {Errc::corrupt, "why"}, TestTable::Readable::no);
  table.set_aside(Section(2), {Errc::corrupt, "why"}, TestTable::Readable::yes);

  const ReadSection reading;
  EXPECT_EQ(table.peek(Section(1)), nullptr);
  EXPECT_FALSE(table.find(Section(1)).has_value());
  EXPECT_NE(table.peek(Section(2)), nullptr);
}

}  // namespace
}  // namespace firn::journal
