// SPDX-License-Identifier: Apache-2.0
//
// FollowRace: a writer and a reader of one storage in memory that take turns between any two of
// their calls, and in the middle of reads and writes, as the seed has it.
#pragma once

#include <cstdint>
#include <functional>

#include "firn/io/memory_storage.h"
#include "testkit/logged_storage.h"
#include "testkit/observed_storage.h"
#include "testkit/turns.h"

namespace firn::testkit {

class FollowRace {
 public:
  explicit FollowRace(uint64_t seed) : turns_(seed) {}

  [[nodiscard]] Storage& of_writer() { return write_storage_; }
  [[nodiscard]] Storage& of_reader() { return read_storage_; }
  // Calls of the reader that change something.
  [[nodiscard]] uint64_t reader_changes() const { return read_log_.changes(); }
  void run(const std::function<void()>& write, const std::function<void()>& read) {
    turns_.run(write, read);
  }

 private:
  MemoryStorage memory_;
  Turns turns_;
  LoggedStorage read_log_{memory_};
  ObservedStorage read_storage_{read_log_, [this] { turns_.pass(); }};
  ObservedStorage write_storage_{memory_, [this] { turns_.pass(); }};
};

}  // namespace firn::testkit
