// SPDX-License-Identifier: Apache-2.0
//
// firn_bench_index: LocationIndex against concurrent hash tables, all as maps from 64 random bits
// to a location. Peers: oneTBB's concurrent_hash_map, libcuckoo, std::unordered_map behind a shared
// mutex, the design of emdb's index written for this comparison, and absl::flat_hash_map, which has
// no threads. The floor is one cache line an operation over as many bytes as our index takes:
// dependent, independent or prefetched loads. Of a quick run the sizes end at 1 M, but for a few.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bench/index_engine.h"
#include "bench/index_phases.h"

namespace firn::bench {
namespace {

struct SizeFigures {
  uint64_t items;
  GetFigures gets;
};

// Where the JSON goes, with another ending.
std::string beside_json(const Arguments& arguments, const std::string& ending) {
  const std::filesystem::path json(arguments.json_path);
  return (json.parent_path() / (json.stem().string() + ending)).string();
}

// Data and commands for gnuplot in one file, so that a chart can be made anew.
void draw(const Arguments& arguments, const std::string& name, const std::string& commands) {
  if (arguments.json_path.empty()) return;
  const std::string script = beside_json(arguments, "-" + name + ".gp");
  const std::string image = beside_json(arguments, "-" + name + ".svg");
  std::ofstream(script) << "set terminal svg size 900,500 background 'white'\nset output '" << image
                        << "'\nset logscale x\nset grid\nset key outside\n"
                        << commands;
  if (std::system(("gnuplot '" + script + "'").c_str()) != 0) give_up("gnuplot failed: " + script);
  std::printf("wrote %s\n", image.c_str());
}

void draw_memory(const Arguments& arguments, const std::vector<MemoryCurve>& curves) {
  std::string data;
  std::string plot;
  for (const MemoryCurve& curve : curves) {
    const std::string block = "$curve" + std::to_string(&curve - curves.data());
    data += block + " << END\n";
    for (const MemoryPoint& point : curve.points)
      data += std::to_string(point.items) + " " +
              std::to_string(static_cast<double>(point.bytes) / static_cast<double>(point.items)) +
              "\n";
    data += "END\n";
    plot += (plot.empty() ? "plot " : ", ") + block + " with lines title '" + curve.engine + "'";
  }
  draw(arguments, "memory",
       data + "set xlabel 'entries'\nset ylabel 'bytes an entry (resident)'\nset xrange [1e5:*]\n" +
           "set yrange [0:100]\n" + plot + "\n");
}

void draw_gets(const Arguments& arguments, const std::vector<SizeFigures>& figures) {
  std::string data = "$gets << END\n";
  for (const auto& [items, gets] : figures)
    data += std::to_string(items) + " " + std::to_string(gets.floor) + " " +
            std::to_string(gets.firn) + " " + std::to_string(gets.batched) + " " +
            std::to_string(gets.tbb) + "\n";
  data += "END\n";
  draw(arguments, "gets",
       data +
           "set xlabel 'entries'\nset ylabel 'ns a get'\nset logscale y\n"
           "plot $gets using 1:2 with linespoints title 'dependent loads', "
           "$gets using 1:3 with linespoints title 'firn, dependent', "
           "$gets using 1:4 with linespoints title 'firn, find\\_many', "
           "$gets using 1:5 with linespoints title 'tbb'\n");
}

int run(int argc, char** argv) {
  const Arguments arguments = parse_arguments(argc, argv, "index");
  Report report("index");
  const IndexPhases phases{report, arguments, arguments.quick ? 3 : 5};
  constexpr uint64_t kMillion = 1'000'000;
  pin_to_processor(0);

  draw_memory(arguments, arguments.quick ? measure_memory(phases, 10 * kMillion, 3 * kMillion)
                                         : measure_memory(phases, 50 * kMillion, 10 * kMillion));
  std::vector<uint64_t> sizes = {100'000, kMillion, 10 * kMillion};
  if (!arguments.quick) sizes.push_back(50 * kMillion);
  std::vector<SizeFigures> figures;
  for (const uint64_t items : sizes)
    figures.push_back({items, measure_operations(phases, items)});
  draw_gets(arguments, figures);

  measure_batched_puts(phases, 10 * kMillion);
  measure_key_patterns(phases, kMillion);
  measure_growth(phases, arguments.quick ? kMillion : 10 * kMillion, true);
  measure_growth(phases, arguments.quick ? 10 * kMillion : 50 * kMillion, false);
  measure_snapshots(phases, arguments.quick ? 10 * kMillion : 50 * kMillion);

  std::filesystem::remove_all(arguments.directory);
  if (arguments.json_path.empty() || report.write_json(arguments.json_path)) return 0;
  std::fprintf(stderr, "cannot write %s\n", arguments.json_path.c_str());
  return 1;
}

}  // namespace
}  // namespace firn::bench

int main(int argc, char** argv) {
  return firn::bench::run(argc, argv);
}
