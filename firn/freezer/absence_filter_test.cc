// SPDX-License-Identifier: Apache-2.0
#include "firn/freezer/absence_filter.h"

#include <gtest/gtest.h>

#include "firn/base/random.h"

namespace firn {
namespace {

using freezer::AbsenceFilter;

uint32_t hash_of(Random& random) {
  return static_cast<uint32_t>(random.next());
}

// How many of 100,000 hashes that were not added pass.
uint64_t false_answers(const AbsenceFilter& filter) {
  Random others(2);
  uint64_t count = 0;
  for (int i = 0; i < 100'000; ++i)
    if (filter.may_contain(hash_of(others))) ++count;
  return count;
}

TEST(AbsenceFilter, GivenRoom_WhenItGrows_ThenItKnowsAllAndFewOthers) {
  AbsenceFilter filter(1, 0, 16 << 20);
  Random random(1);
  for (int i = 0; i < 1'000'000; ++i)
    filter.add(hash_of(random));

  random = Random(1);
  for (int i = 0; i < 1'000'000; ++i)
    ASSERT_TRUE(filter.may_contain(hash_of(random))) << i;
  EXPECT_LT(false_answers(filter), 1'500);
  EXPECT_LE(filter.memory_bytes(), 5 << 20);
  EXPECT_EQ(filter.records(), 1'000'000);
}

TEST(AbsenceFilter, GivenABound_WhenMoreIsAddedThanFits_ThenItForgetsNothing) {
  for (const size_t bound : {size_t{64}, size_t{100}, size_t{4096}, size_t{100'000}}) {
    AbsenceFilter filter(7, 10, bound);
    Random random(1);
    for (int i = 0; i < 200'000; ++i)
      filter.add(hash_of(random));
    EXPECT_LE(filter.memory_bytes(), bound);
    random = Random(1);
    for (int i = 0; i < 200'000; ++i)
      ASSERT_TRUE(filter.may_contain(hash_of(random))) << bound;
  }
}

TEST(AbsenceFilter, GivenNothingWasAdded_WhenAsked_ThenNothingIsThere) {
  EXPECT_EQ(false_answers(AbsenceFilter(3, 0, 64)), 0);
}

}  // namespace
}  // namespace firn
