// SPDX-License-Identifier: Apache-2.0
#include "bench/index_workload.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "firn/base/endian.h"

namespace firn::bench {
namespace {

constexpr double kExponent = 0.99;
constexpr uint64_t kAbsent = uint64_t{1} << 40;  // no item has so large a number

// The sum of 1 / i^kExponent for i = 1 to `last`; the far part by its integral.
double zeta(uint64_t last) {
  constexpr uint64_t kExact = 10'000;
  double sum = 0;
  for (uint64_t i = 1; i <= std::min(last, kExact); ++i)
    sum += std::pow(static_cast<double>(i), -kExponent);
  if (last <= kExact) return sum;
  const auto integral = [](double x) { return std::pow(x, 1 - kExponent) / (1 - kExponent); };
  return sum + integral(static_cast<double>(last) + 0.5) - integral(kExact + 0.5);
}

template <size_t kPrefix>
void write_text(const char (&prefix)[kPrefix], uint64_t number, bool hexadecimal,
                MutableByteSpan key) {
  constexpr size_t kLength = kPrefix - 1;
  std::memcpy(key.data(), prefix, kLength);
  const uint64_t base = hexadecimal ? 16 : 10;
  for (size_t i = key.size(); i > kLength; --i, number /= base)
    key[i - 1] = static_cast<std::byte>("0123456789abcdef"[number % base]);
}

}  // namespace

Picker::Picker(Distribution distribution, uint64_t items, uint64_t seed)
    : random_(seed), items_(items), zipf_(distribution == Distribution::zipf) {
  if (!zipf_) return;
  zeta_ = zeta(items);
  eta_ = (1 - std::pow(2.0 / static_cast<double>(items), 1 - kExponent)) / (1 - zeta(2) / zeta_);
}

uint64_t Picker::next() {
  if (!zipf_) return 1 + random_.below(items_);
  return 1 + key_of(zipf_rank() + kAbsent) % items_;
}

uint64_t Picker::zipf_rank() {
  const double chance = static_cast<double>(random_.next() >> 11) * 0x1p-53;
  const double scaled = chance * zeta_;
  if (scaled < 1) return 0;
  if (scaled < 1 + std::pow(0.5, kExponent)) return 1;
  return static_cast<uint64_t>(static_cast<double>(items_) *
                               std::pow(eta_ * chance - eta_ + 1, 1 / (1 - kExponent)));
}

std::vector<uint64_t> make_gets(Picker& picker, size_t count, bool absent) {
  std::vector<uint64_t> keys(count);
  for (uint64_t& key : keys)
    key = key_of(picker.next() + (absent ? kAbsent : 0));
  return keys;
}

std::vector<Operation> make_mix(Picker& picker, size_t count, uint64_t puts_every) {
  std::vector<Operation> operations(count);
  Random random(count + puts_every);
  for (Operation& operation : operations) {
    const uint64_t item = picker.next();
    const bool put = random.one_in(puts_every);
    operation.key = key_of(item);
    operation.value = put ? item | random.below(kVersions) << kVersionShift : Operation::kGet;
  }
  return operations;
}

std::vector<Operation> make_churn(uint64_t first, uint64_t behind_last, uint64_t step,
                                  size_t count) {
  std::vector<Operation> operations;
  for (; operations.size() < count; first += step, behind_last += step) {
    operations.push_back({key_of(behind_last), behind_last});
    operations.push_back({key_of(first), Operation::kRemove});
  }
  return operations;
}

const std::vector<KeyPattern>& key_patterns() {
  static const std::vector<KeyPattern> all = {
      {"user:%011d", 16,
       [](uint64_t i, MutableByteSpan key) { write_text("user:", i, false, key); }},
      {"key:%012d", 16, [](uint64_t i, MutableByteSpan key) { write_text("key:", i, false, key); }},
      {"key-%08d", 12, [](uint64_t i, MutableByteSpan key) { write_text("key-", i, false, key); }},
      {"k%07d", 8, [](uint64_t i, MutableByteSpan key) { write_text("k", i, false, key); }},
      {"session/%024x", 32,
       [](uint64_t i, MutableByteSpan key) { write_text("session/", i, true, key); }},
      {"u64 big-endian", 8,
       [](uint64_t i, MutableByteSpan key) {
         for (size_t byte = 0; byte < 8; ++byte)
           key[byte] = static_cast<std::byte>(i >> (56 - 8 * byte));
       }},
      {"u64 little-endian", 8,
       [](uint64_t i, MutableByteSpan key) { std::memcpy(key.data(), &i, 8); }},
  };
  return all;
}

void write_random_key(uint64_t item, MutableByteSpan key) {
  for (size_t at = 0; at < key.size(); at += 8) {
    const uint64_t word = key_of(item + (at << 40));
    std::memcpy(&key[at], &word, std::min<size_t>(8, key.size() - at));
  }
}

}  // namespace firn::bench
