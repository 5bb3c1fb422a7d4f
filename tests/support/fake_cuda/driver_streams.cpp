// The driver API: streams, graphs and events.
#include "tests/support/fake_cuda/driver.h"

namespace jllm::fake {

Capture capture;

uint64_t put(void* stream, const Operation& operation) {
  if (capture.stream != stream) return queue().put(operation);
  capture.nodes->push_back(operation);
  return 0;
}

bool knows_stream(void* stream) {
  const Lock lock(books().mutex);
  return books().streams.count(stream) != 0;
}

}  // namespace jllm::fake

namespace jllm::cuda {

using namespace fake;

Status cuStreamCreate(Stream* out, unsigned flags) {
  ENTRY(cuStreamCreate);
  NEEDS_CONTEXT();
  if (flags > kStreamNonBlocking) return call.wrong(kInvalidValue, "flags %u", flags);
  const Lock lock(books().mutex);
  void* const stream = new char;
  books().streams.insert(stream);
  *out = static_cast<Stream>(stream);
  return kSuccess;
}
Status cuStreamDestroy_v2(Stream stream) {
  ENTRY(cuStreamDestroy_v2);
  queue().wait_for_all();
  if (capture.stream == stream) capture = {};
  const Lock lock(books().mutex);
  if (books().streams.erase(stream) == 0) return call.wrong(kInvalidHandle, "no stream");
  delete reinterpret_cast<char*>(stream);
  return call.done();
}
Status cuStreamSynchronize(Stream stream) {
  ENTRY(cuStreamSynchronize);
  if (call.injected() != kSuccess) queue().wait_for_all();
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  queue().wait_for_all();
  return call.done(queue().broken());
}
Status cuStreamQuery(Stream stream) {
  ENTRY(cuStreamQuery);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  const bool idle = queue().is_idle();
  if (queue().broken() != kSuccess) return queue().broken();
  return idle ? kSuccess : kErrorNotReady;
}

Status cuStreamBeginCapture_v2(Stream stream, unsigned mode) {
  ENTRY(cuStreamBeginCapture_v2);
  NEEDS_STREAM(stream);
  if (mode > 2) return call.wrong(kInvalidValue, "mode %u", mode);
  if (capture.stream != nullptr) return call.wrong(kInvalidValue, "a capture is under way");
  capture.stream = stream;
  capture.nodes = std::make_unique<Nodes>();
  return kSuccess;
}
Status cuStreamEndCapture(Stream stream, Graph* out) {
  ENTRY(cuStreamEndCapture);
  if (call.injected() != kSuccess && capture.stream == stream) capture = {};
  NEEDS_STREAM(stream);
  if (capture.stream != stream) return call.wrong(kInvalidValue, "nothing is captured");
  void* const graph = capture.nodes.release();
  capture = {};
  const Lock lock(books().mutex);
  books().graphs.insert(graph);
  *out = static_cast<Graph>(graph);
  return kSuccess;
}
Status cuGraphInstantiateWithFlags(GraphExec* out, Graph graph, unsigned long long flags) {
  ENTRY(cuGraphInstantiateWithFlags);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  if (books().graphs.count(graph) == 0 || flags != 0) {
    return call.wrong(kInvalidHandle, "no graph, or flags %llu", flags);
  }
  void* const exec = new Nodes(*reinterpret_cast<Nodes*>(graph));
  books().execs.insert(exec);
  *out = static_cast<GraphExec>(exec);
  return kSuccess;
}
Status cuGraphUpload(GraphExec graph, Stream stream) {
  ENTRY(cuGraphUpload);
  NEEDS_STREAM(stream);
  const Lock lock(books().mutex);
  if (books().execs.count(graph) == 0) return call.wrong(kInvalidHandle, "no executable graph");
  return kSuccess;
}
Status cuGraphLaunch(GraphExec graph, Stream stream) {
  ENTRY(cuGraphLaunch);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  {
    const Lock lock(books().mutex);
    if (books().execs.count(graph) == 0) return call.wrong(kInvalidHandle, "no executable graph");
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kGraph;
  operation.nodes = reinterpret_cast<const Nodes*>(graph);
  queue().put(operation);
  return kSuccess;
}
Status cuGraphExecDestroy(GraphExec graph) {
  ENTRY(cuGraphExecDestroy);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (books().execs.erase(graph) == 0) return call.wrong(kInvalidHandle, "no executable graph");
  delete reinterpret_cast<Nodes*>(graph);
  return call.done();
}
Status cuGraphDestroy(Graph graph) {
  ENTRY(cuGraphDestroy);
  const Lock lock(books().mutex);
  if (books().graphs.erase(graph) == 0) return call.wrong(kInvalidHandle, "no graph");
  delete reinterpret_cast<Nodes*>(graph);
  return call.done();
}

Status cuEventCreate(Event* out, unsigned flags) {
  ENTRY(cuEventCreate);
  NEEDS_CONTEXT();
  if (flags > 7) return call.wrong(kInvalidValue, "flags %u", flags);
  const Lock lock(books().mutex);
  auto event = std::make_unique<EventState>();
  event->flags = flags;
  *out = reinterpret_cast<Event>(event.get());
  void* const address = event.get();
  books().events[address] = std::move(event);
  return kSuccess;
}
Status cuEventDestroy_v2(Event event) {
  ENTRY(cuEventDestroy_v2);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (books().events.erase(event) == 0) return call.wrong(kInvalidHandle, "no event");
  return call.done();
}

static Status record(Call& call, Event event, Stream stream, unsigned flags) {
  NEEDS_STREAM(stream);
  EventState* state = nullptr;
  {
    const Lock lock(books().mutex);
    const auto it = books().events.find(event);
    if (it == books().events.end()) return call.wrong(kInvalidHandle, "no event");
    state = it->second.get();
  }
  const bool captured = capture.stream == stream;
  if (flags == kEventRecordExternal && !captured) {
    return call.wrong(kInvalidValue, "an external record outside of a capture");
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kRecord;
  operation.event = state;
  state->recorded = put(stream, operation);
  return kSuccess;
}
Status cuEventRecord(Event event, Stream stream) {
  ENTRY(cuEventRecord);
  return record(call, event, stream, kEventRecordDefault);
}
Status cuEventRecordWithFlags(Event event, Stream stream, unsigned flags) {
  ENTRY(cuEventRecordWithFlags);
  return record(call, event, stream, flags);
}
Status cuEventSynchronize(Event event) {
  ENTRY(cuEventSynchronize);
  NEEDS_CONTEXT();
  uint64_t number = 0;
  {
    const Lock lock(books().mutex);
    const auto it = books().events.find(event);
    if (it == books().events.end()) return call.wrong(kInvalidHandle, "no event");
    number = it->second->recorded;
  }
  queue().wait_for(number);
  return queue().broken();
}
Status cuEventElapsedTime(float* milliseconds, Event start, Event end) {
  ENTRY(cuEventElapsedTime);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  double times[2] = {};
  for (int i = 0; i < 2; ++i) {
    const auto it = books().events.find(i == 0 ? start : end);
    if (it == books().events.end()) return call.wrong(kInvalidHandle, "no event");
    if (!it->second->was_recorded || it->second->flags & kEventDisableTiming) {
      return call.wrong(kInvalidHandle, "an event that has no time");
    }
    times[i] = it->second->time;
  }
  *milliseconds = static_cast<float>(times[1] - times[0]);
  return kSuccess;
}

}  // namespace jllm::cuda
