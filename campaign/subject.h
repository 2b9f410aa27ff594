// SPDX-License-Identifier: Apache-2.0
//
// Subject: one store, the calls of the command that change it, and a model outside of it that knows
// what the command acknowledged (must be there) and what it was given (may be there).
//
// A new kind of store is one class and one row of subject_kinds().
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "campaign/process.h"
#include "firn/base/random.h"
#include "firn/base/result.h"

namespace firn::campaign {

// What to give to the command, the program's name left out.
struct Call {
  std::vector<std::string> arguments;
  std::string input;
  int exit_code = 0;  // unless it is interrupted
  // Not to the command but to firn_writer, which has flags for buffers.
  bool to_writer = false;
};

class Firn {
 public:
  // firn_writer is expected beside the program that runs.
  explicit Firn(std::string program) : program_(std::move(program)) {}

  [[nodiscard]] Result<Outcome> run(const Call& call, const Interruption& interruption = {}) const;
  // Output of a call that must succeed, or end with `also_fine`.
  [[nodiscard]] Result<std::string> output(const std::vector<std::string>& arguments,
                                           int also_fine = 0) const;

 private:
  std::string program_;
};

// How far the world is from the store's device when a check looks at it.
enum class Settled : uint8_t {
  no,   // a power cut may still take back what was not acknowledged
  yes,  // only a process was killed and no power cut follows, or the device was mounted anew
};

class Subject {
 public:
  Subject() = default;
  Subject& operator=(const Subject&) = delete;
  virtual ~Subject() = default;

  // The same knowledge again: several states that one crash may leave are looked at.
  [[nodiscard]] virtual std::unique_ptr<Subject> clone() const = 0;

  // Draws the next call. Requires: the state is known, that is, new or checked since the last call.
  [[nodiscard]] virtual Call next_call(Random& random) = 0;
  // The same, with buffers, budgets and bounds of its own; nullopt where there are none.
  [[nodiscard]] virtual std::optional<Call> next_call_with_buffers(Random& random) {
    (void)random;
    return std::nullopt;
  }
  // The next call is to be one of those, because the store is not there yet and must have a
  // geometry that the command has no flags for, or to see more of them.
  [[nodiscard]] virtual bool wants_buffers() const { return false; }
  // What the interrupted call was inside of, for the table; empty if nothing rare.
  [[nodiscard]] virtual std::string_view interrupted_inside() const { return {}; }
  // A call that opens the store for writing, so that it recovers, and adds nothing.
  [[nodiscard]] virtual Call recovering_call() const = 0;
  // Notes how that call went.
  virtual void observe(const Outcome& outcome) = 0;
  // Reads the store through the command: everything acknowledged is there, byte for byte, nothing
  // is missing in between, nothing was invented. What is there becomes the known state. A failure
  // is a violation. `thorough` reads it in more than one way.
  [[nodiscard]] virtual Status check(const Firn& firn, Random& random, bool thorough,
                                     Settled settled) = 0;

 protected:
  Subject(const Subject&) = default;
};

// Notes on kills that are rare.
inline constexpr std::string_view kWithOtherBuffers = "with other buffers";
inline constexpr std::string_view kInsideADoubling = "inside a doubling";

struct SubjectKind {
  std::string_view name;
  // `seed` and `random` draw contents and configuration.
  std::unique_ptr<Subject> (*make)(const std::string& store, uint64_t seed, Random& random);
  // Those that many kills must have met.
  std::span<const std::string_view> rare = {};
};

[[nodiscard]] std::span<const SubjectKind> subject_kinds();

[[nodiscard]] std::unique_ptr<Subject> make_archive_subject(const std::string& store, uint64_t seed,
                                                            Random& random);

[[nodiscard]] std::unique_ptr<Subject> make_freezer_subject(const std::string& store, uint64_t seed,
                                                            Random& random);

[[nodiscard]] std::unique_ptr<Subject> make_metadata_subject(const std::string& store,
                                                             uint64_t seed, Random& random);

// Makes an import by the command one by firn_writer, with drawn buffers.
void give_to_writer(Call& import, Random& random);

// Lines, without what ends them.
[[nodiscard]] std::vector<std::string_view> lines_of(std::string_view text);

// Text without newlines, equal for equal seeds, of mostly small and sometimes large size.
[[nodiscard]] std::string drawn_text(uint64_t seed);

}  // namespace firn::campaign
