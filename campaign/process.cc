// SPDX-License-Identifier: Apache-2.0
#include "campaign/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <span>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "campaign/descriptor.h"
#include "firn/base/check.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

using When = Interruption::When;

// Calls that change files or say something to the outside: between two of them there is nothing to
// tell apart from the outside.
constexpr auto kChangingCalls = std::to_array<long>({
    SYS_write,     SYS_pwrite64,  SYS_writev,    SYS_pwritev,        SYS_pwritev2,  SYS_fsync,
    SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_openat,         SYS_openat2,   SYS_mkdirat,
    SYS_unlinkat,  SYS_renameat2, SYS_linkat,    SYS_io_uring_enter, SYS_fadvise64,
#ifdef SYS_rename
    SYS_rename,    SYS_unlink,    SYS_mkdir,     SYS_rmdir,          SYS_link,
#endif
});

// The reading end of a pipe that holds `input` and ends there.
Result<Descriptor> full_pipe(const std::string& input) {
  CHECK(input.size() <= kInputMaxBytes, "it must fit into the pipe");
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_failure("pipe2");
  Descriptor reader(ends[0]);
  const Descriptor writer(ends[1]);
  constexpr int kPipeBytes = 1 << 20;
  if (input.size() > 4096 && ::fcntl(writer.get(), F_SETPIPE_SZ, kPipeBytes) < 0)
    return system_failure("a pipe of 1 MiB");
  const ssize_t written = ::write(writer.get(), input.data(), input.size());
  if (written < 0 || static_cast<size_t>(written) != input.size())
    return system_failure("writing to a pipe");
  return reader;
}

std::string content_of(int fd) {
  std::string text;
  std::array<char, 65536> buffer;
  while (true) {
    const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(text.size()));
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
}

// Between fork and exec only calls that are safe there.
[[noreturn]] void become(char* const* arguments, int input, int output, int errors, bool traced) {
  ::setpgid(0, 0);  // what ends the campaign from a terminal does not end this
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  if (traced) ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  ::execv(arguments[0], arguments);
  ::_exit(127);
}

void note_end(int status, Outcome& outcome) {
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
}

Status wait_for_end(pid_t process, const Interruption& interruption, Outcome& outcome) {
  if (interruption.when == When::after_time) {
    const Descriptor watch(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
    if (watch.get() < 0) return system_failure("pidfd_open");
    pollfd ended{.fd = watch.get(), .events = POLLIN, .revents = 0};
    const timespec timeout{.tv_sec = static_cast<time_t>(interruption.moment / 1'000'000),
                           .tv_nsec = static_cast<long>(interruption.moment % 1'000'000 * 1000)};
    if (::ppoll(&ended, 1, &timeout, nullptr) == 0) {
      interruption.act(process);
      outcome.interrupted = true;
    }
  }
  int status = 0;
  if (::waitpid(process, &status, 0) != process) return system_failure("waitpid");
  note_end(status, outcome);
  return {};
}

constexpr auto kSyncCalls = std::to_array<long>({SYS_fsync, SYS_fdatasync});

// True at the entry of such a call; its exit is the next stop.
bool enters_call(pid_t process, std::span<const long> wanted) {
  __ptrace_syscall_info info{};
  if (::ptrace(PTRACE_GET_SYSCALL_INFO, process, sizeof info, &info) <= 0) return false;
  return info.op == PTRACE_SYSCALL_INFO_ENTRY &&
         std::ranges::find(wanted, static_cast<long>(info.entry.nr)) != wanted.end();
}

// Steps from call to call: a stop at the entry of each, and one at its exit.
Status trace_to_end(pid_t process, const Interruption& interruption, Outcome& outcome) {
  int status = 0;
  if (::waitpid(process, &status, 0) != process) return system_failure("waitpid");
  if (!WIFSTOPPED(status)) return fail(Errc::io, "the program did not start under ptrace");
  if (::ptrace(PTRACE_SETOPTIONS, process, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
    return system_failure("ptrace");
  const std::span<const long> wanted = interruption.when == When::before_sync
                                           ? std::span<const long>(kSyncCalls)
                                           : std::span<const long>(kChangingCalls);
  bool inside_target = false;
  long signal = 0;
  while (true) {
    if (outcome.interrupted && !interruption.kills_afterwards)
      ::ptrace(PTRACE_DETACH, process, 0, 0);
    else if (::ptrace(PTRACE_SYSCALL, process, 0, signal) != 0 && errno != ESRCH)
      return system_failure("ptrace");
    if (::waitpid(process, &status, 0) != process) return system_failure("waitpid");
    if (!WIFSTOPPED(status)) break;
    signal = 0;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      signal = WSTOPSIG(status);
      continue;
    }
    if (outcome.interrupted) {  // this is the return of the call
      kill_process(process);
      continue;
    }
    bool now = std::exchange(inside_target, false);
    if (!now && enters_call(process, wanted) && ++outcome.calls == interruption.moment)
      (interruption.when == When::after_call ? inside_target : now) = true;
    if (!now) continue;
    interruption.act(process);
    outcome.interrupted = true;
  }
  note_end(status, outcome);
  return {};
}

}  // namespace

void kill_process(pid_t process) {
  ::kill(process, SIGKILL);
}

Result<Outcome> run_program(const std::vector<std::string>& command, const std::string& input,
                            const Interruption& interruption) {
  std::vector<std::string> words = command;
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  TRY_INTO(const Descriptor reader, full_pipe(input));
  const Descriptor output(::memfd_create("output", MFD_CLOEXEC));
  const Descriptor errors(::memfd_create("errors", MFD_CLOEXEC));
  if (output.get() < 0 || errors.get() < 0) return system_failure("memfd_create");

  const bool traced = interruption.when != When::never && interruption.when != When::after_time;
  if (interruption.watch) interruption.watch(output.get());
  const pid_t process = ::fork();
  if (process < 0) return system_failure("fork");
  if (process == 0) become(arguments.data(), reader.get(), output.get(), errors.get(), traced);
  Outcome outcome;
  TRY(traced ? trace_to_end(process, interruption, outcome)
             : wait_for_end(process, interruption, outcome));
  outcome.output = content_of(output.get());
  outcome.errors = content_of(errors.get());
  if (outcome.exit_code == 127) return fail(Errc::io, concat("cannot run ", command.front()));
  // A line that was cut short was not said.
  const size_t newline = outcome.output.rfind('\n');
  if (!outcome.exit_code) outcome.output.resize(newline == std::string::npos ? 0 : newline + 1);
  return outcome;
}

}  // namespace firn::campaign
