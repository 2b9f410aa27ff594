// SPDX-License-Identifier: Apache-2.0
#include "firn/base/read_section.h"

#include <cstddef>
#include <new>

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

}  // namespace firn
