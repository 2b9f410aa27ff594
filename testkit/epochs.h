// SPDX-License-Identifier: Apache-2.0
//
// For tests of epochs: what is retired, and a policy without barriers.
#pragma once

#include "firn/base/epoch.h"

namespace firn::testkit {

// Counts how often it was reclaimed. Count: a number, or an atomic one.
template <class Count>
struct CountedRetired : EpochRetired {
  static constexpr uint64_t kBytes = 100;

  explicit CountedRetired(Count& count) {
    bytes = kBytes;
    owner = &count;
    reclaim = [](EpochRetired*, void* counter) { ++*static_cast<Count*>(counter); };
  }
};

// Where the system has no barrier for all threads.
template <class Policy>
struct PinsInOrder : Policy {
  static void announce(typename Policy::Word& word, uint64_t value) {
    Policy::announce_in_order(word, value);
  }
  static void order_announcements() {}
};

}  // namespace firn::testkit
