#include "tools/jllm/serve/scheduler.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "tools/jllm/session.h"

namespace jllm::serve {
namespace {

using tool::now_seconds;

// How long a slot whose client reads too slowly is left alone.
constexpr double kStalledSeconds = 0.005;
// Copying a prefix from another slot is worth it from so many tokens on.
constexpr uint32_t kWorthCopying = 32;

uint32_t common_prefix(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b,
                       size_t most) {
  most = std::min({most, a.size(), b.size()});
  size_t count = 0;
  while (count < most && a[count] == b[count]) ++count;
  return static_cast<uint32_t>(count);
}

}  // namespace

Scheduler::Scheduler(Engine& engine, Metrics& metrics, Care care, uint32_t queue_limit, Beat beat,
                     const std::vector<uint32_t>& prefix)
    : engine_(engine),
      metrics_(metrics),
      care_(std::move(care)),
      beat_(std::move(beat)),
      slots_(engine.slots()),
      logits_(engine.vocab_size()),
      vector_(engine.embedding_length()),
      mask_((engine.vocab_size() + 31) / 32) {
  state_.slots = engine.slots();
  state_.queue_limit = queue_limit;
  state_.kept.assign(slots_.size(), static_cast<uint32_t>(prefix.size()));
  // Memory is taken now; a step that makes a token takes none of the scheduler's.
  for (Slot& slot : slots_) {
    slot.tokens = prefix;
    slot.tokens.reserve(engine.context());
  }
  for (auto* slots : {&ready_, &batch_, &asked_, &waiting_}) slots->reserve(slots_.size());
  thread_ = std::thread([this] { run(); });
}

Scheduler::~Scheduler() { stop(); }

Scheduler::Admission Scheduler::submit(std::shared_ptr<Job> job) {
  job->submitted = now_seconds();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (state_.failed) return Admission::kFailed;
    if (state_.draining || stopping_) return Admission::kDraining;
    // The queue is for those that find no slot: free ones take a job each from it at once.
    if (queue_.size() >= state_.queue_limit + (state_.slots - state_.busy)) {
      ++metrics_.refused_full;
      return Admission::kFull;
    }
    queue_.push_back(std::move(job));
    state_.queued = static_cast<uint32_t>(queue_.size());
  }
  changed_.notify_one();
  return Admission::kQueued;
}

void Scheduler::drain() {
  const std::lock_guard<std::mutex> lock(mutex_);
  state_.draining = true;
}

void Scheduler::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Scheduler::State Scheduler::state() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return state_;
}

uint32_t Scheduler::retry_after() const {
  constexpr double kMost = 60;
  const uint64_t count = metrics_.request.count();
  const double mean = count > 0 ? metrics_.request.sum() / double(count) : 1;
  return static_cast<uint32_t>(std::clamp(std::ceil(mean / double(slots_.size())), 1.0, kMost));
}

void Scheduler::run() {
  Finish end = Finish::kShutdown;
  try {
    while (wait()) {
      if (beat_) beat_(now_seconds());
      end_unwanted();
      admit();
      const bool consumed = consume();
      const bool decoded = decode();
      publish();
      if (!consumed && !decoded) pause(kStalledSeconds);
    }
  } catch (const std::exception& failure) {
    const std::lock_guard<std::mutex> lock(mutex_);
    state_.failed = true;
    state_.failure = failure.what();
    end = Finish::kFailed;
  }
  finish_all(end);
}

// Until there is something to do; false: the server ends.
bool Scheduler::wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  const bool busy = std::any_of(slots_.begin(), slots_.end(),
                                [](const Slot& slot) { return slot.job != nullptr; });
  const auto wanted = [this] { return stopping_ || !queue_.empty(); };
  if (!busy && !beat_) changed_.wait(lock, wanted);
  while (!busy && beat_ &&
         !changed_.wait_for(lock, std::chrono::duration<double>(kBeatSeconds), wanted)) {
    lock.unlock();
    beat_(now_seconds());
    lock.lock();
  }
  return !stopping_;
}

void Scheduler::pause(double seconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return stopping_; });
}

void Scheduler::publish() {
  const std::lock_guard<std::mutex> lock(mutex_);
  state_.busy = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].job != nullptr) ++state_.busy;
    state_.kept[i] = static_cast<uint32_t>(slots_[i].tokens.size());
  }
  state_.queued = static_cast<uint32_t>(queue_.size());
}

// Requests that nobody waits for any more, or that took too long, in slots and in the queue.
void Scheduler::end_unwanted() {
  const double now = now_seconds();
  const auto verdict = [now](const Job& job, Finish* why) {
    *why = job.cancelled ? Finish::kCancelled : Finish::kTimeout;
    return job.cancelled || now > job.deadline;
  };
  Finish why;
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].job != nullptr && verdict(*slots_[i].job, &why)) finish(i, why);
  }
  std::vector<std::pair<std::shared_ptr<Job>, Finish>> ended;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto job = queue_.begin(); job != queue_.end();) {
      if (verdict(**job, &why)) {
        ended.emplace_back(std::move(*job), why);
        job = queue_.erase(job);
      } else {
        ++job;
      }
    }
  }
  for (const auto& [job, finish] : ended) finish_queued(*job, finish);
}

void Scheduler::admit() {
  const auto is_free = [](const Slot& slot) { return slot.job == nullptr; };
  while (std::any_of(slots_.begin(), slots_.end(), is_free)) {
    std::shared_ptr<Job> job;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
      ++state_.busy;
      state_.queued = static_cast<uint32_t>(queue_.size());
    }
    start(std::move(job));
  }
}

void Scheduler::start(std::shared_ptr<Job> job) {
  const uint32_t index = choose_slot(job->inputs.empty() ? job->prompt : job->inputs.front());
  Slot& slot = slots_[index];
  slot.made = 0;
  slot.used = ++jobs_;
  slot.job = std::move(job);
  metrics_.queued.add(now_seconds() - slot.job->submitted);
  begin(index);
}

// The job's prompt, or the next of its inputs.
void Scheduler::begin(uint32_t index) {
  Slot& slot = slots_[index];
  const Job& job = *slot.job;
  const std::vector<uint32_t>& prompt = job.inputs.empty() ? job.prompt : job.inputs[slot.made];
  uint32_t kept = 0;
  reuse(index, prompt, &kept);
  slot.tokens = prompt;
  slot.tokens.reserve(engine_.context());
  slot.to_consume = static_cast<uint32_t>(prompt.size()) - kept;
  engine_.set_mask(index, nullptr);
  engine_.begin(index, job.sampling, slot.tokens.data() + kept, slot.to_consume);
  metrics_.prompt_tokens += slot.tokens.size();
  metrics_.cached_tokens += kept;
  slot.job->sink->start(kept);
}

// Of the free slots that whose tokens the prompt begins with; among equals the one whose tokens are
// the least likely to be wanted again.
uint32_t Scheduler::choose_slot(const std::vector<uint32_t>& prompt) const {
  uint32_t best = 0, longest = 0;
  bool found = false;
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].job != nullptr) continue;
    const uint32_t common = common_prefix(slots_[i].tokens, prompt, prompt.size() - 1);
    const bool older = slots_[i].used < slots_[best].used;
    if (!found || common > longest || (common == longest && older)) {
      best = i;
      longest = common;
      found = true;
    }
  }
  return best;
}

// Keeps, or copies from another slot, what the prompt begins with. The last token is left to
// consume: the logits behind it are wanted.
void Scheduler::reuse(uint32_t index, const std::vector<uint32_t>& prompt, uint32_t* kept) {
  *kept = common_prefix(slots_[index].tokens, prompt, prompt.size() - 1);
  uint32_t from = index, longest = *kept;
  for (uint32_t i = 0; engine_.copies_prefixes() && i < slots_.size(); ++i) {
    const Slot& other = slots_[i];
    if (i == index || other.to_consume > 0) continue;
    const uint32_t common = common_prefix(other.tokens, prompt, prompt.size() - 1);
    if (common > longest) {
      from = i;
      longest = common;
    }
  }
  if (from != index && longest >= *kept + kWorthCopying) {
    engine_.copy_prefix(index, from, longest);
    *kept = longest;
  } else {
    engine_.rewind(index, *kept);
  }
}

// One replay of one prompt, in turn; false: there is none to consume.
bool Scheduler::consume() {
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    const uint32_t index = (next_to_consume_ + i) % static_cast<uint32_t>(slots_.size());
    Slot& slot = slots_[index];
    if (slot.job == nullptr || slot.to_consume == 0) continue;
    collect();  // what is there already does not wait for it
    slot.to_consume = engine_.consume(index);
    next_to_consume_ = index + 1;
    return true;
  }
  return false;
}

// A token for every text that has room for it; false: there is none.
bool Scheduler::decode() {
  const bool ahead = may_run_ahead();
  const bool collected = !ahead && collect();
  if (!choose_ready()) return collect() || collected;
  const platform::Guard::Verdict verdict = care_(now_seconds());
  if (verdict.stop) {
    finish_all(Finish::kMemory);
    return true;
  }
  if (verdict.pause_seconds > 0) {
    collect();
    pause(verdict.pause_seconds);
    if (!choose_ready()) return true;
  }
  const bool alone = ready_.size() == 1 && engine_.speculates();
  if (alone && collect() && !choose_ready()) return true;
  batch_.clear();
  for (const uint32_t slot : ready_) {
    // What was speculated comes first: a batch asks for tokens behind it.
    const bool speculated = slots_[slot].asked == 0 && engine_.has_tokens(slot);
    if (!slots_[slot].job->inputs.empty()) {
      embed(slot);
    } else if (alone || speculated || (ready_.size() > 1 && engine_.most_batched() < 2)) {
      generate(slot);
    } else {
      batch_.push_back(slot);
    }
  }
  ask();
  if (!ahead) collect();
  return true;
}

// Masks and logits are made between a token and the next, and a prompt's turn comes between two
// steps.
bool Scheduler::may_run_ahead() {
  if (!engine_.runs_ahead()) return false;
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.job == nullptr) continue;
    const bool speculated = slot.asked == 0 && engine_.has_tokens(i);
    if (slot.to_consume > 0 || speculated || slot.job->logprobs || slot.job->constraint) {
      return false;
    }
  }
  return true;
}

// Of the texts those that a token may be asked for, behind those on their way; false: none.
bool Scheduler::choose_ready() {
  ready_.clear();
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.job == nullptr || slot.to_consume > 0) continue;
    const bool wants = slot.made + slot.asked < slot.job->max_tokens;
    if (wants && slot.job->sink->has_room(slot.asked + size_t{1})) ready_.push_back(i);
  }
  return !ready_.empty();
}

void Scheduler::generate(uint32_t index) {
  const Job& job = *slots_[index].job;
  mask(index);
  // Logits, and what a constraint allows, are those of one token at a time.
  const bool speculates = !job.logprobs && job.constraint == nullptr;
  deliver(index, engine_.generate(index, speculates, job.max_tokens - slots_[index].made));
}

// Asks for a step of batch_, and then hands out the tokens of the one that was asked for before.
void Scheduler::ask() {
  waiting_.swap(asked_);
  for (size_t i = 0; i < batch_.size(); i += engine_.most_batched()) {
    const size_t n = std::min<size_t>(batch_.size() - i, engine_.most_batched());
    for (size_t j = i; j < i + n; ++j) mask(batch_[j]);
    engine_.ask(&batch_[i], static_cast<uint32_t>(n));
  }
  for (const uint32_t slot : batch_) ++slots_[slot].asked;
  asked_ = batch_;
  take_waiting();
}

// Hands out the tokens of all that was asked for; false: nothing was.
bool Scheduler::collect() {
  waiting_.swap(asked_);
  const bool any = !waiting_.empty();
  take_waiting();
  return any;
}

void Scheduler::take_waiting() {
  for (const uint32_t slot : waiting_) {
    --slots_[slot].asked;
    deliver(slot, engine_.take(slot));
  }
  waiting_.clear();
}

void Scheduler::embed(uint32_t index) {
  Slot& slot = slots_[index];
  engine_.embed(index, vector_.data());
  slot.job->sink->push_vector(vector_);
  if (++slot.made < slot.job->inputs.size()) {
    begin(index);
  } else {
    finish(index, Finish::kStop);
  }
}

void Scheduler::mask(uint32_t slot) {
  Constraint* constraint = slots_[slot].job->constraint.get();
  if (constraint == nullptr) return;
  constraint->fill(mask_.data(), static_cast<uint32_t>(mask_.size()));
  engine_.set_mask(slot, mask_.data());
}

void Scheduler::deliver(uint32_t index, const SampledToken& token) {
  Slot& slot = slots_[index];
  Job& job = *slot.job;
  const double now = now_seconds();
  if (slot.made == 0) {
    metrics_.first_token.add(now - job.submitted);
  } else {
    metrics_.each_token.add(now - slot.last_token);
  }
  slot.last_token = now;
  slot.tokens.push_back(token.id);
  ++slot.made;
  ++metrics_.generated_tokens;
  if (token.done == kEndToken) return finish(index, Finish::kStop);
  const bool fits = job.constraint == nullptr || job.constraint->accept(token.id);
  if (!job.sink->push(choice(index, token.id)) || !fits) return finish(index, Finish::kStop);
  if (job.constraint != nullptr && job.constraint->done()) return finish(index, Finish::kStop);
  if (slot.made >= job.max_tokens) return finish(index, Finish::kLength);
  if (token.done == kContextFull) return finish(index, Finish::kContext);
}

TokenChoice Scheduler::choice(uint32_t index, uint32_t token) {
  const Job& job = *slots_[index].job;
  TokenChoice choice;
  choice.token = token;
  if (!job.logprobs) return choice;
  engine_.read_logits(index, logits_.data());
  const float most = *std::max_element(logits_.begin(), logits_.end());
  double sum = 0;
  for (const float logit : logits_) sum += std::exp(double(logit) - double(most));
  const double log_sum = double(most) + std::log(sum);
  const auto logprob = [&](uint32_t id) {
    return static_cast<float>(double(logits_[id]) - log_sum);
  };
  choice.logprob = logprob(token);
  std::vector<uint32_t> ids(logits_.size());
  for (uint32_t i = 0; i < ids.size(); ++i) ids[i] = i;
  const size_t top = std::min<size_t>(job.top_logprobs, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(top), ids.end(),
                    [&](uint32_t a, uint32_t b) {
                      return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
                    });
  for (size_t i = 0; i < top; ++i) choice.top.emplace_back(ids[i], logprob(ids[i]));
  return choice;
}

void Scheduler::finish(uint32_t index, Finish why) {
  Slot& slot = slots_[index];
  // What of a prompt was not consumed is given up. What else the engine makes for it is dropped
  // when the slot is used again.
  const bool ends = why == Finish::kFailed || why == Finish::kShutdown;
  const auto kept = static_cast<uint32_t>(slot.tokens.size()) - slot.to_consume;
  if (!ends && slot.to_consume > 0) engine_.rewind(index, kept);
  slot.asked = 0;
  asked_.erase(std::remove(asked_.begin(), asked_.end(), index), asked_.end());
  slot.tokens.resize(kept);
  slot.to_consume = 0;
  const std::shared_ptr<Job> job = std::move(slot.job);
  slot.job = nullptr;
  publish();
  finish_queued(*job, why);
}

void Scheduler::finish_queued(Job& job, Finish why) {
  if (why == Finish::kCancelled) ++metrics_.cancelled;
  if (why == Finish::kTimeout) ++metrics_.timed_out;
  if (why == Finish::kMemory) ++metrics_.ended_by_memory;
  metrics_.request.add(now_seconds() - job.submitted);
  job.sink->finish(why);
}

void Scheduler::finish_all(Finish why) {
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].job != nullptr) finish(i, why);
  }
  std::deque<std::shared_ptr<Job>> queued;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queued.swap(queue_);
    state_.queued = 0;
  }
  for (const std::shared_ptr<Job>& job : queued) finish_queued(*job, why);
}

}  // namespace jllm::serve
