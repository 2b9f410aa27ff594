// SPDX-License-Identifier: Apache-2.0
#include "firn/io/gather.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace firn::io {
namespace {

// What arrives if every call takes at most `room` bytes and writes at most `written` of them.
std::string transferred(const std::vector<ByteSpan>& buffers, size_t room, size_t written) {
  std::string text;
  Gather gather(buffers);
  while (!gather.done() && text.size() < 10 * kBuffersPerCall) {
    size_t left = written;
    size_t offered = 0;
    for (const iovec& vector : gather.next(room)) {
      EXPECT_GT(vector.iov_len, 0u);
      offered += vector.iov_len;
      const size_t size = std::min(left, vector.iov_len);
      text.append(static_cast<const char*>(vector.iov_base), size);
      left -= size;
    }
    EXPECT_LE(offered, room);
    EXPECT_GT(offered, 0u);
    gather.advance(written - left);
  }
  return text;
}

TEST(Gather, GivenCallsThatWriteAnyPart_WhenRepeated_ThenEveryByteArrivesOnce) {
  const std::string text = "abcdefghijklmnopqrstuvwxyz";
  const std::vector<ByteSpan> buffers = {{},
                                         as_bytes(text).subspan(0, 5),
                                         {},
                                         {},
                                         as_bytes(text).subspan(5, 1),
                                         as_bytes(text).subspan(6, 13),
                                         as_bytes(text).subspan(19, 7),
                                         {}};
  for (size_t room = 1; room <= text.size() + 1; ++room)
    for (size_t written = 1; written <= room; ++written)
      EXPECT_EQ(transferred(buffers, room, written), text) << room << " " << written;
}

TEST(Gather, GivenMoreBuffersThanOneCallTakes_WhenRepeated_ThenAllArrive) {
  const std::string text(3 * kBuffersPerCall + 1, 'x');
  std::vector<ByteSpan> buffers;
  for (size_t i = 0; i < text.size(); ++i)
    buffers.push_back(as_bytes(text).subspan(i, 1));

  EXPECT_EQ(Gather(buffers).next(kTransferMaxBytes).size(), kBuffersPerCall);
  EXPECT_EQ(transferred(buffers, kTransferMaxBytes, kTransferMaxBytes), text);
}

TEST(Gather, GivenOnlyEmptyBuffers_WhenGathered_ThenThereIsNothingToDo) {
  const std::vector<ByteSpan> buffers(3);

  EXPECT_TRUE(Gather({}).done());
  EXPECT_TRUE(Gather(buffers).done());
}

}  // namespace
}  // namespace firn::io
