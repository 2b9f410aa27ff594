// SPDX-License-Identifier: Apache-2.0
//
// A value log whose allocations fail, those of zstd and of the system's library as well. A program
// of its own, as it replaces the functions that allocate.
#include <functional>
#include <future>
#include <new>
#include <utility>

#include "firn/base/text.h"
#include "firn/io/memory_storage.h"
#include "firn/journal/value_log.h"
#include "testkit/failing_allocations.h"
#include "testkit/matchers.h"

namespace firn {
namespace {

using testkit::allocations_left;

constexpr Section kSection(1);

enum class Trouble : uint8_t { once, for_ever };

std::unique_ptr<ValueLog> open_log(Storage& storage) {
  RecoveryLog recovery(storage, false);
  ValueLogOptions options;
  options.partition = "values";
  options.compression_level = 1;
  return ValueLog::open(storage, options, recovery).value();
}

// Whether an allocation failed, after `succeed` of them, and the call with it. In a new thread,
// which keeps nothing yet.
bool fails(Trouble trouble, int succeed, const std::function<Status()>& call) {
  SCOPED_TRACE(concat("allocation ", succeed));
  Status outcome;
  bool threw = false;
  const auto attempt = [&] {
    testkit::allocations_fail_for_ever = trouble == Trouble::for_ever;
    allocations_left = succeed;
    try {
      outcome = call();
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    allocations_left = -1;
    return testkit::allocations_failed > 0;
  };
  const bool has_failed = std::async(std::launch::async, attempt).get();
  EXPECT_EQ(threw, has_failed);
  EXPECT_OK(outcome);
  return has_failed;
}

// With one allocation more that succeeds each time, until none fails; returns how many did.
int count_failing_allocations(const std::function<Status()>& call) {
  int count = 0;
  while (fails(Trouble::for_ever, count, call) && fails(Trouble::once, count, call))
    ++count;
  return count;
}

TEST(ValueLogAllocation, WhenAValueIsReadWithoutMemory_ThenItIsNotSaidToBeDamaged) {
  MemoryStorage storage;
  const auto log = open_log(storage);
  const Bytes value(3000, std::byte{7});
  ASSERT_OK_INTO(const ValueLocation location, log->append(kSection, value));
  ASSERT_OK(log->sync_all());

  const int failed = count_failing_allocations([&]() -> Status {
    TRY_INTO(const Value read, log->read(kSection, location));
    const testkit::UnfailingAllocations pause;
    EXPECT_EQ(to_bytes(read.bytes()), value);
    return {};
  });

  EXPECT_GE(failed, 3);  // the stored bytes, the value, the context
}

TEST(ValueLogAllocation, WhenAValueIsAppendedWithoutMemory_ThenTheLogGoesOnFromThere) {
  MemoryStorage storage;
  const Bytes value(3000, std::byte{7});

  const int failed = count_failing_allocations([&]() -> Status {
    std::unique_ptr<ValueLog> log;
    {
      const testkit::UnfailingAllocations pause;
      log = open_log(storage);
    }
    TRY_INTO(const ValueLocation location, log->append(kSection, value));
    TRY(log->sync_all());
    TRY_INTO(const Value read, log->read(kSection, location));
    const testkit::UnfailingAllocations pause;
    EXPECT_EQ(to_bytes(read.bytes()), value);
    return {};
  });

  EXPECT_GE(failed, 4);
}

}  // namespace
}  // namespace firn
