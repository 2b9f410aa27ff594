// SPDX-License-Identifier: Apache-2.0
//
// Moments to interrupt a program at, drawn so that early ones are as likely as late ones.
#pragma once

#include "campaign/process.h"
#include "firn/base/random.h"

namespace firn::campaign {

// Once in ten times never; otherwise at a moment or at a call.
[[nodiscard]] Interruption drawn_interruption(Random& random);
[[nodiscard]] std::string described(const Interruption& interruption);

}  // namespace firn::campaign
