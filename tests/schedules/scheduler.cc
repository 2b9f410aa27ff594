// SPDX-License-Identifier: Apache-2.0
#include "tests/schedules/scheduler.h"

#include <algorithm>
#include <utility>

#include <pthread.h>

#include "firn/base/check.h"

namespace firn::schedules {
namespace {

Scheduler* g_current = nullptr;
constexpr uint64_t kStepsMax = 200'000;

}  // namespace

Scheduler* Scheduler::current() {
  return g_current;
}

Scheduler::Scheduler(uint64_t seed)
    : random_(seed), by_priority_(!random_.one_in(3)), drains_one_in_(1 + random_.below(40)) {
  constexpr uint64_t kHorizon = 400;
  for (uint64_t i = random_.below(5); i > 0; --i)
    changes_.push_back(random_.below(kHorizon));
  std::ranges::sort(changes_);
}

Scheduler::~Scheduler() = default;

void Scheduler::add(std::function<void()> body) {
  constexpr size_t kStackBytes = 256 << 10;
  auto fiber = std::make_unique<Fiber>();
  fiber->body = std::move(body);
  fiber->stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  fiber->priority = UINT64_MAX / 2 + 1 + random_.below(UINT64_MAX / 2);
  CHECK(getcontext(&fiber->context) == 0, "a context can be had");
  fiber->context.uc_stack.ss_sp = fiber->stack.get();
  fiber->context.uc_stack.ss_size = kStackBytes;
  fiber->context.uc_link = &outside_;
  makecontext(&fiber->context, enter, 0);
  fibers_.push_back(std::move(fiber));
}

void Scheduler::enter() {
  Scheduler& self = *g_current;
  self.running_->body();
  drain(*self.running_, self.running_->buffer.size());
  self.running_->ended = true;
}

// The fiber that runs says where it goes on; `run` only starts the first and follows the ends.
bool Scheduler::run() {
  g_current = this;
  for (;;) {
    running_ = nullptr;
    for (const auto& fiber : fibers_)
      if (!fiber->ended && (running_ == nullptr || fiber->priority > running_->priority))
        running_ = fiber.get();
    if (running_ == nullptr || stuck_) break;
    swapcontext(&outside_, &running_->context);
  }
  g_current = nullptr;
  return !stuck_;
}

void Scheduler::step() {
  if (held_ != 0) return;
  drain_some();
  if (++steps_ > kStepsMax) {
    stuck_ = true;
    swapcontext(&running_->context, &outside_);
  }
  while (!changes_.empty() && changes_.front() <= steps_) {
    running_->priority = --lowest_;
    changes_.erase(changes_.begin());
  }
  switch_to_next();
}

void Scheduler::switch_to_next() {
  Fiber* next = nullptr;
  std::vector<Fiber*> alive;
  for (const auto& fiber : fibers_) {
    if (fiber->ended) continue;
    alive.push_back(fiber.get());
    if (next == nullptr || fiber->priority > next->priority) next = fiber.get();
  }
  if (!by_priority_) next = alive[random_.below(alive.size())];
  if (next == running_) return;
  Fiber& from = *std::exchange(running_, next);
  swapcontext(&from.context, &next->context);
}

void Scheduler::drain_some() {
  for (const auto& fiber : fibers_)
    if (!fiber->buffer.empty() && random_.one_in(drains_one_in_))
      drain(*fiber, 1 + random_.below(fiber->buffer.size()));
}

void Scheduler::drain(Fiber& fiber, size_t count) {
  for (; count > 0; --count) {
    *fiber.buffer.front().word = fiber.buffer.front().value;
    fiber.buffer.pop_front();
  }
}

uint64_t Scheduler::load(const uint64_t& word) {
  step();
  const auto& buffer = running_->buffer;
  const auto own = std::find_if(buffer.rbegin(), buffer.rend(),
                                [&](const Waiting& each) { return each.word == &word; });
  return own == buffer.rend() ? word : own->value;
}

void Scheduler::store(uint64_t& word, uint64_t value, bool ordered) {
  step();
  running_->buffer.push_back({&word, value});
  if (ordered) drain(*running_, running_->buffer.size());
}

bool Scheduler::compare_exchange(uint64_t& word, uint64_t& expected, uint64_t desired) {
  step();
  drain(*running_, running_->buffer.size());
  if (word != expected) {
    expected = word;
    return false;
  }
  word = desired;
  return true;
}

uint64_t Scheduler::exchange(uint64_t& word, uint64_t value) {
  step();
  drain(*running_, running_->buffer.size());
  return std::exchange(word, value);
}

uint64_t Scheduler::fetch_add(uint64_t& word, uint64_t value) {
  step();
  drain(*running_, running_->buffer.size());
  return std::exchange(word, word + value);
}

void Scheduler::drain_all() {
  step();
  for (const auto& fiber : fibers_)
    drain(*fiber, fiber->buffer.size());
}

void Scheduler::wait() {
  running_->priority = --lowest_;
  step();
}

}  // namespace firn::schedules

// One thread needs no mutexes, and a fiber that blocked on one would block all of them. Instead
// nobody else runs while one is held. These take the place of the C library's.
extern "C" int pthread_mutex_lock(pthread_mutex_t* /*mutex*/) {
  if (auto* const scheduler = firn::schedules::Scheduler::current()) scheduler->hold();
  return 0;
}
extern "C" int pthread_mutex_unlock(pthread_mutex_t* /*mutex*/) {
  if (auto* const scheduler = firn::schedules::Scheduler::current()) scheduler->release();
  return 0;
}
