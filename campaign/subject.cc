// SPDX-License-Identifier: Apache-2.0
#include "campaign/subject.h"

#include <array>
#include <filesystem>

#include "firn/base/text.h"

namespace firn::campaign {
namespace {

std::string path_of_writer() {
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("firn_writer").string();
}

}  // namespace

Result<Outcome> Firn::run(const Call& call, const Interruption& interruption) const {
  std::vector<std::string> command = {call.to_writer ? path_of_writer() : program_};
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
  static constexpr std::array kRare = {kWithOtherBuffers, kInsideADoubling};
  static constexpr std::array kKinds = {
      SubjectKind{
          .name = "archive", .make = make_archive_subject, .rare = std::span(kRare).first(1)},
      SubjectKind{.name = "freezer", .make = make_freezer_subject, .rare = kRare},
      SubjectKind{.name = "metadata", .make = make_metadata_subject},
  };
  return kKinds;
}

// Buffers of a page or two and one open section make every path of eviction and early flush, large
// ones leave all to the sync.
void give_to_writer(Call& import, Random& random) {
  constexpr std::array<uint64_t, 4> kWriteBuffers = {1, 500, 20'000, 4 << 20};
  constexpr std::array<uint64_t, 3> kPageCaches = {0, 10'000, 1 << 20};
  constexpr std::array<uint64_t, 3> kOpenSections = {1, 2, 9};
  std::vector<std::string> arguments = {import.arguments[0], import.arguments[2]};
  for (size_t i = 4; i < import.arguments.size(); ++i)
    if (import.arguments[i] != "--lines" && import.arguments[i] != "--ack")
      arguments.push_back(import.arguments[i]);
  const auto add = [&](std::string flag, uint64_t number) {
    arguments.push_back(std::move(flag));
    arguments.push_back(concat(number));
  };
  add("--write-buffer", kWriteBuffers[random.below(kWriteBuffers.size())]);
  add("--page-cache", kPageCaches[random.below(kPageCaches.size())]);
  add("--open-sections", kOpenSections[random.below(kOpenSections.size())]);
  import.arguments = std::move(arguments);
  import.to_writer = true;
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
