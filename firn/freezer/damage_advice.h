// SPDX-License-Identifier: Apache-2.0
//
// What an error about damaged keys or values tells to do. Damage to the table is another matter: it
// is made anew.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "firn/base/result.h"
#include "firn/base/text.h"
#include "firn/freezer/format.h"
#include "firn/journal/indexed_value_log.h"
#include "firn/journal/section_name.h"

namespace firn::freezer {

inline constexpr std::string_view kDamageAdvice =
    "; see `firn verify`, and restore the file from a copy, or put what can be read into a new "
    "store with `firn salvage SRC DST`";

// Adds the advice to an error that tells of damage.
template <class Outcome>
[[nodiscard]] Outcome advise(Outcome outcome) {
  if (outcome || outcome.error().code != Errc::corrupt) return outcome;
  return fail(Errc::corrupt, concat(outcome.error().message, kDamageAdvice));
}

// "key section 7 (index/0000000000000007)": a section and its file.
[[nodiscard]] inline std::string key_section(const IndexedValueLog& log, Section section) {
  return concat("key section ", section, " (", log.index_partition(), "/",
                journal::section_hex(section), ")");
}

// "record 5 of key section 7 (index/0000000000000007)".
[[nodiscard]] inline std::string describe(const IndexedValueLog& log, RecordPlace place) {
  return concat("record ", place.position, " of ", key_section(log, place.section));
}

// Records lead back in time. One that does not is no fault of the table.
[[nodiscard]] inline std::unexpected<Error> leads_forward(const IndexedValueLog& log,
                                                          RecordPlace place, RecordPlace next) {
  return fail(Errc::corrupt, concat(log.index_partition(), "/", journal::section_hex(place.section),
                                    ": record ", place.position, " of key section ", place.section,
                                    " leads forward, to record ", next.position, " of section ",
                                    next.section, kDamageAdvice));
}

// A record that leaves out the one before it, as those do that were put with a larger table, or
// leads nowhere.
struct BrokenLink {
  RecordPlace from;
  std::optional<RecordPlace> to;      // where it leads; nullopt: its chain ends there
  std::optional<RecordPlace> before;  // the newest record of its chain; nullopt: `to` is not there
};

[[nodiscard]] inline std::string describe(const IndexedValueLog& log, const BrokenLink& link) {
  const std::string from_to = concat(describe(log, link.from), " leads to ",
                                     link.to ? describe(log, *link.to) : "no record");
  if (!link.before) return concat(from_to, ", which is not there before it");
  return concat(from_to, " and leaves out ", describe(log, *link.before));
}

}  // namespace firn::freezer
