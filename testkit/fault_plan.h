// SPDX-License-Identifier: Apache-2.0
//
// FaultPlan: which calls of a SimulatedFileSystem go wrong, and how. Calls are numbered from 1 over
// the whole life of the file system, across crashes and reopenings, so one plan can crash a
// workload, then its recovery, then the recovery of that recovery.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/result.h"

namespace firn::testkit {

enum class CallKind : uint8_t {
  open,
  create_file,
  read,
  write,
  resize,
  sync,
  make_directory,
  remove_file,
  remove_directory,
  list,
  sync_directory,
  lock,
};

[[nodiscard]] std::string_view call_kind_name(CallKind kind);

// What a crash leaves of the call that it interrupts.
enum class CrashMoment : uint8_t {
  before,  // nothing
  after,   // all of it: only the answer is lost
  drawn,   // drawn from the plan's seed; a write may be issued up to any byte
};

struct CrashPoint {
  uint64_t call = 0;
  CrashMoment moment = CrashMoment::drawn;
};

// The call with this number fails; `for_ever`: and so does every later one.
struct CallFailure {
  uint64_t call = 0;
  Errc code = Errc::io;
  bool for_ever = false;
};

// Calls of one kind fail at random.
struct FailureRate {
  CallKind kind = CallKind::write;
  uint32_t per_thousand = 0;
  Errc code = Errc::io;
};

struct FaultPlan {
  std::vector<CrashPoint> crashes = {};
  std::vector<CallFailure> failures = {};
  std::vector<FailureRate> rates = {};
  // The most that all files together may hold. A write that needs more fails with Errc::no_space,
  // as on a full disk: removing or cutting files makes room again.
  std::optional<uint64_t> capacity_bytes = {};
  // False: reads get no number, so they neither crash nor fail.
  bool count_reads = true;
  uint64_t seed = 0;
};

// One call, as SimulatedFileSystem::operations() lists it. A resize has its new length as `size`.
struct Operation {
  CallKind kind = CallKind::open;
  std::string directory;
  std::string name;
  uint64_t offset = 0;
  uint64_t size = 0;
  bool failed = false;

  friend bool operator==(const Operation&, const Operation&) = default;
};

// "write index/00ff 8+12", with " failed" where the call failed.
[[nodiscard]] std::string describe(const Operation& operation);

}  // namespace firn::testkit
