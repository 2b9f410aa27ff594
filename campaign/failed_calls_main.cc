// SPDX-License-Identifier: Apache-2.0
//
// firn_failed_calls: short lives of stores on the file system, again and again, each time with
// another system call that fails, with each errno that it can have, is interrupted, or transfers a
// few bytes only; and with another allocation that fails, whoever makes it. Each does so once, and
// from then on. No process ends, and what a Life demands holds.
#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "campaign/failed_call_lives.h"
#include "campaign/life_subject.h"
#include "campaign/stage.h"
#include "campaign/watchdog.h"
#include "firn/base/text.h"

namespace firn::campaign {
namespace {

// A store and a script, of which each is a row of the table.
struct LifeRow {
  std::string name;
  const LifeKind& kind;
  const LifeScript& script;
};

std::vector<LifeRow> life_rows() {
  std::vector<LifeRow> rows;
  for (const LifeScript& script : life_scripts())
    for (const LifeKind& kind : life_kinds())
      if (script.fits(kind)) rows.push_back({concat(kind.name, script.suffix), kind, script});
  return rows;
}

class Sweep {
 public:
  Sweep(Stage& stage, const LifeRow& row, uint64_t seed, std::string directory)
      : stage_(stage), row_(row), seed_(seed), directory_(std::move(directory)) {}

  void run() {
    live({});
    if (row_.kind.is_large) {
      run_written_out();
      return;
    }
    // A device can fail any call. The rest differs little from its neighbours: errors of calls that
    // take room or change something, interruptions, short transfers, and allocations. A seed has
    // every third of each, so that every change meets one of those errors; three seeds that follow
    // each other have all.
    constexpr std::array kOfChanges = {ENOSPC, EDQUOT, EROFS, EINTR};
    for (const TroubleKind kind : {TroubleKind::fails_once, TroubleKind::fails_from_then_on}) {
      until_none_is_met({.kind = kind, .error_number = EIO});
      for (size_t i = 0; i < kOfChanges.size(); ++i)
        until_none_is_met({.kind = kind, .error_number = kOfChanges[i], .at = (seed_ + i) % 3}, 3);
    }
    for (const TroubleKind kind :
         {TroubleKind::interrupts_from_then_on, TroubleKind::shortens_from_then_on})
      live({.kind = kind});  // all of them
    for (const TroubleKind kind :
         {TroubleKind::interrupts_once, TroubleKind::interrupts_from_then_on,
          TroubleKind::shortens_once, TroubleKind::shortens_from_then_on,
          TroubleKind::no_memory_once, TroubleKind::no_memory_from_then_on})
      until_none_is_met({.kind = kind, .at = seed_ % 3}, 3);
  }

 private:
  void run_written_out() {
    for (const TroubleKind kind : {TroubleKind::fails_once, TroubleKind::fails_from_then_on})
      for (const int error_number : {EIO, ENOSPC, EDQUOT, EROFS})
        until_none_is_met({.kind = kind, .error_number = error_number});
    for (const TroubleKind kind :
         {TroubleKind::interrupts_once, TroubleKind::interrupts_from_then_on})
      until_none_is_met({.kind = kind});
  }

  void until_none_is_met(Trouble trouble, uint64_t step = 1) {
    if (row_.kind.is_large) trouble.only = testkit::SystemCall::write_out;
    for (; live(trouble); trouble.at += step)
      stage_.add_note(row_.name, text_of(trouble));
  }

  // Whether the trouble was met.
  bool live(const Trouble& trouble) {
    watch(concat(row_.name, ", seed ", seed_, ": ", text_of(trouble), ", number ", trouble.at));
    std::filesystem::remove_all(directory_);
    const auto life = row_.script.make(row_.kind, seed_, directory_, trouble);
    // In a thread of its own: what threads keep for themselves is made anew.
    std::string violation;
    std::thread([&] { violation = life->run(); }).join();
    watch_no_more();
    stage_.add_case(row_.name);
    if (!violation.empty())
      stage_.add_violation(row_.name, seed_, concat(watched(), ": ", violation));
    return life->met_trouble();
  }

  Stage& stage_;
  const LifeRow& row_;
  const uint64_t seed_;
  const std::string directory_;
};

Status run_all(Stage& stage) {
  install_watchdog();
  const std::string directory =
      concat(stage.arguments().directory, "/failed-calls-", static_cast<uint64_t>(::getpid()));
  stage.run_in_turns(life_rows(), [&](const LifeRow& row, uint64_t seed) {
    Sweep(stage, row, seed, directory).run();
  });
  std::filesystem::remove_all(directory);
  return {};
}

}  // namespace
}  // namespace firn::campaign

int main(int argc, char** argv) {
  using namespace firn::campaign;
  return stage_main(argc, argv, {"failed_calls", names_of(life_rows()), StageNeeds::directory},
                    run_all);
}
