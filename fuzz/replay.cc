// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target without libFuzzer: the files of a corpus and those given, then random inputs.
// So every build that has the tests also runs the fuzz targets, for a moment.
//
//   firn_x_fuzz [--inputs COUNT] [--seed SEED] [--corpus FOLDER] [FILE...]
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "firn/base/bytes.h"
#include "firn/base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr uint64_t kInputSizeMaxBytes = 512;

int run(firn::ByteSpan input) {
  return LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

int run_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::cerr << "cannot read " << path << '\n';
    return 1;
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return run(firn::as_bytes(text));
}

// In the order of their names. A target without a corpus has lost it.
int run_corpus(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed))
    paths.push_back(entry.path().string());
  if (paths.empty()) {
    std::cerr << "no inputs in " << folder << '\n';
    return 1;
  }
  std::ranges::sort(paths);
  for (const std::string& path : paths)
    if (run_file(path) != 0) return 1;
  std::cout << paths.size() << " inputs of the corpus, ";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t inputs = 0;
  uint64_t seed = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--inputs" && i + 1 < argc)
      inputs = std::strtoull(argv[++i], nullptr, 10);
    else if (argument == "--seed" && i + 1 < argc)
      seed = std::strtoull(argv[++i], nullptr, 10);
    else if (argument == "--corpus" && i + 1 < argc) {
      if (run_corpus(argv[++i]) != 0) return 1;
    } else if (run_file(argument) != 0)
      return 1;
  }

  std::cout << "seed " << seed << ", " << inputs << " random inputs" << std::endl;
  firn::Random random(seed);
  for (uint64_t i = 0; i < inputs; ++i)
    run(random.bytes(random.below(kInputSizeMaxBytes + 1)));
  return 0;
}
