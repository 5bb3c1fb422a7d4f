// What libjllm_executor shows to programs; everything else in it is hidden.
#pragma once

#define JLLM_EXPORT __attribute__((visibility("default")))
#define JLLM_LOCAL __attribute__((visibility("hidden")))  // of a class that it shows
