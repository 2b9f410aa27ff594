// SPDX-License-Identifier: Apache-2.0
//
// ReadSection: what it holds back, and in which threads. The scheme itself: epoch_test.cc.
#include "firn/base/read_section.h"

#include <thread>

#include <gtest/gtest.h>

#include "testkit/epochs.h"

namespace firn {
namespace {

using Watched = testkit::CountedRetired<int>;

TEST(ReadSectionTest, GivenNoReader_WhenCollected_ThenWhatWasRetiredIsDestroyed) {
  int destroyed = 0;
  Watched object(destroyed);
  ReadSection::retire(object);

  ReadSection::collect(&destroyed);

  EXPECT_EQ(destroyed, 1);
}

TEST(ReadSectionTest, GivenNestedSections_WhenTheOuterOneLives_ThenNothingIsDestroyed) {
  int destroyed = 0;
  Watched object(destroyed);
  {
    const ReadSection outer;
    {
      const ReadSection inner;
    }
    ReadSection::retire(object);
    ReadSection::collect(&destroyed);
    EXPECT_EQ(destroyed, 0);
  }
  ReadSection::collect(&destroyed);
  EXPECT_EQ(destroyed, 1);
}

TEST(ReadSectionTest, GivenThreadsThatRead_WhenTheyEnd_ThenTheyHoldNothingBack) {
  int destroyed = 0;
  Watched object(destroyed);
  std::thread reader([&] {
    const ReadSection reading;
    ReadSection::retire(object);
    ReadSection::collect(&destroyed);
    EXPECT_EQ(destroyed, 0);
  });
  reader.join();

  ReadSection::collect(&destroyed);

  EXPECT_EQ(destroyed, 1);
}

TEST(ReadSectionTest, GivenAReader_WhenItsOwnerDrains_ThenOnlyWhatIsTheOwnersIsDestroyed) {
  int mine = 0;
  int others = 0;
  Watched first(mine);
  Watched second(others);
  {
    const ReadSection reading;
    ReadSection::retire(first);
    ReadSection::retire(second);
    ReadSection::drain(&mine);
    EXPECT_EQ(mine, 1);
    EXPECT_EQ(others, 0);
  }
  ReadSection::collect(&mine);
  EXPECT_EQ(others, 0) << "not its own";
  ReadSection::collect(&others);
  EXPECT_EQ(others, 1);
}

}  // namespace
}  // namespace firn
