// SPDX-License-Identifier: Apache-2.0
#include "firn/base/read_section.h"

#include <cstddef>
#include <new>

#include <pthread.h>

#include "firn/base/epoch_templates.h"

namespace firn {

template class BasicEpochDomain<EpochPolicy>;
template class BasicEpochSession<EpochPolicy>;

thread_local constinit PerThread<ReadSection::Thread> ReadSection::of_thread;

// Never destroyed, as threads may end after the objects of the process; and without an allocation,
// as destructors ask for it.
ReadSection::Domain& ReadSection::domain() {
  alignas(Domain) static std::byte memory[sizeof(Domain)];
  static Domain& domain = *new (memory) Domain;
  return domain;
}

// Another thread may be inside at a fork, and its locks would stay taken in the child for ever.
// From the start of the process on, as a fork may come at any time. Without memory for the handlers
// that stays so.
const bool ReadSection::forks_are_watched =
    ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;

void ReadSection::before_fork() NO_THREAD_SAFETY_ANALYSIS {
  domain().before_fork();
}

void ReadSection::after_fork_in_parent() NO_THREAD_SAFETY_ANALYSIS {
  domain().after_fork_in_parent();
}

void ReadSection::after_fork_in_child() NO_THREAD_SAFETY_ANALYSIS {
  const Thread* const own = of_thread.get_if_made();
  domain().after_fork_in_child(own == nullptr ? nullptr : &own->session);
}

}  // namespace firn
