// SPDX-License-Identifier: Apache-2.0
//
// The phases of the freezer benchmark, and the processes of their own that some of them need.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "bench/key_engine.h"
#include "bench/report.h"

namespace firn::bench {

constexpr size_t kBatchKeys = 128;

// Many keys of 32 bytes with values of 100 bytes, synced every 1,000 puts; opened after a clean
// close and after a kill.
void measure_scale(Report& report, const Arguments& arguments, size_t items);
// A store four times larger than the memory it may use.
void measure_cold(Report& report, const Arguments& arguments, size_t items, int repetitions);

// The engine's turn to read: warms up, measures get, get_many and misses, checks every answer.
void measure_gets(KeyEngine& engine, const std::string& name, Items& items, const Items& absent,
                  size_t count, const std::string& label, Samples& samples);
// The floors of measure_gets() over so many bytes: one dependent load for the table, and a copy of
// the value with its checksum; prefetched loads if in batches; a load alone for a miss.
void measure_get_floors(const Items& items, const std::string& label, Samples& samples);
void report_gets(Report& report, const Samples& samples, const std::string& label);

// Runs this program again as freezer_child() with these arguments, and returns what it printed.
[[nodiscard]] std::string run_child(const std::vector<std::string>& arguments);
// What main() does for run_child(). Never returns.
[[noreturn]] void freezer_child(const std::vector<std::string>& arguments);

constexpr const char* kChildFlag = "--child";

}  // namespace firn::bench
