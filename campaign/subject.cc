// SPDX-License-Identifier: Apache-2.0
#include "campaign/subject.h"

#include <array>

#include "firn/base/text.h"

namespace firn::campaign {

Result<Outcome> Firn::run(const Call& call, const Interruption& interruption) const {
  std::vector<std::string> command = {program_};
  command.insert(command.end(), call.arguments.begin(), call.arguments.end());
  return run_program(command, call.input, interruption);
}

Result<std::string> Firn::output(const std::vector<std::string>& arguments, int also_fine) const {
  TRY_INTO(Outcome outcome, run({.arguments = arguments, .input = {}, .exit_code = 0}));
  if (outcome.exit_code == 0 || outcome.exit_code == also_fine) return std::move(outcome.output);
  std::string line = "firn";
  for (const std::string& argument : arguments)
    line += concat(" ", argument);
  return fail(Errc::corrupt,
              concat("'", line, "' ended with ",
                     outcome.exit_code ? concat("code ", *outcome.exit_code) : "a signal", ": ",
                     outcome.errors));
}

std::span<const SubjectKind> subject_kinds() {
  static constexpr std::array kKinds = {
      SubjectKind{.name = "archive", .make = make_archive_subject},
      SubjectKind{.name = "freezer", .make = make_freezer_subject},
      SubjectKind{.name = "metadata", .make = make_metadata_subject},
  };
  return kKinds;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::string drawn_text(uint64_t seed) {
  constexpr std::array<uint64_t, 8> kSizes = {0, 12, 40, 40, 120, 500, 4084, 20'000};
  Random random(seed);
  uint64_t size = kSizes[random.below(random.one_in(8) ? kSizes.size() : 5)];
  size += random.below(20);
  std::string text;
  text.reserve(size + 8);
  while (text.size() < size) {
    uint64_t bits = random.next();
    for (int i = 0; i < 8; ++i, bits >>= 8)
      text.push_back(static_cast<char>('!' + bits % 90));
  }
  text.resize(size);
  return text;
}

}  // namespace firn::campaign
