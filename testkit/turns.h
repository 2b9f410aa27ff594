// SPDX-License-Identifier: Apache-2.0
//
// Turns: two threads that take turns, so that a seed decides how their calls interleave. One runs
// at a time, and hands over where it calls pass().
//
//   Turns turns(seed);
//   turns.run([&] { write(turns); }, [&] { read(turns); });   // call turns.pass() again and again
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "firn/base/mutex.h"
#include "firn/base/random.h"

namespace firn::testkit {

class Turns {
 public:
  // Hands over once in up to `pace` calls, which the seed draws.
  explicit Turns(uint64_t seed, uint64_t pace = 20)
      : random_(seed), once_in_(random_.between(1, pace)) {}

  // Returns when both have returned. `first` begins.
  void run(const std::function<void()>& first, const std::function<void()>& second) {
    std::thread other([&] { take_part(1, second); });
    take_part(0, first);
    other.join();
  }

  // Called by the thread whose turn it is.
  void pass() {
    MutexLock lock(mutex_);
    const int me = turn_;
    if (is_done_[0] || is_done_[1] || !random_.one_in(once_in_)) return;
    turn_ = 1 - me;
    changed_.notify_all();
    wait_for(me);
  }

 private:
  void take_part(int me, const std::function<void()>& work) {
    {
      MutexLock lock(mutex_);
      wait_for(me);
    }
    work();
    MutexLock lock(mutex_);
    is_done_[me] = true;
    turn_ = 1 - me;
    changed_.notify_all();
  }
  void wait_for(int me) REQUIRES(mutex_) {
    while (turn_ != me)
      changed_.wait(mutex_);
  }

  Mutex mutex_;
  std::condition_variable_any changed_;
  Random random_ GUARDED_BY(mutex_);
  const uint64_t once_in_;
  int turn_ GUARDED_BY(mutex_) = 0;
  bool is_done_[2] GUARDED_BY(mutex_) = {false, false};
};

}  // namespace firn::testkit
