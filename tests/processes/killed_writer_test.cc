// SPDX-License-Identifier: Apache-2.0
//
// A reader that stays while one writer after another is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "firn/base/random.h"
#include "testkit/child_process.h"
#include "testkit/matchers.h"
#include "tests/processes/store_handle.h"

namespace firn::processes {
namespace {

using testkit::ChildProcess;

constexpr uint64_t kSeed = 11;
constexpr int kLives = 6;

class EveryStoreKilled : public EveryStore {};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryStoreKilled, testing::ValuesIn(kStoreKinds), name_of_kind);

// Puts and syncs until it is killed, and acknowledges the last item of each sync.
void write_until_killed(const StoreKind& kind, const std::string& path, uint64_t seed,
                        const ChildProcess::Acknowledge& acknowledge) {
  Random random(seed);
  const auto handle = kind.open(path, Access::write);
  if (!handle) return;
  auto next = (*handle)->count();
  while (next && *next < 1'000'000) {
    for (const uint64_t end = *next + 1 + random.below(20); *next < end;)
      if (!(*handle)->put(++*next)) return;
    if (!(*handle)->sync()) return;
    acknowledge(*next);
  }
}

TEST_P(EveryStoreKilled, GivenWritersThatAreKilled_WhenAReaderStays_ThenItSeesAllThatWasSynced) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  Random random(kSeed);
  Handle reader;
  uint64_t seen = 0;
  for (int life = 0; life < kLives; ++life) {
    ChildProcess writer([&](const auto& acknowledge) {
      write_until_killed(GetParam(), path_, kSeed + static_cast<uint64_t>(life), acknowledge);
    });
    const uint64_t life_end = seen + 1 + random.below(150);
    while (seen < life_end) {
      ASSERT_TRUE(writer.wait_for(seen + 1)) << "the writer must go on";
      const uint64_t acknowledged = writer.acknowledged();
      if (!reader) {
        ASSERT_OK_INTO(reader, open(Access::read));
      }
      ASSERT_OK(reader->refresh());
      ASSERT_OK_INTO(const uint64_t count, reader->count());
      ASSERT_GE(count, acknowledged);
      seen = count;
    }
    writer.kill();

    const auto left = state_of_files(path_);
    ASSERT_OK(reader->refresh());
    ASSERT_OK_INTO(const uint64_t kept, reader->count());
    ASSERT_GE(kept, seen);
    seen = kept;
    ASSERT_OK_INTO(const Handle fresh, open(Access::read));
    ASSERT_GE(fresh->count().value(), seen);
    ASSERT_EQ(state_of_files(path_), left) << "a reader has changed something";
  }
  EXPECT_TRUE(reader->recovery().damage.empty());
}

}  // namespace
}  // namespace firn::processes
