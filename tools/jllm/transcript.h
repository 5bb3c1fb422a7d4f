// A conversation as a JSON file, in the form of the messages of OpenAI's API.
#pragma once

#include <string>

#include "executor/text/dialogue.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

// Written whole or not at all. A file that is there already is only written over where `replace`
// says so; throws Failure.
void save_transcript(const std::string& path, bool replace, OpenPlan& plan,
                     const text::Dialogue& dialogue);

}  // namespace jllm::tool
