// SPDX-License-Identifier: Apache-2.0
//
// What tells of a crash or a hang of the library inside of a campaign's own process: the handlers
// of its signals print what was running.
#pragma once

#include <string_view>

namespace firn::campaign {

// From now on a crash is told, and a hang, while something is watched.
void install_watchdog();

// `what` runs now, and has a minute of processor time: machines may be busy, and programs stopped.
// On the wall it has an hour, for threads that wait for each other.
void watch(std::string_view what);
// It has another minute.
void watch_on();
// It is done.
void watch_no_more();
// What runs, or ran last.
[[nodiscard]] std::string_view watched();

}  // namespace firn::campaign
