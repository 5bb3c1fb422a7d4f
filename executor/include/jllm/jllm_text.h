/* Text to tokens and back, from C (C99): what belongs to a plan's text but not to its replay.
 * Unlike jllm.h this uses the heap, in every call. libjllm_text.
 *
 * Threads  A jllm_tokenizer never changes and may be used by any number of threads; a jllm_decoder
 *          or a jllm_chat by one at a time. */
#ifndef JLLM_JLLM_TEXT_H_
#define JLLM_JLLM_TEXT_H_

#include "jllm/jllm.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct jllm_tokenizer jllm_tokenizer;
typedef struct jllm_decoder jllm_decoder;
typedef struct jllm_chat jllm_chat;

/* The tokenizer of a plan, which may be closed afterwards. */
JLLM_API jllm_error jllm_tokenizer_open(const jllm_plan* plan, jllm_tokenizer** tokenizer,
                                        jllm_message* message);
JLLM_API void jllm_tokenizer_close(jllm_tokenizer* tokenizer); /* null is nothing */

/* Flags of jllm_tokenize(): add the begin token where the model wants one; read control tokens that
 * are written in the text. */
enum { JLLM_ADD_SPECIAL = 1, JLLM_PARSE_SPECIAL = 2 };

/* Writes at most `capacity` ids to `tokens`; *count: how many there are, more than that or not.
 * `text` is UTF-8 of `size` bytes. */
JLLM_API jllm_error jllm_tokenize(const jllm_tokenizer* tokenizer, const char* text, uint64_t size,
                                  uint32_t flags, uint32_t* tokens, uint64_t capacity,
                                  uint64_t* count);

/* Flag of the functions below: control tokens come out as their text, not as nothing. */
enum { JLLM_WITH_SPECIAL = 1 };

/* The bytes of one token, at most `capacity` of them to `out`; *size: how many there are. */
JLLM_API jllm_error jllm_token_piece(const jllm_tokenizer* tokenizer, uint32_t token,
                                     uint32_t flags, char* out, uint64_t capacity, uint64_t* size);

/* Tokens in, whole characters out: of a character whose bytes come in several tokens, nothing is
 * given before its last byte. The tokenizer must outlive the decoder. */
JLLM_API jllm_error jllm_decoder_open(const jllm_tokenizer* tokenizer, uint32_t flags,
                                      jllm_decoder** decoder);
/* *text: `*size` bytes, valid until the decoder is used again, and a 0 behind them. */
JLLM_API jllm_error jllm_decoder_push(jllm_decoder* decoder, uint32_t token, const char** text,
                                      uint64_t* size);
/* What is left at the end of a text; the decoder may then begin another. */
JLLM_API jllm_error jllm_decoder_finish(jllm_decoder* decoder, const char** text, uint64_t* size);
JLLM_API void jllm_decoder_close(jllm_decoder* decoder);

/* A conversation as the model was trained on it, by the plan's chat format. It begins empty; the
 * plan may be closed afterwards. Control tokens that are written in a message stay text. */
JLLM_API jllm_error jllm_chat_open(const jllm_plan* plan, jllm_chat** chat, jllm_message* message);
JLLM_API void jllm_chat_close(jllm_chat* chat); /* null is nothing */

/* A system text comes first, or none; behind it the user's and the model's messages by turns. */
enum { JLLM_ROLE_SYSTEM = 0, JLLM_ROLE_USER = 1, JLLM_ROLE_ASSISTANT = 2 };
/* Appends a message; JLLM_BAD_ARGUMENT where it is not this role's turn. */
JLLM_API jllm_error jllm_chat_add(jllm_chat* chat, uint32_t role, const char* text, uint64_t size);
JLLM_API void jllm_chat_clear(jllm_chat* chat); /* of all messages */

/* The whole conversation, up to where the model begins its answer, for jllm_prefill(): at most
 * `capacity` ids to `tokens`; *count: how many there are, more than that or not. */
JLLM_API jllm_error jllm_chat_tokens(const jllm_chat* chat, const jllm_tokenizer* tokenizer,
                                     uint32_t* tokens, uint64_t capacity, uint64_t* count,
                                     jllm_message* message);

#ifdef __cplusplus
}
#endif

#endif /* JLLM_JLLM_TEXT_H_ */
