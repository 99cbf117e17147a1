/*
 * The shared heap as the addon knows it: one piece of memory without a name, the same for a program and all its
 * children. Its first part, the control part, is mapped here once for the whole process.
 */
#ifndef MULTIPROC_HEAP_H
#define MULTIPROC_HEAP_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

/* Where things are in the control part, as heap-layout.ts says it. Offsets in bytes. */
struct layout {
  uint32_t control_bytes;
  /* The word that counts the ends of members. */
  uint32_t ends_offset;
  uint32_t members_offset;
  uint32_t member_count;
  uint32_t member_bytes;
  /* In a member's record, the words that say what the record is used for, and by which member in turn. */
  uint32_t state_offset;
  uint32_t generation_offset;
};

struct heap {
  int fd;
  char *control;
  struct layout layout;
};

/* Not open while `control` is NULL. Set once, before any other thread of the process uses it. */
extern struct heap heap;

/* The word at `offset` of the control part; NULL when it lies outside or across words. */
uint32_t *heap_word(uint32_t offset);

/* Whether a member has ended since the count of ends was `ends_seen`, or has ended and was not counted yet. */
bool heap_has_ended_member(uint32_t ends_seen);

/* Whether the member that a token names has not ended. */
bool heap_is_alive(uint32_t token);

void heap_define(napi_env env, napi_value exports);
void wait_define(napi_env env, napi_value exports);
void keeper_define(napi_env env, napi_value exports);

/* A number of JavaScript; 0 for a negative one. */
uint64_t to_uint64(napi_env env, napi_value value);

/* Throws an Error of JavaScript with the name of the call and `errno` as a field. Returns NULL. */
napi_value throw_system_error(napi_env env, const char *call, int error);

#define ARGUMENTS(n)                                                       \
  size_t argc = n;                                                         \
  napi_value argv[n];                                                      \
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok) return NULL

#endif
