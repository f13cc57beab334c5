#include "progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include <sys/ioctl.h>
#include <unistd.h>

#include "messages.hpp"
#include "output.hpp"

namespace oncemark::tools {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kFrame{100};
constexpr milliseconds kLine{5'000};
constexpr std::chrono::duration<double> kMemory{5};
constexpr std::uint64_t kBar = 20;  // characters

std::size_t columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string fixed(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", number);
  return text;
}

std::uint64_t done(const dead_letter::ReplayJob& job) { return job.checkpoint; }

}  // namespace

Progress::Progress(Form form, const dead_letter::ReplayJob& at_start)
    : form_(form), done_before_(done(at_start)), began_(steady_clock::now()), measured_at_(began_) {
  if (form_ == Form::lines) drawn_at_ = began_;
}

Progress::~Progress() { show_progress({}); }

milliseconds Progress::elapsed() const {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - began_);
}

void Progress::update(const dead_letter::ReplayJob& job) {
  const auto now = steady_clock::now();
  if (now - drawn_at_ < (form_ == Form::animated ? kFrame : kLine)) return;
  drawn_at_ = now;
  draw(job);
}

/// Over the last seconds rather than from the start, so that the time left is right soon after a pause.
double Progress::rate_now(std::uint64_t done_now) {
  const auto now = steady_clock::now();
  const double seconds = std::max(1e-6, std::chrono::duration<double>(now - measured_at_).count());
  const double latest = static_cast<double>(done_now - std::min(done_now, done_before_)) / seconds;
  const double weight = rate_ < 0 ? 1 : 1 - std::exp(-seconds / kMemory.count());
  rate_ = weight * latest + (1 - weight) * std::max(0.0, rate_);
  done_before_ = done_now;
  measured_at_ = now;
  return rate_;
}

void Progress::draw(const dead_letter::ReplayJob& job) {
  const double rate = rate_now(done(job));
  const std::uint64_t left = job.selected > done(job) ? job.selected - done(job) : 0;
  const milliseconds eta(rate > 0 ? static_cast<std::int64_t>(std::min(1e15, 1e3 * static_cast<double>(left) / rate))
                                  : 0);
  if (form_ == Form::json) {
    print_json({{"event", "progress"},
                {"job", job.id},
                {"selected", job.selected},
                {"replayed", job.replayed},
                {"skipped", job.skipped},
                {"guarded", job.guarded},
                {"refused", job.refused},
                {"note", job.note.empty() ? Json() : Json(job.note)},
                {"rate", rate},
                {"eta_seconds", std::chrono::duration<double>(eta).count()}});
    return;
  }
  std::string counts = grouped(done(job)) + "/" + grouped(job.selected) + "  ";
  if (job.note.empty()) {
    counts += fixed(rate) + "/s  ETA " + short_duration(eta) + "  skipped " +
              grouped(job.skipped + job.guarded + job.refused);
  } else {
    counts += job.note;
  }
  if (form_ == Form::lines) {
    say("replay job " + std::to_string(job.id) + ": " + counts);
    return;
  }
  const std::uint64_t full = job.selected > 0 ? std::min(kBar, kBar * done(job) / job.selected) : kBar;
  const std::string line = "replay [" + std::string(full, '#') + std::string(kBar - full, '.') + "] " + counts;
  show_progress(line.substr(0, columns() - 1));
}

}  // namespace oncemark::tools
