// SPDX-License-Identifier: Apache-2.0
#include "campaign/failed_call_lives.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <new>

#include "firn/base/text.h"
#include "testkit/failing_allocations.h"

namespace firn::campaign {
namespace {

using testkit::allocations_left;
using testkit::SystemCall;

constexpr uint64_t kSessions = 2;
constexpr uint64_t kPutsPerSession = 4;
constexpr uint64_t kPutsOfReaders = 3;
constexpr uint64_t kPutsOfSalvage = 6;
constexpr uint64_t kLargeValueBytes = 9 << 20;  // written out before a sync

bool transfers(SystemCall call) {
  return call == SystemCall::read || call == SystemCall::write;
}

// And is repeated then, or need not be.
bool can_be_interrupted(SystemCall call) {
  return transfers(call) || call == SystemCall::open || call == SystemCall::resize ||
         call == SystemCall::lock || call == SystemCall::write_out;
}

// What a call cannot have, such as no room for a question, comes to the same as what it can. A
// flush that a signal interrupts has failed, like any other.
bool can_fail_with(SystemCall call, int error_number) {
  if (call == SystemCall::drop) return false;  // advice
  return error_number != EINTR || !can_be_interrupted(call);
}

bool can_meet(SystemCall call, const Trouble& trouble) {
  if (trouble.only && trouble.only != call) return false;
  if (trouble.interrupts()) return can_be_interrupted(call);
  if (trouble.shortens()) return transfers(call);
  return trouble.error_number != 0 && can_fail_with(call, trouble.error_number);
}

}  // namespace

std::string text_of(const Trouble& trouble) {
  switch (trouble.kind) {
    case TroubleKind::none: return "nothing";
    case TroubleKind::fails_once: return concat(strerrorname_np(trouble.error_number), " once");
    case TroubleKind::fails_from_then_on:
      return concat(strerrorname_np(trouble.error_number), " from then on");
    case TroubleKind::interrupts_once: return "interrupted once";
    case TroubleKind::interrupts_from_then_on: return "interrupted from then on";
    case TroubleKind::shortens_once: return "short once";
    case TroubleKind::shortens_from_then_on: return "short from then on";
    case TroubleKind::no_memory_once: return "no memory once";
    case TroubleKind::no_memory_from_then_on: return "no memory from then on";
  }
  return "";
}

int TroubleHook::intercept(SystemCall call, const std::function<std::string()>& describe) {
  if (call == SystemCall::reserve) return testkit::allocation_fails() ? ENOMEM : 0;
  const testkit::UnfailingAllocations pause;
  is_in_trouble_ = meets_trouble(call);
  if (is_in_trouble_ && call != SystemCall::close) met_more_than_closes_ = true;
  if (is_in_trouble_ && troubled_.empty()) troubled_ = describe();
  if (!is_in_trouble_) return 0;
  return trouble_.interrupts() ? EINTR : trouble_.error_number;
}

bool TroubleHook::meets_trouble(SystemCall call) {
  if (!can_meet(call, trouble_)) return false;
  // An interrupted call comes again, and gets through.
  if (trouble_.interrupts() && is_in_trouble_) return false;
  const uint64_t number = count_++;
  return trouble_.is_once() ? number == trouble_.at : number >= trouble_.at;
}

Life::Life(const LifeKind& kind, uint64_t seed, std::string directory, const Trouble& trouble)
    : kind_(kind),
      seed_(seed),
      directory_(std::move(directory)),
      trouble_(trouble),
      random_(seed ^ 0x6c696665),
      subject_(another()),
      hook_(trouble),
      allocations_left_(trouble.is_of_memory() ? static_cast<int64_t>(trouble.at) : -1) {}

std::string Life::run() {
  testkit::allocations_failed = 0;
  prepare();
  in_trouble_ = true;
  live();
  in_trouble_ = false;
  met_trouble_ =
      trouble_.is_of_memory() ? testkit::allocations_failed > 0 : hook_.count() > trouble_.at;
  judge_errors();
  outlive();
  if (!violation_.empty() && !hook_.troubled().empty())
    violation_ += concat("; first in trouble: ", hook_.troubled());
  return violation_;
}

void Life::violate(std::string what) {
  if (violation_.empty()) violation_ = std::move(what);
}

// While one of these lives, calls and allocations meet the trouble: those of the library, not of
// this program.
class Life::InTrouble {
 public:
  explicit InTrouble(Life& life) : life_(life) {
    testkit::allocations_fail_for_ever = life_.trouble_.kind == TroubleKind::no_memory_from_then_on;
    testkit::set_system_call_hook(&life_.hook_);
    allocations_left = life_.allocations_left_;
  }
  ~InTrouble() {
    life_.allocations_left_ = std::exchange(allocations_left, -1);
    testkit::set_system_call_hook(nullptr);
  }
  InTrouble(const InTrouble&) = delete;
  InTrouble& operator=(const InTrouble&) = delete;

 private:
  Life& life_;
};

template <class Step>
Status Life::attempt(const Step& step) {
  std::optional<Status> outcome;
  try {
    std::optional<InTrouble> trouble;
    if (in_trouble_) trouble.emplace(*this);
    outcome = step();
  } catch (const std::bad_alloc&) {
    outcome = std::unexpected(Error{Errc::io, {}});
    threw_ = true;
  }
  if (*outcome) return {};
  const Error& error = outcome->error();
  if (!in_trouble_ || trouble_.is_to_be_survived() || hook_.met_closes_only())
    violate(concat(in_trouble_ ? "fails: " : "without trouble: ", error.message));
  if (!first_error_ && !threw_) first_error_ = error;
  return std::unexpected(error);
}

void Life::judge_errors() {
  if (!first_error_ || trouble_.is_of_memory()) return;
  const bool is_full = trouble_.error_number == ENOSPC || trouble_.error_number == EDQUOT;
  if (first_error_->code != (is_full ? Errc::no_space : Errc::io))
    violate(concat("the first error is another one: ", first_error_->message));
  if (first_error_->message.find('/') == std::string::npos)
    violate(concat("the error does not say where: ", first_error_->message));
}

void Life::acknowledge() {
  synced_.merge(unsynced_);
  unsynced_.clear();
}

void Life::put_one(LifeSubject& subject) {
  const uint64_t number = next_++;
  const uint64_t size = random_.one_in(4) ? random_.below(600) : random_.below(40);
  Bytes value = random_.bytes(kind_.is_large && number == 1 ? kLargeValueBytes : size);
  unsynced_[number] = value;
  if (attempt([&] { return subject.put(number, value); })) {
    if (must_refuse_) violate("a put succeeds after a failed sync");
    return;
  }
  uncertain_[number] = std::move(value);
  unsynced_.erase(number);
}

// What a failed sync left out no later one can make up for, and none may say so.
void Life::sync(LifeSubject& subject) {
  const bool is_synced = attempt([&] { return subject.sync(); }).has_value();
  if (is_synced && must_refuse_) violate("a sync succeeds after a failed one");
  if (is_synced)
    acknowledge();
  else
    must_refuse_ = true;
}

// Until it is done, an item may be there or not.
void Life::maintain(LifeSubject& subject) {
  const uint64_t gone_below = subject.gone_below(next_ / 2 + 1);
  for (Items* const items : {&synced_, &unsynced_})
    while (!items->empty() && items->begin()->first < gone_below)
      uncertain_.insert(items->extract(items->begin()));
  if (!attempt([&] { return subject.maintain(gone_below); })) return;
  gone_below_ = gone_below;
  uncertain_.erase(uncertain_.begin(), uncertain_.lower_bound(gone_below));
}

void Life::close(LifeSubject& subject) {
  if (!attempt([&] { return subject.close(); })) return;
  if (must_refuse_) violate("a close succeeds after a failed sync");
  acknowledge();
}

// What no sync covered may be lost now.
void Life::drop(LifeSubject& subject) {
  static_cast<void>(attempt([&]() -> Status {
    subject.drop();
    return {};
  }));
  uncertain_.merge(unsynced_);
  unsynced_.clear();
  must_refuse_ = false;
}

void Life::look_for(LifeSubject& subject, uint64_t number, const Bytes* expected, bool is_synced) {
  std::optional<Bytes> found;
  const Status asked = attempt([&]() -> Status {
    TRY_INTO(found, subject.get(number));
    return {};
  });
  if (!asked) return;
  if (found && (expected == nullptr || *found != *expected))
    violate(concat("item ", number, expected == nullptr ? " is back" : " has another value"));
  if (!found && is_synced) violate(concat("item ", number, " is missing"));
}

void Life::look_at_everything(LifeSubject& subject) {
  for (const auto& [number, value] : synced_)
    look_for(subject, number, &value, true);
  for (const auto& [number, value] : uncertain_)
    look_for(subject, number, &value, false);
  for (uint64_t number = 1; number < gone_below_; ++number)
    look_for(subject, number, nullptr, false);
}

// The trouble is over, and another process opens the store.
void Life::use_again(uint64_t sessions) {
  for (; sessions > 0; --sessions) {
    if (!attempt([&] { return subject_->open(directory_, LifeAccess::writing); })) return;
    look_at_everything(*subject_);
    put_one(*subject_);
    close(*subject_);
    drop(*subject_);
  }
}

namespace {

class WriterLife final : public Life {
 public:
  using Life::Life;

 private:
  void live() override {
    for (uint64_t session = 1; session <= kSessions; ++session) {
      if (attempt([&] { return subject_->open(directory_, LifeAccess::writing); })) {
        for (uint64_t i = 0; i < kPutsPerSession; ++i) {
          put_one(*subject_);
          if (random_.one_in(2)) sync(*subject_);
          look_at_everything(*subject_);
        }
        // The first session ends as a killed process does.
        if (session == kSessions) {
          maintain(*subject_);
          close(*subject_);
        }
      }
      drop(*subject_);
    }
  }
  void outlive() override { use_again(2); }
};

// A writer without trouble: what a reader shows was synced when it last looked.
class ReaderLife final : public Life {
 public:
  using Life::Life;

 private:
  void prepare() override {
    static_cast<void>(attempt([&] { return subject_->open(directory_, LifeAccess::writing); }));
    for (uint64_t i = 0; i < kPutsOfReaders; ++i)
      put_one(*subject_);
    sync(*subject_);
    put_one(*subject_);
  }

  void live() override {
    const auto reader = another();
    bool is_open = bool(attempt([&] { return reader->open(directory_, LifeAccess::reading); }));
    if (is_open) look_at_everything(*reader);
    write_more();
    if (is_open && attempt([&] { return reader->refresh(); })) look_at_everything(*reader);
    if (is_open) drop_reader(*reader);
    // Whoever could not follow opens again.
    is_open = bool(attempt([&] { return reader->open(directory_, LifeAccess::reading); }));
    if (is_open) look_at_everything(*reader);
    drop_reader(*reader);
  }

  void outlive() override {
    const auto reader = another();
    if (attempt([&] { return reader->open(directory_, LifeAccess::reading); }))
      look_at_everything(*reader);
    drop_reader(*reader);
    close(*subject_);
    drop(*subject_);
    use_again(1);
  }

  // By the writer, whom nothing troubles.
  void write_more() {
    const TroubleFree pause(*this);
    sync(*subject_);
    put_one(*subject_);
    sync(*subject_);
    maintain(*subject_);
  }

  void drop_reader(LifeSubject& reader) {
    static_cast<void>(attempt([&]() -> Status {
      reader.drop();
      return {};
    }));
  }
};

// Of a store that a kill left. What salvage does not bring, it lists; the source stays as it is.
class SalvageLife final : public Life {
 public:
  using Life::Life;

 private:
  void prepare() override {
    std::filesystem::remove_all(target());
    static_cast<void>(attempt([&] { return subject_->open(directory_, LifeAccess::writing); }));
    for (uint64_t i = 0; i < kPutsOfSalvage; ++i)
      put_one(*subject_);
    sync(*subject_);
    maintain(*subject_);
    put_one(*subject_);
    drop(*subject_);
  }

  void live() override {
    uint64_t losses = 0;
    is_done_ = bool(attempt([&]() -> Status {
      TRY_INTO(losses, subject_->salvage(directory_, target()));
      return {};
    }));
    is_whole_ = is_done_ && losses == 0;
  }

  void outlive() override {
    if (trouble_.is_to_be_survived() && !is_whole_) violate("something is listed as lost");
    judge_target();
    // The source is as good as before, for a second try.
    std::filesystem::remove_all(target());
    live();
    if (!is_whole_) violate("a second salvage does not bring everything");
    judge_target();
    use_again(1);
  }

  void judge_target() {
    if (!is_done_ || !std::filesystem::exists(target())) return;
    const auto made = another();
    const Status opened = made->open(target(), LifeAccess::reading);
    if (!opened) {
      if (is_whole_) violate(concat("the new store does not open: ", opened.error().message));
      return;
    }
    for (const auto& [number, value] : synced_)
      look_for(*made, number, &value, is_whole_);
    for (const auto& [number, value] : uncertain_)
      look_for(*made, number, &value, false);
    made->drop();
  }

  [[nodiscard]] std::string target() const { return directory_ + "-salvaged"; }

  bool is_done_ = false;
  bool is_whole_ = false;
};

template <class Script>
std::unique_ptr<Life> make_life(const LifeKind& kind, uint64_t seed, std::string directory,
                                const Trouble& trouble) {
  return std::make_unique<Script>(kind, seed, std::move(directory), trouble);
}

}  // namespace

std::span<const LifeScript> life_scripts() {
  static constexpr LifeScript kScripts[] = {
      {"", [](const LifeKind&) { return true; }, make_life<WriterLife>},
      {"_reader", [](const LifeKind& kind) { return kind.has_readers; }, make_life<ReaderLife>},
      {"_salvage", [](const LifeKind& kind) { return kind.has_salvage; }, make_life<SalvageLife>}};
  return kScripts;
}

}  // namespace firn::campaign
