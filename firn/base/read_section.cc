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
  static Domain& domain = [] -> Domain& {
    watch_forks();
    return *new (memory) Domain;
  }();
  return domain;
}

// Another thread may be inside at a fork, and its locks would stay taken in the child for ever.
// Without memory for the handlers that stays so.
void ReadSection::watch_forks() {
  static_cast<void>(
      ::pthread_atfork([] { domain().before_fork(); }, [] { domain().after_fork_in_parent(); },
                       [] {
                         const Thread* const own = of_thread.get_if_made();
                         domain().after_fork_in_child(own == nullptr ? nullptr : &own->session);
                       }));
}

}  // namespace firn
