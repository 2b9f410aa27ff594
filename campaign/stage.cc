// SPDX-License-Identifier: Apache-2.0
#include "campaign/stage.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <unistd.h>

#include "firn/base/text.h"

namespace firn::campaign {
namespace {

constexpr std::string_view kUsage = R"(
  --firn FILE       the command (default: bin/firn of the tree that this program was built in)
  --directory DIR   where stores and images of disks go (default: a new directory); what a violation
                    leaves stays there
  --only ROW        one row of the table (default: all in turns)
  --seed N          first seed (default 1); run i uses N + i
  --cases N         cases in each row (default 1000)
  --runs N          runs in each row instead
  --duration S      runs for S seconds in all instead
  --json FILE       writes {"stage","cases","violations","seconds","seed"}
)";

std::string* text_flag(StageArguments& arguments, std::string_view flag) {
  if (flag == "--firn") return &arguments.firn;
  if (flag == "--directory") return &arguments.directory;
  if (flag == "--only") return &arguments.only;
  if (flag == "--json") return &arguments.json;
  return nullptr;
}

uint64_t* number_flag(StageArguments& arguments, std::string_view flag) {
  if (flag == "--seed") return &arguments.seed;
  if (flag == "--cases") return &arguments.cases;
  if (flag == "--runs") return &arguments.runs;
  if (flag == "--duration") return &arguments.duration_seconds;
  return nullptr;
}

Status check_row(const std::string& only, const std::vector<std::string>& rows) {
  if (only.empty() || std::ranges::find(rows, only) != rows.end()) return {};
  std::string list;
  for (const std::string& row : rows)
    list += concat("\n  ", row);
  return fail(Errc::invalid_argument, concat("there is no row '", only, "'; there are:", list));
}

Status find_firn(std::string& firn) {
  if (firn.empty()) {
    const auto program = std::filesystem::read_symlink("/proc/self/exe");
    firn = (program.parent_path().parent_path() / "bin" / "firn").string();
  }
  if (std::filesystem::exists(firn)) return {};
  return fail(Errc::not_found, concat("there is no command '", firn, "': build it, or say --firn"));
}

Status make_directory(StageArguments& arguments) {
  if (!arguments.directory.empty()) return {};
  arguments.directory = (std::filesystem::temp_directory_path() / "firn-campaign-XXXXXX").string();
  arguments.has_own_directory = ::mkdtemp(arguments.directory.data()) != nullptr;
  if (arguments.has_own_directory) return {};
  return fail(Errc::io, concat("no directory for stores: ", std::strerror(errno)));
}

// Whoever ends the program gets what it has found so far, and nothing stays mounted.
volatile std::sig_atomic_t is_stopped = 0;

unsigned long long as_printable(uint64_t number) {
  return number;
}

}  // namespace

Result<StageArguments> parse_stage_arguments(int argc, char** argv,
                                             const std::vector<std::string>& rows,
                                             StageNeeds needs) {
  StageArguments arguments;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    std::string* const text = text_flag(arguments, flag);
    uint64_t* const number = number_flag(arguments, flag);
    if ((text == nullptr && number == nullptr) || i + 1 == argc)
      return fail(Errc::invalid_argument, concat("'", flag, "' is no flag with a value:", kUsage));
    const std::string_view value = argv[i + 1];
    if (text != nullptr) {
      *text = value;
      continue;
    }
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), *number);
    if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size())
      return fail(Errc::invalid_argument, concat(flag, " needs a number, not ", value));
  }
  TRY(check_row(arguments.only, rows));
  if (needs == StageNeeds::nothing) return arguments;
  TRY(find_firn(arguments.firn));
  TRY(make_directory(arguments));
  return arguments;
}

Stage::Stage(std::string name, const StageArguments& arguments)
    : name_(std::move(name)), arguments_(arguments) {
  for (const int signal : {SIGINT, SIGTERM})
    std::signal(signal, [](int) { is_stopped = 1; });
}

Stage::~Stage() {
  if (arguments_.has_own_directory) ::rmdir(arguments_.directory.c_str());
}

bool Stage::wants_more(const std::string& row) const {
  if (is_stopped != 0) return false;
  if (!arguments_.only.empty() && arguments_.only != row) return false;
  const auto found = rows_.find(row);
  if (found != rows_.end() && found->second.is_given_up()) return false;
  if (arguments_.duration_seconds > 0)
    return seconds() < static_cast<double>(arguments_.duration_seconds);
  if (found == rows_.end()) return true;
  return arguments_.runs > 0 ? found->second.runs < arguments_.runs
                             : found->second.cases < arguments_.cases;
}

void Stage::add_violation(const std::string& row, uint64_t seed, const std::string& what) {
  const uint64_t number = ++rows_[row].violations;
  if (number > kViolationsOfRowMax) return;
  const std::string store = arguments_.firn.empty() ? ""
                                                    : concat(" --firn ", arguments_.firn,
                                                             " --directory ", arguments_.directory);
  std::printf("VIOLATION %s: %s\nreplay: firn_%s%s --only %s --seed %llu --cases 1\n", row.c_str(),
              what.c_str(), name_.c_str(), store.c_str(), row.c_str(), as_printable(seed));
  if (number == kViolationsOfRowMax)
    std::printf("%s ends with this run; more violations are counted, not printed\n", row.c_str());
  std::fflush(stdout);
}

void Stage::demand_note(const std::string& row, const std::string& what, uint64_t cases) {
  const auto found = rows_.find(row);
  if (found == rows_.end() || found->second.cases < cases || found->second.notes[what] > 0) return;
  ++found->second.violations;
  std::printf("VIOLATION %s: none of %llu cases was %s any more\n", row.c_str(),
              as_printable(found->second.cases), what.c_str());
}

int Stage::finish() const {
  uint64_t cases = 0;
  uint64_t violations = 0;
  std::printf("%-28s %10s %10s  %s\n", name_.c_str(), "cases", "violations", "of these");
  for (const auto& [name, row] : rows_) {
    std::string notes;
    for (const auto& [what, count] : row.notes)
      notes += concat(notes.empty() ? "" : ", ", count, " ", what);
    std::printf("%-28s %10llu %10llu  %s\n", name.c_str(), as_printable(row.cases),
                as_printable(row.violations), notes.c_str());
    cases += row.cases;
    violations += row.violations;
  }
  std::printf("%llu cases, %llu violations, %.1f s\n", as_printable(cases),
              as_printable(violations), seconds());
  if (!arguments_.json.empty()) {
    std::FILE* const file = std::fopen(arguments_.json.c_str(), "w");
    if (file == nullptr) {
      std::fprintf(stderr, "cannot write %s\n", arguments_.json.c_str());
      return 1;
    }
    std::fprintf(file,
                 "{\"stage\":\"%s\",\"cases\":%llu,\"violations\":%llu,\"seconds\":%.3f,"
                 "\"seed\":%llu}\n",
                 name_.c_str(), as_printable(cases), as_printable(violations), seconds(),
                 as_printable(arguments_.seed));
    if (std::fclose(file) != 0) return 1;
  }
  if (cases == 0 && is_stopped == 0) {
    std::fprintf(stderr, "nothing was tried\n");
    return 1;
  }
  return violations == 0 ? 0 : 1;
}

}  // namespace firn::campaign
