// SPDX-License-Identifier: Apache-2.0
//
// Epoch: EpochDomain and EpochSession, which say when memory that readers may still see can be
// used again. Readers take no lock: they announce the epoch in which they began. What is unlinked
// is retired with the epoch of that moment, and reclaimed when every announced epoch is later.
// The scheme is that of epoch-based reclamation (Fraser), its interface close to std::rcu_domain.
//
//   EpochDomain domain;                  // one for everything that retires together
//   EpochSession session(domain);        // one per thread that works at the same time
//   EpochPin pin(session);               // while one lives, nothing that can be seen is reclaimed
//
// Each LocationIndex takes a domain and sessions of its caller's; reads of stores have one domain
// for the process (read_section.h). Every operation of a LocationIndex pins its session; pin it
// yourself around several to pay once, or to keep a location valid until its record is read. Pins
// nest. The names above are for the index (index/location_policy.h).
// Where a reader enters what is retired, it loads the pointer with seq_cst, as writers store it.
//
// Threads: a domain is shared by all. A session is used by one thread at a time; it may move to
// another thread between operations. A coroutine must not suspend while it is pinned.
// A session that stays pinned holds back what is retired after that, and nothing else: readers and
// writers go on. `statistics` shows it; the index bounds what can gather (LocationStatus::stalled).
// Cost: a pin is a store to the session's own cache line; nested ones are free. A collection that
// finds something to do makes all threads of the process pass a memory barrier, some microseconds.
#pragma once

#include <cstdint>
#include <memory>

#include "firn/base/epoch_policy.h"
#include "firn/base/mutex.h"

namespace firn {

// The head of an object that can be retired. The object owns it, so retiring allocates nothing.
struct EpochRetired {
  EpochRetired* next = nullptr;
  uint64_t epoch = 0;
  uint64_t bytes = 0;
  void* owner = nullptr;
  void (*reclaim)(EpochRetired* retired, void* owner) = nullptr;  // called once; retires nothing
};

struct EpochStatistics {
  uint64_t sessions = 0;
  uint64_t sessions_pinned = 0;
  uint64_t oldest_pin_epochs = 0;  // retirements since the oldest pin began
  uint64_t bytes_retired = 0;
};

template <class Policy>
class BasicEpochSession;

template <class Policy>
class BasicEpochDomain {
 public:
  BasicEpochDomain() = default;
  // Requires: no session is left, and everything retired was reclaimed or its owner has drained.
  ~BasicEpochDomain();
  BasicEpochDomain(const BasicEpochDomain&) = delete;
  BasicEpochDomain& operator=(const BasicEpochDomain&) = delete;

  // Takes over what no new reader can reach any more.
  void retire(EpochRetired& retired) EXCLUDES(mutex_);
  // Reclaims what nobody can see any more.
  void collect() EXCLUDES(mutex_, reclaiming_);
  // The same of one owner, which does not go away meanwhile.
  void collect(const void* owner) EXCLUDES(mutex_);
  // Reclaims everything of one owner. Requires: no reader is inside of what the owner retired.
  void drain(const void* owner) EXCLUDES(mutex_, reclaiming_);

  // Around a fork, which waits for those who collect: the child has no thread but the one that
  // forks, whose session is `own` (or null), so that others hold nothing back there.
  void before_fork() ACQUIRE(reclaiming_, mutex_);
  void after_fork_in_parent() RELEASE(reclaiming_, mutex_);
  void after_fork_in_child(const BasicEpochSession<Policy>* own) RELEASE(reclaiming_, mutex_);

  [[nodiscard]] uint64_t bytes_retired() const;
  [[nodiscard]] EpochStatistics statistics() const EXCLUDES(mutex_);

 private:
  friend class BasicEpochSession<Policy>;
  using Word = typename Policy::Word;

  // A line of its own (two, as processors fetch pairs): pins of threads do not meet.
  struct alignas(128) Record {
    Word announced{};  // epoch * 2 + 1 while pinned, else 0
    bool taken = false;
    std::unique_ptr<Record> next;
  };

  Record& take_record() EXCLUDES(mutex_);
  void give_back(Record& record) EXCLUDES(mutex_);
  [[nodiscard]] uint64_t oldest_announced() const REQUIRES(mutex_);
  [[nodiscard]] uint64_t oldest_visible(uint64_t oldest) const REQUIRES(mutex_);
  template <class Predicate>
  [[nodiscard]] EpochRetired* take_retired(Predicate&& is_meant) REQUIRES(mutex_);
  [[nodiscard]] EpochRetired* take_unseen(const void* owner) REQUIRES(mutex_);
  static void reclaim_all(EpochRetired* list);

  Word epoch_{1};
  Word bytes_retired_{0};
  Word collecting_{0};  // threads in collect(owner); they begin under mutex_
  Mutex reclaiming_;    // before mutex_; held during callbacks, so that an owner can wait for them
  mutable Mutex mutex_;
  std::unique_ptr<Record> records_ GUARDED_BY(mutex_);
  EpochRetired* retired_first_ GUARDED_BY(mutex_) = nullptr;  // in the order of their epochs
  EpochRetired* retired_last_ GUARDED_BY(mutex_) = nullptr;
};

template <class Policy>
class BasicEpochSession {
 public:
  explicit BasicEpochSession(BasicEpochDomain<Policy>& domain)
      : domain_(domain), record_(domain.take_record()) {}
  // Requires: not pinned.
  ~BasicEpochSession();
  BasicEpochSession(const BasicEpochSession&) = delete;
  BasicEpochSession& operator=(const BasicEpochSession&) = delete;

  void pin() {
    if (depth_++ != 0) return;
    // Acquire: who announces an epoch enters nothing that was unlinked before it began.
    const uint64_t epoch = Policy::load(domain_.epoch_, std::memory_order_acquire);
    // A collector either sees it or has unlinked before our first load.
    Policy::announce(record_.announced, epoch * 2 + 1);
    if constexpr (requires { Policy::reach(Policy::kPinned); }) Policy::reach(Policy::kPinned);
  }
  void unpin() {
    if (--depth_ == 0) Policy::store(record_.announced, 0, std::memory_order_release);
  }
  [[nodiscard]] bool pinned() const { return depth_ != 0; }

  // Set while a predicate runs for an operation of this session.
  bool in_predicate = false;

 private:
  friend class BasicEpochDomain<Policy>;

  BasicEpochDomain<Policy>& domain_;
  typename BasicEpochDomain<Policy>::Record& record_;
  uint32_t depth_ = 0;
};

template <class Policy>
class BasicEpochPin {
 public:
  explicit BasicEpochPin(BasicEpochSession<Policy>& session) : session_(session) { session_.pin(); }
  ~BasicEpochPin() { session_.unpin(); }
  BasicEpochPin(const BasicEpochPin&) = delete;
  BasicEpochPin& operator=(const BasicEpochPin&) = delete;

 private:
  BasicEpochSession<Policy>& session_;
};

}  // namespace firn
