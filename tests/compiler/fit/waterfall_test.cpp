// The waterfall adds up, whatever is known of the device, and its bars follow each other.
#include "compiler/report/waterfall.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>
#include <sstream>

#include "tests/compiler/fit/some_model.h"

namespace jllm::report {
namespace {

using fit::device;
using fit::kMiB;
using fit::SomeModel;
using gguf::value_of;

uint64_t sum(const Waterfall& w) {
  uint64_t bytes = 0;
  for (const Segment& segment : w.segments) bytes += segment.bytes;
  return bytes;
}

uint64_t bytes_of(const Waterfall& w, const std::string& key) {
  for (const Segment& segment : w.segments) {
    if (segment.key == key) return segment.bytes;
  }
  return 0;
}

TEST(Waterfall, AddsUpOnEveryDevice) {
  SomeModel model;
  std::vector<std::string> names = target::builtin_names();
  names.push_back("sm_89");
  for (const std::string& name : names) {
    const target::Target target = value_of(target::find(name));
    for (const uint64_t limit : {uint64_t{0}, kMiB, 900 * kMiB, uint64_t{1} << 40}) {
      for (const uint64_t reserve : {uint64_t{0}, 77 * kMiB}) {
        BudgetOptions budget;
        if (limit != 0) budget.limit = limit;
        budget.reserve = reserve;
        const Footprint footprint =
            value_of(model.planner.footprint(target, fit::plan_of(256), budget));
        const Waterfall w = make_waterfall(footprint, target);
        EXPECT_EQ(sum(w), w.memory + w.missing) << name << " " << limit;
        EXPECT_EQ(w.plan, footprint.budget.total());
        EXPECT_GE(w.memory, target.ram_bytes);
        EXPECT_EQ(w.missing > 0, !footprint.budget.fits());
        EXPECT_TRUE(w.missing == 0 || bytes_of(w, "free") == 0);
        EXPECT_EQ(bytes_of(w, "reserve"), reserve);
      }
    }
  }
}

// 8192 MiB as sold, 7618 visible, 6300 planned with.
TEST(Waterfall, NamesTheSystemsShare) {
  SomeModel model;
  target::Target target = value_of(target::find("orin-nano-8gb"));
  const auto waterfall = [&] {
    return make_waterfall(value_of(model.planner.footprint(target, fit::plan_of(256), {})), target);
  };
  Waterfall w = waterfall();
  EXPECT_EQ(w.memory, 8192 * kMiB);
  EXPECT_EQ(bytes_of(w, "firmware"), (8192 - 7618) * kMiB);
  EXPECT_EQ(bytes_of(w, "system"), (7618 - 6300) * kMiB);
  EXPECT_EQ(bytes_of(w, "free"), 6300 * kMiB - w.plan);
  ASSERT_FALSE(static_cast<bool>(target::use_desktop_budget(&target)));
  w = waterfall();
  EXPECT_EQ(bytes_of(w, "system"), (7618 - 6300 + 865) * kMiB);
}

// The lines of a print: name, MiB, first and last column of the bar.
struct Line {
  std::string name;
  double mib;
  size_t begin, end;
};

std::vector<Line> lines_of(const Waterfall& w) {
  std::string text;
  llvm::raw_string_ostream os(text);
  print(w, {}, os);
  std::istringstream in(os.str());
  const std::regex form("^  (\\S.*?) +([0-9.]+) MiB( .*|)$");
  std::vector<Line> lines;
  std::smatch match;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.find("the plan takes") != std::string::npos) break;
    if (!std::regex_match(line, match, form)) continue;
    const std::string bar = match[3].str();
    const size_t begin = bar.find_first_of("-#+.");
    const size_t end =
        begin == std::string::npos ? begin : bar.find_first_not_of(bar[begin], begin);
    lines.push_back({match[1], std::stod(match[2]), begin, std::min(end, bar.size())});
  }
  return lines;
}

// Sizes in whole MiB, so that the rounded figures of the text are exact.
TEST(Waterfall, TheTextAddsUpAndBarsFollowEachOther) {
  Footprint footprint;
  Budget& b = footprint.budget;
  b.weights = 2000 * kMiB;
  b.kv = 500 * kMiB;
  b.scratch = 100 * kMiB;
  b.state = 80 * kMiB;
  b.pinned = 20 * kMiB;
  b.code = 40 * kMiB;
  b.context = 150 * kMiB;
  b.graphs = 6 * kMiB;
  b.host = 4 * kMiB;
  b.reserve = 100 * kMiB;
  b.limit = 3500 * kMiB;
  target::Target target;
  target.ram_bytes = 4096 * kMiB;
  target.visible_bytes = 3900 * kMiB;
  const Waterfall w = make_waterfall(footprint, target);
  std::vector<Line> lines = lines_of(w);
  ASSERT_EQ(lines.size(), 1 + w.segments.size());
  EXPECT_EQ(lines[0].name, "memory");
  EXPECT_EQ(lines[0].mib, 4096);
  lines.erase(lines.begin());
  double total = 0;
  size_t last_begin = 0, last_end = lines[0].begin;
  for (const Line& line : lines) {
    total += line.mib;
    // Each begins where the last one ended, or within it where that is less than a column wide.
    EXPECT_GE(line.begin, last_begin) << line.name;
    EXPECT_LE(line.begin, last_end) << line.name;
    last_begin = line.begin;
    last_end = line.end;
  }
  EXPECT_EQ(total, 4096);
  EXPECT_EQ(lines.back().name, "free");
  EXPECT_EQ(lines.back().end - lines.front().begin, 40u);
  // 2000 of 4096 MiB are 19.5 of 40 columns.
  const auto weights = std::find_if(lines.begin(), lines.end(),
                                    [](const Line& line) { return line.name == "weights"; });
  EXPECT_NEAR(double(weights->end - weights->begin), 19.5, 1);
}

TEST(Waterfall, SaysWhatIsMissing) {
  SomeModel model;
  const target::Target target = device("orin-nano-8gb", 6 * kMiB);
  const Footprint footprint = value_of(model.planner.footprint(target, fit::plan_of(256), {}));
  std::string text;
  llvm::raw_string_ostream os(text);
  print(make_waterfall(footprint, target), {}, os);
  EXPECT_NE(os.str().find(" of a budget of 6.0 MiB, "), std::string::npos) << text;
  EXPECT_NE(os.str().find(" too much\n"), std::string::npos) << text;
  EXPECT_EQ(os.str().find("free"), std::string::npos) << text;
}

TEST(Waterfall, PlainTextIsAsciiAndUncoloured) {
  SomeModel model;
  const target::Target target = value_of(target::find("orin-nano-8gb"));
  const Waterfall w =
      make_waterfall(value_of(model.planner.footprint(target, fit::plan_of(256), {})), target);
  const auto text = [&](const Style& style) {
    std::string result;
    llvm::raw_string_ostream os(result);
    print(w, style, os);
    return os.str();
  };
  for (const char c : text({})) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~')) << int(c);
  EXPECT_NE(text({true, false}).find("\u2588"), std::string::npos);
  EXPECT_EQ(text({true, false}).find('\x1b'), std::string::npos);
  EXPECT_NE(text({true, true}).find('\x1b'), std::string::npos);
  // Colours change nothing but colours.
  EXPECT_EQ(std::regex_replace(text({true, true}), std::regex("\x1b\\[[0-9]+m"), ""),
            text({true, false}));
}

// Sets variables of the locale and restores them.
class Locale {
 public:
  Locale(const char* all, const char* ctype, const char* lang) {
    set("LC_ALL", all);
    set("LC_CTYPE", ctype);
    set("LANG", lang);
    set("NO_COLOR", nullptr);
    set("TERM", "xterm");
  }
  ~Locale() {
    for (const auto& [name, value] : old_) {
      value ? setenv(name, value->c_str(), 1) : unsetenv(name);
    }
  }
  void set(const char* name, const char* value) {
    const char* old = std::getenv(name);
    old_.insert(old_.begin(),
                {name, old != nullptr ? std::optional<std::string>(old) : std::nullopt});
    value != nullptr ? setenv(name, value, 1) : unsetenv(name);
  }

 private:
  std::vector<std::pair<const char*, std::optional<std::string>>> old_;
};

TEST(Style, FollowsTheLocale) {
  EXPECT_TRUE((Locale(nullptr, nullptr, "en_GB.UTF-8"), detect_style(false).unicode));
  EXPECT_TRUE((Locale(nullptr, "C.utf8", "C"), detect_style(false).unicode));
  EXPECT_FALSE((Locale("C", nullptr, "en_GB.UTF-8"), detect_style(true).unicode));
  EXPECT_FALSE((Locale(nullptr, nullptr, nullptr), detect_style(true).unicode));
}

TEST(Style, ColoursTerminalsOnly) {
  Locale locale(nullptr, nullptr, "C.UTF-8");
  EXPECT_TRUE(detect_style(true).colour);
  EXPECT_FALSE(detect_style(false).colour);
  locale.set("NO_COLOR", "1");
  EXPECT_FALSE(detect_style(true).colour);
  locale.set("NO_COLOR", nullptr);
  locale.set("TERM", "dumb");
  EXPECT_FALSE(detect_style(true).colour);
}

}  // namespace
}  // namespace jllm::report
