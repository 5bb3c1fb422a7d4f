/* jllm_text.h as a C99 program meets it: text to tokens and back, conversations, and the ways
 * that fail.
 * usage: text_api_test PLAN.jllm (the bundled model) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jllm/jllm_text.h"

static int failures = 0;

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                          \
    }                                                                      \
  } while (0)

enum { kMany = 64 };
static const char kText[] = "A fuse \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 melts.";

static void test_tokens(const jllm_tokenizer* tokenizer) {
  uint32_t tokens[kMany] = {0}, first[kMany];
  uint64_t count = 0, more = 0, size = 0, i, length = 0;
  char text[256], piece[64];
  CHECK(jllm_tokenize(tokenizer, kText, strlen(kText), 0, tokens, kMany, &count) == JLLM_OK);
  CHECK(count > 3 && count < kMany);
  /* Too little room: as many as fit, and how many there are. */
  memset(first, 0xff, sizeof first);
  CHECK(jllm_tokenize(tokenizer, kText, strlen(kText), 0, first, 2, &more) == JLLM_OK);
  CHECK(more == count && first[0] == tokens[0] && first[1] == tokens[1] && first[2] == UINT32_MAX);
  CHECK(jllm_tokenize(tokenizer, "", 0, 0, NULL, 0, &more) == JLLM_OK && more == 0);
  /* Control tokens in the text are read only when asked for. */
  CHECK(jllm_tokenize(tokenizer, "<|im_start|>", 12, JLLM_PARSE_SPECIAL, first, kMany, &more) ==
        JLLM_OK);
  CHECK(more == 1);
  CHECK(jllm_token_piece(tokenizer, first[0], 0, piece, sizeof piece, &size) == JLLM_OK);
  CHECK(size == 0);
  CHECK(jllm_token_piece(tokenizer, first[0], JLLM_WITH_SPECIAL, piece, sizeof piece, &size) ==
        JLLM_OK);
  CHECK(size == 12 && memcmp(piece, "<|im_start|>", 12) == 0);
  CHECK(jllm_tokenize(tokenizer, "<|im_start|>", 12, 0, first, kMany, &more) == JLLM_OK &&
        more > 1);
  /* The pieces are the text. */
  for (i = 0; i < count; ++i) {
    CHECK(jllm_token_piece(tokenizer, tokens[i], 0, text + length, sizeof text - length, &size) ==
          JLLM_OK);
    length += size;
  }
  CHECK(length == strlen(kText) && memcmp(text, kText, length) == 0);
  CHECK(jllm_token_piece(tokenizer, 0xffffff, 0, piece, sizeof piece, &size) == JLLM_BAD_ARGUMENT);
}

/* Only whole characters come out; what is left at the end becomes U+FFFD. */
static void test_decoder(const jllm_tokenizer* tokenizer) {
  uint32_t tokens[kMany] = {0};
  uint64_t count = 0, size = 0, i, length = 0;
  char text[256] = "";
  const char* part = NULL;
  jllm_decoder* decoder = NULL;
  CHECK(jllm_tokenize(tokenizer, kText, strlen(kText), 0, tokens, kMany, &count) == JLLM_OK);
  CHECK(jllm_decoder_open(tokenizer, 0, &decoder) == JLLM_OK);
  for (i = 0; i < count; ++i) {
    CHECK(jllm_decoder_push(decoder, tokens[i], &part, &size) == JLLM_OK);
    CHECK(strlen(part) == size && (size == 0 || ((unsigned char)part[0] & 0xc0) != 0x80));
    memcpy(text + length, part, (size_t)size);
    length += size;
  }
  CHECK(length == strlen(kText) && memcmp(text, kText, length) == 0);
  CHECK(jllm_decoder_finish(decoder, &part, &size) == JLLM_OK && size == 0);
  /* The first byte of a character alone. */
  CHECK(jllm_tokenize(tokenizer, "\xf0\x9f\x98\x80", 4, 0, tokens, kMany, &count) == JLLM_OK);
  CHECK(count > 1);
  CHECK(jllm_decoder_push(decoder, tokens[count > 4 ? 1 : 0], &part, &size) == JLLM_OK &&
        size == 0);
  CHECK(jllm_decoder_finish(decoder, &part, &size) == JLLM_OK);
  CHECK(size == 3 && memcmp(part, "\xef\xbf\xbd", 3) == 0);
  jllm_decoder_close(decoder);
}

/* The bundled model's format is ChatML: a conversation is what it would be as text with control
 * tokens, but for those that a user wrote. */
static void test_chat(jllm_chat* chat, const jllm_tokenizer* tokenizer) {
  static const char kSystem[] = "Be brief.", kUser[] = "What is a fuse?", kAnswer[] = "A wire.";
  static const char kWhole[] =
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is a fuse?<|im_end|>\n"
      "<|im_start|>assistant\nA wire.<|im_end|>\n<|im_start|>user\nWhat is a fuse?<|im_end|>\n"
      "<|im_start|>assistant\n";
  uint32_t expected[128] = {0}, tokens[128] = {0}, few[2] = {0, 0};
  uint64_t wanted = 0, count = 0, i;
  jllm_message message;
  CHECK(jllm_chat_tokens(chat, tokenizer, tokens, 128, &count, &message) == JLLM_BAD_ARGUMENT);
  CHECK(count == 0 && message.text[0] != '\0');
  CHECK(jllm_chat_add(chat, JLLM_ROLE_ASSISTANT, kAnswer, strlen(kAnswer)) == JLLM_BAD_ARGUMENT);
  CHECK(jllm_chat_add(chat, JLLM_ROLE_SYSTEM, kSystem, strlen(kSystem)) == JLLM_OK);
  CHECK(jllm_chat_add(chat, JLLM_ROLE_SYSTEM, kSystem, strlen(kSystem)) == JLLM_BAD_ARGUMENT);
  CHECK(jllm_chat_add(chat, JLLM_ROLE_USER, kUser, strlen(kUser)) == JLLM_OK);
  CHECK(jllm_chat_add(chat, JLLM_ROLE_USER, kUser, strlen(kUser)) == JLLM_BAD_ARGUMENT);
  CHECK(jllm_chat_add(chat, JLLM_ROLE_ASSISTANT, kAnswer, strlen(kAnswer)) == JLLM_OK);
  CHECK(jllm_chat_add(chat, 7, kUser, strlen(kUser)) == JLLM_BAD_ARGUMENT);
  CHECK(jllm_chat_add(chat, JLLM_ROLE_USER, kUser, strlen(kUser)) == JLLM_OK);
  CHECK(jllm_tokenize(tokenizer, kWhole, strlen(kWhole), JLLM_ADD_SPECIAL | JLLM_PARSE_SPECIAL,
                      expected, 128, &wanted) == JLLM_OK);
  CHECK(jllm_chat_tokens(chat, tokenizer, tokens, 128, &count, &message) == JLLM_OK);
  CHECK(count == wanted && count < 128 && memcmp(tokens, expected, sizeof tokens) == 0);
  /* Too little room: as many as fit, and how many there are. */
  CHECK(jllm_chat_tokens(chat, tokenizer, few, 1, &count, NULL) == JLLM_OK);
  CHECK(count == wanted && few[0] == tokens[0] && few[1] == 0);
  jllm_chat_clear(chat);
  CHECK(jllm_chat_add(chat, JLLM_ROLE_USER, "<|im_end|>", 10) == JLLM_OK);
  CHECK(jllm_chat_tokens(chat, tokenizer, tokens, 128, &count, &message) == JLLM_OK);
  CHECK(jllm_tokenize(tokenizer, "<|im_end|>", 10, JLLM_PARSE_SPECIAL, few, 2, &wanted) == JLLM_OK);
  CHECK(wanted == 1);
  for (wanted = 0, i = 0; i < count; ++i) wanted += tokens[i] == few[0] ? 1u : 0u;
  CHECK(wanted == 1); /* the format's own */
}

int main(int argc, char** argv) {
  uint64_t bytes = 0;
  jllm_message message;
  jllm_plan* plan = NULL;
  jllm_tokenizer* tokenizer = NULL;
  jllm_chat* chat = NULL;
  void *block, *aligned;
  if (argc != 2 || jllm_plan_file_bytes(argv[1], &bytes, &message) != JLLM_OK) return 2;
  block = malloc((size_t)bytes + 64);
  aligned = (char*)block + (64 - (uintptr_t)block % 64);
  if (jllm_plan_open_file(argv[1], aligned, bytes, &plan, &message) != JLLM_OK) return 1;
  CHECK(jllm_tokenizer_open(plan, &tokenizer, &message) == JLLM_OK);
  CHECK(jllm_chat_open(plan, &chat, &message) == JLLM_OK);
  jllm_plan_close(plan); /* both have copies of their own */
  free(block);
  if (tokenizer == NULL || chat == NULL) {
    printf("%s\n", message.text);
    return 1;
  }
  test_tokens(tokenizer);
  test_decoder(tokenizer);
  test_chat(chat, tokenizer);
  jllm_chat_close(chat);
  jllm_chat_close(NULL);
  jllm_tokenizer_close(tokenizer);
  jllm_tokenizer_close(NULL);
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
