// SPDX-License-Identifier: Apache-2.0
//
// ReadSection: while one lives, what this thread can find without a lock stays. It is the pin of a
// session that each thread has, in one domain for the whole process; see epoch.h for what it rests
// on. Caches and tables are read under it, so that reads of many threads write nothing they share.
//
//   const ReadSection reading;
//   const Node* node = table.load();  // stays until `reading` ends, whatever becomes of the table
//
// Who takes something out of a table hands it to retire() and calls collect(), then and later,
// which destroys it once nobody can read it any more. A read section that takes long holds back
// what all stores of the process retire meanwhile: no system call belongs into one. Whoever needs
// more than memory finds the thing again under a lock.
//
// They nest, and must not move to another thread. Cost: one store to the thread's own line, and one
// when it ends. The first of a thread takes memory: std::bad_alloc. fork() waits until nobody
// retires or collects; in the child the read sections of other threads have ended.
#pragma once

#include "firn/base/epoch.h"
#include "firn/base/per_thread.h"

namespace firn {

class ReadSection {
 public:
  ReadSection() : session_(of_thread.get().session) { session_.pin(); }
  ~ReadSection() { session_.unpin(); }
  ReadSection(const ReadSection&) = delete;
  ReadSection& operator=(const ReadSection&) = delete;

  // Takes over what no new reader can find: destroyed by collect(), once every read section that
  // may have found it has ended.
  static void retire(EpochRetired& retired) { domain().retire(retired); }
  // Of one owner, which stays meanwhile.
  static void collect(const void* owner) { domain().collect(owner); }
  // Destroys all that the owner retired. Requires: nobody reads what it owns.
  static void drain(const void* owner) { domain().drain(owner); }

 private:
  using Domain = BasicEpochDomain<EpochPolicy>;
  struct Thread {
    BasicEpochSession<EpochPolicy> session{domain()};
  };

  static Domain& domain();
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();
  static const bool forks_are_watched;
  static thread_local constinit PerThread<Thread> of_thread;

  BasicEpochSession<EpochPolicy>& session_;
};

}  // namespace firn
