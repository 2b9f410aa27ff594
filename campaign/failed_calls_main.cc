// SPDX-License-Identifier: Apache-2.0
//
// firn_failed_calls: short lives of stores on the file system, again and again, each time with
// another system call that fails, once or from then on, with each errno that it can have; with
// every call interrupted once; with reads and writes of a few bytes each; and with each allocation
// failing. Whatever happens: what was synced is there, in the life and after a new open, nothing is
// there that was not put, no failing call is taken for damage, and no process ends.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>

#include <unistd.h>

#include "campaign/failing_allocations.h"
#include "campaign/life_subject.h"
#include "campaign/stage.h"
#include "campaign/watchdog.h"
#include "firn/base/random.h"
#include "firn/base/text.h"
#include "testkit/system_calls.h"

namespace firn::campaign {
namespace {

using testkit::SystemCall;

constexpr uint64_t kSessions = 2;
constexpr uint64_t kPutsPerSession = 4;

enum class Kind : uint8_t { none, fails_once, fails_from_then_on, interrupts, shortens, no_memory };

struct Trouble {
  Kind kind = Kind::none;
  int error_number = 0;
  uint64_t at = 0;  // the number of the call that fails, among those that can
};

std::string text_of(const Trouble& trouble) {
  switch (trouble.kind) {
    case Kind::none: return "nothing";
    case Kind::fails_once: return concat(strerrorname_np(trouble.error_number), " once");
    case Kind::fails_from_then_on:
      return concat(strerrorname_np(trouble.error_number), " from then on");
    case Kind::interrupts: return "interrupted calls";
    case Kind::shortens: return "short transfers";
    case Kind::no_memory: return "no memory once";
  }
  return "";
}

// A device can fail anything; only what takes room or changes something meets the rest.
bool can_fail_with(SystemCall call, int error_number) {
  if (call == SystemCall::drop) return false;  // advice
  const bool only_looks = call == SystemCall::open || call == SystemCall::read;
  return error_number == EIO || !only_looks;
}

bool can_be_interrupted(SystemCall call) {
  return call == SystemCall::open || call == SystemCall::read || call == SystemCall::write ||
         call == SystemCall::resize;
}

class Hook final : public testkit::SystemCallHook {
 public:
  explicit Hook(const Trouble& trouble) : trouble_(trouble) { set_system_call_hook(this); }
  ~Hook() override { testkit::set_system_call_hook(nullptr); }
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;

  int intercept(SystemCall call, const std::function<std::string()>& describe) override {
    const int64_t left = std::exchange(allocations_left, -1);
    const int error_number = error_of(call);
    if (error_number != 0 && failed_.empty()) failed_ = describe();
    allocations_left = left;
    return error_number;
  }
  [[nodiscard]] size_t transfer_max() const override {
    return trouble_.kind == Kind::shortens ? 7 : SIZE_MAX;
  }

  [[nodiscard]] uint64_t count() const { return count_; }
  // The first call that failed.
  [[nodiscard]] const std::string& failed() const { return failed_; }

 private:
  int error_of(SystemCall call) {
    switch (trouble_.kind) {
      case Kind::interrupts:
        was_interrupted_ = can_be_interrupted(call) && !was_interrupted_;
        return was_interrupted_ ? EINTR : 0;
      case Kind::fails_once:
        return can_fail_with(call, trouble_.error_number) && count_++ == trouble_.at
                   ? trouble_.error_number
                   : 0;
      case Kind::fails_from_then_on:
        return can_fail_with(call, trouble_.error_number) && count_++ >= trouble_.at
                   ? trouble_.error_number
                   : 0;
      default: return 0;
    }
  }

  const Trouble trouble_;
  uint64_t count_ = 0;
  bool was_interrupted_ = false;
  std::string failed_;
};

// One life of one store in one trouble, and what it is judged by.
class Life {
 public:
  Life(const LifeKind& kind, uint64_t seed, const std::string& directory)
      : random_(seed), subject_(kind.make(random_)), directory_(directory) {}

  // What went wrong; empty: nothing did.
  std::string run(const Trouble& trouble) {
    if (trouble.kind == Kind::no_memory) allocations_left_ = static_cast<int64_t>(trouble.at);
    {
      const Hook hook(trouble);
      for (uint64_t session = 0; session < kSessions; ++session)
        live();
      calls_ = hook.count();
      failed_ = hook.failed();
    }
    was_out_of_memory_ = trouble.kind == Kind::no_memory && allocations_left_ < 0;
    allocations_left_ = -1;
    judge_errors(trouble);
    outlive();
    return violation_;
  }

  // Calls that could have failed as the trouble says.
  [[nodiscard]] uint64_t calls() const { return calls_; }
  [[nodiscard]] bool had_errors() const { return first_error_.has_value() || threw_; }
  [[nodiscard]] bool was_out_of_memory() const { return was_out_of_memory_; }

 private:
  void violate(const auto&... what) {
    if (violation_.empty()) violation_ = concat(what...);
  }

  // Those of the library, not of this program.
  class Allocations {
   public:
    explicit Allocations(int64_t& left) : left_(left) { allocations_left = left_; }
    ~Allocations() { left_ = std::exchange(allocations_left, -1); }
    Allocations(const Allocations&) = delete;
    Allocations& operator=(const Allocations&) = delete;

   private:
    int64_t& left_;
  };

  // Runs a step; a failing allocation is a failed step.
  Status attempt(const auto& step) {
    const Allocations allocations(allocations_left_);
    try {
      Status outcome = step();
      if (!outcome && !first_error_) first_error_ = outcome.error();
      return outcome;
    } catch (const std::bad_alloc&) {
      threw_ = true;
      return std::unexpected(Error{Errc::io, {}});
    }
  }

  void live() {
    if (attempt([&] { return subject_->open(directory_); })) {
      for (uint64_t i = 0; i < kPutsPerSession; ++i)
        step();
      // The first session ends as a killed process does.
      if (++sessions_ > 1 && attempt([&] { return subject_->close(); })) acknowledge();
    }
    drop();
  }

  // What no sync covered may be lost now.
  void drop() {
    subject_->drop();
    uncertain_.merge(unsynced_);
    unsynced_.clear();
  }

  void step() {
    const uint64_t number = next_++;
    Bytes value = random_.bytes(random_.one_in(4) ? random_.below(600) : random_.below(40));
    const bool syncs = random_.one_in(2);
    unsynced_[number] = value;
    if (!attempt([&] { return subject_->put(number, value); })) {
      uncertain_[number] = std::move(value);
      unsynced_.erase(number);
    }
    if (syncs && attempt([&] { return subject_->sync(); })) acknowledge();
    for (const auto& [synced, expected] : synced_)
      look_for(synced, expected, true);
  }

  void acknowledge() {
    synced_.merge(unsynced_);
    unsynced_.clear();
  }

  void look_for(uint64_t number, const Bytes& expected, bool is_synced) {
    std::optional<Bytes> found;
    const Status asked = attempt([&]() -> Status {
      TRY_INTO(found, subject_->get(number));
      return {};
    });
    if (!asked) return;
    if (found ? *found != expected : is_synced)
      violate("item ", number, found ? " has another value" : " is missing");
  }

  void judge_errors(const Trouble& trouble) {
    const bool should_succeed = trouble.kind == Kind::none || trouble.kind == Kind::interrupts ||
                                trouble.kind == Kind::shortens;
    if (should_succeed && had_errors())
      violate("fails: ", first_error_ ? first_error_->message : "out of memory");
    if (!first_error_ || trouble.kind == Kind::no_memory || should_succeed) return;
    const bool is_full = trouble.error_number == ENOSPC || trouble.error_number == EDQUOT;
    if (first_error_->code != (is_full ? Errc::no_space : Errc::io))
      violate("the first error is another one: ", first_error_->message);
    if (first_error_->message.find('/') == std::string::npos)
      violate("the error does not say where: ", first_error_->message);
  }

  // The trouble is over, and another process opens the store.
  void outlive() {
    first_error_.reset();
    threw_ = false;
    for (uint64_t session = 0; session < 2; ++session) {
      if (!attempt([&] { return subject_->open(directory_); })) break;
      for (const auto& [number, value] : synced_)
        look_for(number, value, true);
      for (const auto& [number, value] : uncertain_)
        look_for(number, value, false);
      step();
      if (attempt([&] { return subject_->close(); })) acknowledge();
      drop();
    }
    if (had_errors()) violate("afterwards: ", first_error_ ? first_error_->message : "no memory");
    if (!violation_.empty() && !failed_.empty()) violation_ += concat("; first failed: ", failed_);
  }

  Random random_;
  const std::unique_ptr<LifeSubject> subject_;
  const std::string directory_;
  uint64_t next_ = 1;
  uint64_t sessions_ = 0;
  uint64_t calls_ = 0;
  int64_t allocations_left_ = -1;
  std::map<uint64_t, Bytes> synced_;
  std::map<uint64_t, Bytes> unsynced_;
  std::map<uint64_t, Bytes> uncertain_;  // their put failed
  std::optional<Error> first_error_;
  bool threw_ = false;
  bool was_out_of_memory_ = false;
  std::string failed_;
  std::string violation_;
};

class Sweep {
 public:
  Sweep(Stage& stage, const LifeKind& kind, uint64_t seed, std::string directory)
      : stage_(stage), kind_(kind), seed_(seed), directory_(std::move(directory)) {}

  void run() {
    live({});
    live({.kind = Kind::interrupts});
    live({.kind = Kind::shortens});
    for (const int error_number : {EIO, ENOSPC, EDQUOT, EROFS})
      for (const Kind kind : {Kind::fails_once, Kind::fails_from_then_on})
        until_none_fails({.kind = kind, .error_number = error_number});
    until_none_fails({.kind = Kind::no_memory});
  }

 private:
  void until_none_fails(Trouble trouble) {
    for (bool goes_on = true; goes_on; ++trouble.at) {
      goes_on = live(trouble);
      if (goes_on) stage_.add_note(std::string(kind_.name), text_of(trouble));
    }
  }

  // Whether something did fail.
  bool live(const Trouble& trouble) {
    watch(concat(kind_.name, ", seed ", seed_, ": ", text_of(trouble), ", number ", trouble.at));
    std::filesystem::remove_all(directory_);
    Life life(kind_, seed_, directory_);
    const std::string violation = life.run(trouble);
    watch_no_more();
    stage_.add_case(std::string(kind_.name));
    if (!violation.empty())
      stage_.add_violation(std::string(kind_.name), seed_, concat(watched(), ": ", violation));
    return trouble.kind == Kind::no_memory ? life.was_out_of_memory() : life.calls() > trouble.at;
  }

  Stage& stage_;
  const LifeKind& kind_;
  const uint64_t seed_;
  const std::string directory_;
};

// Memory is as good as a disk here, and its flushes take no time.
std::string make_directory(std::string parent) {
  const bool has_memory = ::access("/dev/shm", W_OK) == 0;
  if (parent.empty()) parent = has_memory ? "/dev/shm" : "/tmp";
  std::string path = concat(parent, "/firn-failed-calls-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) path.clear();
  return path;
}

int run(const StageArguments& arguments) {
  install_watchdog();
  const std::string directory = make_directory(arguments.directory);
  if (directory.empty()) {
    std::fprintf(stderr, "firn_failed_calls: no directory for stores: %s\n", std::strerror(errno));
    return 2;
  }
  Stage stage("failed_calls", arguments);
  stage.run_in_turns(life_kinds(), [&](const LifeKind& kind, uint64_t seed) {
    Sweep(stage, kind, seed, directory + "/store").run();
  });
  std::filesystem::remove_all(directory);
  return stage.finish();
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  const auto arguments =
      firn::campaign::parse_stage_arguments(argc, argv, firn::campaign::StageNeeds::nothing);
  if (!arguments) {
    std::fprintf(stderr, "firn_failed_calls: %s\n", arguments.error().message.c_str());
    return 2;
  }
  return firn::campaign::run(*arguments);
}
