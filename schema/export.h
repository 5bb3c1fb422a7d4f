// What libjllm_executor shows to programs; everything else in it is hidden.
#pragma once

#define JLLM_EXPORT __attribute__((visibility("default")))
