// SPDX-License-Identifier: Apache-2.0
#include "firn/base/crc32c.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firn/base/crc32c_implementation.h"

namespace firn {
namespace {

struct CheckValue {
  std::string message;
  uint32_t crc;
};

std::string counting(int first, int last) {
  std::string message;
  const int step = first <= last ? 1 : -1;
  for (int value = first; value != last + step; value += step)
    message.push_back(static_cast<char>(value));
  return message;
}

std::vector<CheckValue> check_values() {
  return {
      {"", 0x00000000},
      {"123456789", 0xE3069283},
      {"hello world", 0xC99465AA},
      {std::string(8, '\0'), 0x8C28B28A},
      {std::string(25, '\0'), 0x1DB1BF80},
      {std::string(32, '\0'), 0x8A9136AA},
      {std::string(32, '\xFF'), 0x62A8AB43},
      {counting(0x00, 0x1F), 0x46DD794E},
      {counting(0x1F, 0x00), 0x113FDB5C},
      {counting(0x01, 0xF0), 0x24C5D375},
      {"The quick brown fox jumps over the lazy dog", 0x22620404},
  };
}

std::vector<Crc32cImplementation> supported_implementations() {
  std::vector<Crc32cImplementation> supported;
  for (const auto implementation : {Crc32cImplementation::automatic, Crc32cImplementation::portable,
                                    Crc32cImplementation::hardware, Crc32cImplementation::isal}) {
    if (is_crc32c_supported(implementation)) supported.push_back(implementation);
  }
  return supported;
}

// The definition, bit by bit, sharing no code with what it checks.
uint32_t crc32c_by_definition(ByteSpan bytes) {
  uint32_t state = 0xFFFFFFFF;
  for (const std::byte b : bytes) {
    state ^= std::to_integer<uint32_t>(b);
    for (int bit = 0; bit < 8; ++bit)
      state = (state & 1) != 0 ? (state >> 1) ^ 0x82F63B78 : state >> 1;
  }
  return ~state;
}

Bytes random_bytes(std::mt19937_64& random, size_t size) {
  Bytes bytes(size);
  for (std::byte& b : bytes)
    b = static_cast<std::byte>(random());
  return bytes;
}

TEST(Crc32c, GivenPublishedMessages_WhenSummed_ThenEveryImplementationGivesTheirCheckValues) {
  for (const auto implementation : supported_implementations()) {
    for (const CheckValue& check : check_values()) {
      EXPECT_EQ(extend_crc32c_with(implementation, 0, as_bytes(check.message)), check.crc)
          << "implementation " << static_cast<int>(implementation) << ", message of "
          << check.message.size() << " bytes";
    }
  }
}

TEST(Crc32c, GivenRandomMessagesAtAnyAlignment_WhenSummed_ThenAllImplementationsAgree) {
  std::mt19937_64 random(1);
  const Bytes data = random_bytes(random, 5000 + 64);
  for (int round = 0; round < 600; ++round) {
    const size_t size = round < 300 ? static_cast<size_t>(round) : random() % 5001;
    const ByteSpan message = ByteSpan(data).subspan(random() % 64, size);

    const uint32_t expected = crc32c_by_definition(message);

    EXPECT_EQ(crc32c(message), expected) << size << " bytes";
    for (const auto implementation : supported_implementations())
      EXPECT_EQ(extend_crc32c_with(implementation, 0, message), expected)
          << "implementation " << static_cast<int>(implementation) << ", " << size << " bytes";
  }
}

TEST(Crc32c, GivenEverySplitOfAMessage_WhenExtended_ThenTheSumIsThatOfTheWhole) {
  std::mt19937_64 random(2);
  for (const size_t size : {0u, 1u, 17u, 255u, 256u, 300u, 1024u}) {
    const Bytes message = random_bytes(random, size);
    const uint32_t whole = crc32c_by_definition(message);
    for (size_t split = 0; split <= size; ++split) {
      const ByteSpan head = ByteSpan(message).first(split);
      const ByteSpan tail = ByteSpan(message).subspan(split);
      for (const auto implementation : supported_implementations()) {
        const uint32_t first = extend_crc32c_with(implementation, 0, head);
        ASSERT_EQ(extend_crc32c_with(implementation, first, tail), whole)
            << "implementation " << static_cast<int>(implementation) << ", split " << split << "/"
            << size;
      }
      ASSERT_EQ(combine_crc32c(crc32c(head), crc32c(tail), tail.size()), whole)
          << "split " << split << "/" << size;
    }
  }
}

TEST(Crc32c, GivenDistancesOfAllMagnitudes_WhenShifted_ThenHardwareAndPortableAgree) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 2000; ++round) {
    const uint64_t zeros = random() >> (random() % 64);
    const auto state = static_cast<uint32_t>(random());

    const uint32_t portable = shift_crc32c_with(Crc32cImplementation::portable, state, zeros);

    EXPECT_EQ(shift_crc32c(state, zeros), portable) << state << " by " << zeros;
    if (is_crc32c_supported(Crc32cImplementation::hardware)) {
      EXPECT_EQ(shift_crc32c_with(Crc32cImplementation::hardware, state, zeros), portable)
          << state << " by " << zeros;
    }
    const uint64_t part = zeros / 3;
    EXPECT_EQ(shift_crc32c(shift_crc32c(state, part), zeros - part), portable)
        << state << " by " << zeros;
  }
}

TEST(Crc32c, GivenAChangedRange_WhenPatched_ThenTheSumIsThatOfTheChangedMessage) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 200; ++round) {
    Bytes message = random_bytes(random, 1 + random() % 3000);
    const size_t offset = random() % message.size();
    const size_t length = random() % (message.size() - offset + 1);
    const Bytes replacement = random_bytes(random, length);
    const uint32_t before = crc32c(message);
    const uint32_t old_range = crc32c(ByteSpan(message).subspan(offset, length));

    copy_bytes(MutableByteSpan(message).subspan(offset), replacement);

    EXPECT_EQ(
        patch_crc32c(before, old_range, crc32c(replacement), message.size() - offset - length),
        crc32c_by_definition(message))
        << "range " << offset << "+" << length << " of " << message.size();
  }
}

TEST(Crc32c, GivenTheEnvironmentVariable_WhenChoosing_ThenUnknownValuesMeanAutomatic) {
  EXPECT_EQ(choose_crc32c(nullptr), Crc32cImplementation::automatic);
  EXPECT_EQ(choose_crc32c(""), Crc32cImplementation::automatic);
  EXPECT_EQ(choose_crc32c("fast"), Crc32cImplementation::automatic);
  EXPECT_EQ(choose_crc32c("Portable"), Crc32cImplementation::automatic);
  EXPECT_EQ(choose_crc32c("portable"), Crc32cImplementation::portable);
  EXPECT_EQ(choose_crc32c("isal"), Crc32cImplementation::isal);
  EXPECT_EQ(choose_crc32c("hardware"), is_crc32c_supported(Crc32cImplementation::hardware)
                                           ? Crc32cImplementation::hardware
                                           : Crc32cImplementation::automatic);
}

}  // namespace
}  // namespace firn
