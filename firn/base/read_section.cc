// SPDX-License-Identifier: Apache-2.0
#include "firn/base/read_section.h"

#include "firn/base/epoch_templates.h"

namespace firn {

template class BasicEpochDomain<EpochPolicy>;
template class BasicEpochSession<EpochPolicy>;

thread_local constinit PerThread<ReadSection::Thread> ReadSection::of_thread;

// Never destroyed: threads may end after the objects of the process.
ReadSection::Domain& ReadSection::domain() {
  static Domain& domain = *new Domain;
  return domain;
}

}  // namespace firn
