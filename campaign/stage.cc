// SPDX-License-Identifier: Apache-2.0
#include "campaign/stage.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <ranges>

#include <unistd.h>

#include "firn/base/text.h"

namespace firn::campaign {
namespace {

struct Flag {
  std::string_view name;
  std::string_view value;
  std::string StageArguments::* text;  // or:
  uint64_t StageArguments::* number;
  StageNeeds needed_by;  // and by those that need more
  std::string_view help;
};

constexpr std::array kFlags = std::to_array<Flag>({
    {"--firn", "FILE", &StageArguments::firn, nullptr, StageNeeds::firn_and_directory,
     "the command (default: bin/firn of the tree that this program was built in)"},
    {"--directory", "DIR", &StageArguments::directory, nullptr, StageNeeds::directory,
     "where stores and mounted disks go, and what a violation leaves stays\n"
     "(default: a new directory, in memory if that is possible)"},
    {"--only", "ROW", &StageArguments::only, nullptr, StageNeeds::nothing,
     "one row of the table (default: all in turns)"},
    {"--seed", "N", nullptr, &StageArguments::seed, StageNeeds::nothing,
     "first seed (default 1); run i uses N + i"},
    {"--cases", "N", nullptr, &StageArguments::cases, StageNeeds::nothing,
     "cases in each row (default 1000)"},
    {"--runs", "N", nullptr, &StageArguments::runs, StageNeeds::nothing,
     "runs in each row instead"},
    {"--duration", "S", nullptr, &StageArguments::duration_seconds, StageNeeds::nothing,
     "runs for S seconds in all instead"},
    {"--json", "FILE", &StageArguments::json, nullptr, StageNeeds::nothing,
     "writes {\"stage\",\"cases\",\"violations\",\"seconds\",\"seed\"}"},
    {"--help", "", nullptr, nullptr, StageNeeds::nothing, "this list"},
});

bool fits(const Flag& flag, StageNeeds needs) {
  return needs >= flag.needed_by;
}

void print_help(const StageProgram& program) {
  std::printf("usage: firn_%s [FLAG VALUE]...\n\n", program.name.c_str());
  for (const Flag& flag : kFlags) {
    if (!fits(flag, program.needs)) continue;
    std::string label = concat("  ", flag.name, " ", flag.value);
    for (const auto line : std::views::split(flag.help, '\n')) {
      std::printf("%-20s%s\n", label.c_str(), std::string(std::string_view(line)).c_str());
      label.clear();
    }
  }
  std::printf("\nrows:\n");
  for (const std::string& row : program.rows)
    std::printf("  %s\n", row.c_str());
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
  std::string& directory = arguments.directory;
  std::error_code failure;
  if (directory.empty()) {
    // Memory is as good as a disk here, and its flushes take no time.
    const bool has_memory = ::access("/dev/shm", W_OK) == 0;
    directory = has_memory ? "/dev/shm" : std::filesystem::temp_directory_path(failure).string();
    directory += "/firn-campaign-XXXXXX";
    arguments.has_own_directory = ::mkdtemp(directory.data()) != nullptr;
    if (arguments.has_own_directory) return {};
  } else {
    std::filesystem::create_directories(directory, failure);
    if (!failure && ::access(directory.c_str(), W_OK | X_OK) == 0) return {};
  }
  const std::string why = failure ? failure.message() : std::strerror(errno);
  return fail(Errc::io, concat("cannot write to '", directory, "': ", why, "; say --directory"));
}

// Whoever ends the program gets what it has found so far, and nothing stays mounted.
volatile std::sig_atomic_t is_stopped = 0;

unsigned long long as_printable(uint64_t number) {
  return number;
}

Result<StageArguments> parse(int argc, char** argv, const StageProgram& program) {
  StageArguments arguments;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    const auto flag = std::ranges::find(kFlags, name, &Flag::name);
    if (flag == kFlags.end() || !fits(*flag, program.needs))
      return fail(Errc::invalid_argument, concat("there is no flag ", name, "; see --help"));
    if (i + 1 == argc) return fail(Errc::invalid_argument, concat(name, " needs a value"));
    const std::string_view value = argv[i + 1];
    if (flag->text != nullptr) {
      arguments.*flag->text = value;
      continue;
    }
    const auto parsed =
        std::from_chars(value.data(), value.data() + value.size(), arguments.*flag->number);
    if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size())
      return fail(Errc::invalid_argument, concat(name, " needs a number, not ", value));
  }
  TRY(check_row(arguments.only, program.rows));
  if (program.needs >= StageNeeds::firn_and_directory) TRY(find_firn(arguments.firn));
  if (program.needs >= StageNeeds::directory) TRY(make_directory(arguments));
  return arguments;
}

int tell(const StageProgram& program, std::string_view message, int code) {
  std::fprintf(stderr, "firn_%s: %s\n", program.name.c_str(), std::string(message).c_str());
  return code;
}

}  // namespace

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

int stage_main(int argc, char** argv, const StageProgram& program,
               const std::function<Status(Stage&)>& run) {
  if (std::ranges::count(argv + 1, argv + argc, std::string_view("--help")) > 0) {
    print_help(program);
    return 0;
  }
  const Result<StageArguments> arguments = parse(argc, argv, program);
  if (!arguments) return tell(program, arguments.error().message, 2);
  Stage stage(program.name, *arguments);
  // What throws is a folder that went away, or a full disk. What is mounted is unmounted on the
  // way.
  try {
    if (const Status ran = run(stage); !ran) return tell(program, ran.error().message, 1);
  } catch (const std::filesystem::filesystem_error& error) {
    return tell(program, error.what(), 1);
  }
  return stage.finish();
}

}  // namespace firn::campaign
