#include "tools/jllm/serve/monitor.h"

#include <cstdio>

#include "tools/jllm/serve/json_members.h"
#include "tools/jllm/session.h"

namespace jllm::serve {
namespace {

const char* status_of(const Scheduler::State& state) {
  return state.failed ? "failed" : state.draining ? "draining" : "ok";
}

// Between two looks at the rails: sensors on I2C take a while to answer.
constexpr double kMeterSeconds = 0.25;
constexpr double kLongestPause = 1;

double rate(const Histogram& each_token) {
  return each_token.sum() > 0 ? double(each_token.count()) / each_token.sum() : 0;
}

}  // namespace

Monitor::Monitor(ModelFacts facts, platform::Guard guard, double now)
    : facts_(std::move(facts)),
      sysfs_(platform::sysfs_root()),
      zones_(sysfs_.zones()),
      started_(now),
      guard_(std::move(guard)),
      meter_(sysfs_, kLongestPause) {}

std::optional<double> Monitor::Metered::tokens_per_joule() const {
  if (!(energy.joules > 0)) return std::nullopt;
  return double(tokens) / energy.joules;
}

Monitor::Metered Monitor::metered() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return metered_;
}

void Monitor::meter(double now, uint64_t generated) {
  if (meter_.rails().empty() || now - metered_at_ < kMeterSeconds) return;
  const double known = meter_.energy().seconds;
  meter_.sample(now);
  metered_at_ = now;
  const uint64_t made = generated - metered_tokens_;
  metered_tokens_ = generated;
  if (!(meter_.energy().seconds > known)) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  metered_.energy = meter_.energy();
  metered_.tokens += made;
}

platform::Guard::Verdict Monitor::care(double now, uint64_t generated) {
  meter(now, generated);
  platform::Guard::Verdict verdict = guard_.check(now);
  if (!verdict.notice.empty()) {
    std::fprintf(stderr, "[device care: %s]\n", verdict.notice.c_str());
  }
  if (guard_.report().looks != looks_ || verdict.pause_seconds > 0) {
    looks_ = guard_.report().looks;
    const std::lock_guard<std::mutex> lock(mutex_);
    report_ = guard_.report();
    level_ = guard_.level();
  }
  return verdict;
}

std::string Monitor::health_json(const Scheduler::State& scheduler, const Metrics& metrics) const {
  const tool::HostMemory memory = tool::host_memory();
  const uint64_t available = sysfs_.mem_available().value_or(0);
  Json json = {{"status", status_of(scheduler)}};
  if (scheduler.failed) json["failure"] = scheduler.failure;
  json["uptime_seconds"] = tool::now_seconds() - started_;
  json["model"] = {{"id", facts_.model},
                   {"plan", facts_.plan},
                   {"architecture", facts_.architecture},
                   {"device", facts_.device},
                   {"context", facts_.context},
                   {"vocab_size", facts_.vocab_size},
                   {"load_seconds", facts_.load_seconds}};
  json["slots"] = {
      {"total", scheduler.slots}, {"busy", scheduler.busy}, {"tokens_kept", scheduler.kept}};
  json["queue"] = {{"length", scheduler.queued}, {"limit", scheduler.queue_limit}};
  json["tokens"] = {{"prompt", metrics.prompt_tokens.load()},
                    {"cached", metrics.cached_tokens.load()},
                    {"generated", metrics.generated_tokens.load()},
                    {"per_second_of_a_request", rate(metrics.each_token)}};
  if (facts_.prefix.tokens > 0) json["prefix"] = Json::parse(facts_.prefix.json());
  json["memory"] = {{"available_bytes", available},
                    {"resident_bytes", memory.resident},
                    {"plan",
                     {{"weights_bytes", facts_.memory.weights},
                      {"kv_bytes", facts_.memory.kv},
                      {"scratch_bytes", facts_.memory.scratch},
                      {"state_bytes", facts_.memory.state},
                      {"pinned_bytes", facts_.memory.pinned}}}};
  json["thermal"] = Json::array();
  for (const platform::ThermalZone& zone : zones_) {
    const std::optional<double> celsius = sysfs_.temperature(zone);
    if (celsius) json["thermal"].push_back({{"zone", zone.type}, {"celsius", *celsius}});
  }
  json["power"] = Json::array();
  for (const platform::PowerRail& rail : meter_.rails()) {
    const std::optional<double> watts = sysfs_.watts(rail);
    if (watts) json["power"].push_back({{"rail", rail.name}, {"watts", *watts}});
  }
  json["energy"] = nullptr;
  const Metered made = metered();
  if (made.tokens_per_joule()) {
    json["energy"] = {
        {"of", meter_.source()},          {"joules", made.energy.joules},
        {"seconds", made.energy.seconds}, {"mean_watts", *made.energy.mean_watts()},
        {"tokens", made.tokens},          {"tokens_per_joule", *made.tokens_per_joule()}};
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  json["device_care"] = Json::parse(report_.json());
  json["device_care"]["level"] = level_;
  return dump(json);
}

void Monitor::write(const Scheduler::State& scheduler, const Metrics& metrics,
                    PrometheusText* text) const {
  const auto gauge = [text](const char* name, const char* help, double value) {
    text->metric(name, "gauge", help);
    text->sample(value);
  };
  const tool::HostMemory memory = tool::host_memory();
  gauge("jllm_up", "1 while the model is well; 0: the device failed.", scheduler.failed ? 0 : 1);
  gauge("jllm_draining", "1 while the server takes no more requests and finishes those it has.",
        scheduler.draining ? 1 : 0);
  gauge("jllm_slots", "Sequences that there is room for.", scheduler.slots);
  gauge("jllm_slots_busy", "Sequences that requests have now.", scheduler.busy);
  gauge("jllm_queue_length", "Requests that wait for a slot.", scheduler.queued);
  gauge("jllm_queue_limit", "Requests that may wait.", scheduler.queue_limit);
  gauge("jllm_tokens_per_second", "Tokens a second that a request got on average.",
        rate(metrics.each_token));
  if (facts_.prefix.tokens > 0) {
    text->metric("jllm_prefix_tokens", "gauge", "Tokens that the server began with.");
    text->sample(double(facts_.prefix.tokens), label({{"source", facts_.prefix.source()}}));
    gauge("jllm_prefix_seconds", "What it took to have them.", facts_.prefix.seconds);
  }
  gauge("jllm_memory_available_bytes", "MemAvailable of the system.",
        double(sysfs_.mem_available().value_or(0)));
  gauge("jllm_resident_bytes", "Resident memory of the server.", double(memory.resident));
  text->metric("jllm_plan_bytes", "gauge", "Memory that the plan has taken.");
  text->sample(double(facts_.memory.weights), label({{"part", "weights"}}));
  text->sample(double(facts_.memory.kv), label({{"part", "kv"}}));
  text->sample(double(facts_.memory.scratch), label({{"part", "scratch"}}));
  text->sample(double(facts_.memory.state), label({{"part", "state"}}));
  text->metric("jllm_temperature_celsius", "gauge", "Thermal zones of the system.");
  for (const platform::ThermalZone& zone : zones_) {
    const std::optional<double> celsius = sysfs_.temperature(zone);
    // Types may be the same, and Prometheus takes no two samples of the same labels.
    const std::string folder = zone.folder.substr(zone.folder.rfind('/') + 1);
    if (celsius) text->sample(*celsius, label({{"zone", zone.type}, {"sensor", folder}}));
  }
  text->metric("jllm_power_watts", "gauge", "What the rails of the module take.");
  for (const platform::PowerRail& rail : meter_.rails()) {
    const std::optional<double> watts = sysfs_.watts(rail);
    if (watts) text->sample(*watts, label({{"rail", rail.name}}));
  }
  if (!meter_.rails().empty()) {
    const Metered made = metered();
    text->metric("jllm_energy_joules_total", "counter",
                 "What the module took while tokens were made.");
    text->sample(made.energy.joules);
    text->metric("jllm_energy_tokens_total", "counter", "Tokens that were made of that.");
    text->sample(double(made.tokens));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  gauge("jllm_backoff_level", "Steps of temperature that are reached now; each doubles the pause.",
        level_);
  text->metric("jllm_backoff_pauses_total", "counter", "Pauses before tokens because of heat.");
  text->sample(double(report_.pauses));
  text->metric("jllm_backoff_paused_seconds_total", "counter", "How long they were.");
  text->sample(report_.paused_seconds);
}

}  // namespace jllm::serve
