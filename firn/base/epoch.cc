// SPDX-License-Identifier: Apache-2.0
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "firn/base/check.h"
#include "firn/base/epoch_policy.h"

namespace firn {
namespace {

bool membarrier(int command) {
  return ::syscall(SYS_membarrier, command, 0, 0) == 0;
}

}  // namespace

const bool EpochPolicy::kBarriers = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);

void EpochPolicy::order_announcements() {
  if (kBarriers) CHECK(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), "registered, so it works");
}

}  // namespace firn
