// SPDX-License-Identifier: Apache-2.0
#include "campaign/interruptions.h"

#include "firn/base/text.h"

namespace firn::campaign {

using When = Interruption::When;

Interruption drawn_interruption(Random& random) {
  Interruption interruption;
  if (random.one_in(10)) return interruption;
  if (random.one_in(2)) {
    interruption.when = When::after_time;
    interruption.moment = 300 + random.below(uint64_t{300} << random.below(6));
  } else {
    interruption.when = random.one_in(2) ? When::before_call : When::after_call;
    interruption.moment = 1 + random.below(uint64_t{8} << random.below(6));
  }
  return interruption;
}

std::string described(const Interruption& interruption) {
  switch (interruption.when) {
    case When::never: return "to its end";
    case When::after_time: return concat("until ", interruption.moment, " us");
    case When::before_call: return concat("until before call ", interruption.moment);
    case When::after_call: return concat("until after call ", interruption.moment);
    case When::before_sync: return concat("until before sync ", interruption.moment);
  }
  return {};
}

}  // namespace firn::campaign
