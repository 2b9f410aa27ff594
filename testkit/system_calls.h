// SPDX-License-Identifier: Apache-2.0
//
// The system calls of the posix backend, on their way to the system: a program that links
// firn::system_calls can list them, and make them fail, stop half-way or be interrupted.
//
// The functions of this file's source take the places of the system's in the whole program. While
// no hook is set they change nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace firn::testkit {

enum class SystemCall : uint8_t {
  open,
  close,
  read,
  write,
  write_out,  // what is cached, before a sync
  sync,
  resize,
  drop,
  rename,
  link,
  unlink,
  mkdir,
  lock,
  examine,  // fstat, fstatat, statfs, and who has a lock
  list,     // what begins a listing, and each entry
  map,      // a file
  reserve   // memory, by mmap
};

class SystemCallHook {
 public:
  virtual ~SystemCallHook() = default;
  // What becomes of a call. 0: it goes on; else it fails with that errno. `describe` names it:
  // "fsync /a/b", "write /a/b at 8", "write out /a/b at 8+9", "rename /a/new.tmp /a/b",
  // "examine /a/b".
  [[nodiscard]] virtual int intercept(SystemCall call,
                                      const std::function<std::string()>& describe) = 0;
  // The most that a read or write may transfer.
  [[nodiscard]] virtual size_t transfer_max() const { return SIZE_MAX; }
};

// Sets the hook of the whole program; null: none. Not for programs with several threads.
void set_system_call_hook(SystemCallHook* hook);

}  // namespace firn::testkit
