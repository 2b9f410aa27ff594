// SPDX-License-Identifier: Apache-2.0
//
// Subjects of lives: journals alone. A FixedJournal and an IndexedValueLog have a manifest with
// their floors beside them, as in a store; the owner of a ValueLog remembers what it has
// acknowledged.
#pragma once

#include <memory>

#include "campaign/life_subject.h"

namespace firn::campaign {

[[nodiscard]] std::unique_ptr<LifeSubject> make_fixed_journal_life(Random& random);
[[nodiscard]] std::unique_ptr<LifeSubject> make_indexed_value_log_life(Random& random);
[[nodiscard]] std::unique_ptr<LifeSubject> make_value_log_life(Random& random);

}  // namespace firn::campaign
