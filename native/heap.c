/* The shared heap: made, taken over, mapped, given back; and the end of its members. */
#include "heap.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct heap heap = {.fd = -1};
static os_mutex opening = OS_MUTEX_INITIAL;

napi_value throw_system_error(napi_env env, const char *call, int error) {
  char text[128];
  napi_value message, object, number;
  snprintf(text, sizeof text, "%s: %s", call, strerror(error));
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message);
  napi_create_error(env, NULL, message, &object);
  napi_create_int32(env, error, &number);
  napi_set_named_property(env, object, "errno", number);
  napi_throw(env, object);
  return NULL;
}

uint64_t to_uint64(napi_env env, napi_value value) {
  int64_t number = 0;
  napi_get_value_int64(env, value, &number);
  return number < 0 ? 0 : (uint64_t)number;
}

static napi_value from_int32(napi_env env, int32_t number) {
  napi_value value;
  napi_create_int32(env, number, &value);
  return value;
}

uint32_t *heap_word(uint32_t offset) {
  if (heap.control == NULL || offset % 4 != 0 || (uint64_t)offset + 4 > heap.layout.control_bytes) return NULL;
  return (uint32_t *)(heap.control + offset);
}

/* The values of a record's state; heap-layout.ts has the same. */
enum member_state { MEMBER_FREE = 0, MEMBER_ALIVE = 1 };

bool heap_has_ended_member(uint32_t ends_seen) {
  const struct layout *layout = &heap.layout;
  if (__atomic_load_n((uint32_t *)(heap.control + layout->ends_offset), __ATOMIC_SEQ_CST) != ends_seen) return true;
  const size_t life = os_life_word_offset();
  const bool is_time_to_look = os_is_time_to_look();
  for (uint32_t index = 0; index < layout->member_count; index++) {
    char *record = heap.control + layout->members_offset + (size_t)index * layout->member_bytes;
    uint32_t state = __atomic_load_n((uint32_t *)(record + layout->state_offset), __ATOMIC_ACQUIRE);
    if (state == MEMBER_ALIVE && is_time_to_look) os_look_at_life(record);
    uint32_t word = __atomic_load_n((uint32_t *)(record + life), __ATOMIC_ACQUIRE);
    if (state == MEMBER_ALIVE && (word & LIFE_ENDED)) return true;
    /* Records are taken from the first on, and keep their life word: behind one that never had any there is none. */
    if (state == MEMBER_FREE && word == 0) break;
  }
  return false;
}

/* A token is the generation of the record and its place, which has as many bits as there are records; 29 in all. */
bool heap_is_alive(uint32_t token) {
  const struct layout *layout = &heap.layout;
  if (heap.control == NULL) return false;
  char *record = heap.control + layout->members_offset + (size_t)(token % layout->member_count) * layout->member_bytes;
  uint32_t state = __atomic_load_n((uint32_t *)(record + layout->state_offset), __ATOMIC_SEQ_CST);
  uint32_t generation = __atomic_load_n((uint32_t *)(record + layout->generation_offset), __ATOMIC_SEQ_CST);
  uint32_t life = __atomic_load_n((uint32_t *)(record + os_life_word_offset()), __ATOMIC_SEQ_CST);
  return state == MEMBER_ALIVE && (generation & (0x1fffffff / layout->member_count)) == token / layout->member_count && !(life & LIFE_ENDED);
}

static int open_memory(int fd, int parent, uint64_t size_max) {
  fd = fd < 0 ? os_memory_create(size_max) : os_memory_take_over(fd, parent);
  if (fd < 0) return -fd;
  void *start = NULL;
  int error = os_memory_map(fd, 0, heap.layout.control_bytes, &start);
  if (error != 0) {
    os_memory_close(fd);
    return error;
  }
  heap.fd = fd;
  heap.control = start;
  return 0;
}

/*
 * open(fd, or -1 for new memory; sizeMax; layout as Uint32Array; process id of the parent): the descriptor. Threads
 * after the first join it.
 */
static napi_value open_heap(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  struct layout *layout = NULL;
  size_t count = 0;
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env, argv[2], &type, &count, (void **)&layout, NULL, NULL) != napi_ok ||
      type != napi_uint32_array || count * sizeof(uint32_t) != sizeof *layout)
    return throw_system_error(env, "open", EINVAL);
  int32_t fd = -1, parent = 0;
  int error = 0;
  napi_get_value_int32(env, argv[0], &fd);
  napi_get_value_int32(env, argv[3], &parent);
  os_lock(&opening);
  if (heap.control == NULL) {
    heap.layout = *layout;
    error = open_memory(fd, parent, to_uint64(env, argv[1]));
  }
  os_unlock(&opening);
  if (error != 0) return throw_system_error(env, "shared memory", error);
  return from_int32(env, heap.fd);
}

/* ---- Mappings ---- */

struct mapping {
  void *start;
  size_t length;
};

static void unmap(napi_env env, void *data, void *hint) {
  (void)env;
  (void)data;
  struct mapping *mapping = hint;
  os_memory_unmap(mapping->start, mapping->length);
  free(mapping);
}

static void unmap_shared(void *data, void *hint) { unmap(NULL, data, hint); }

/* Declared by hand: it is newer than the oldest Node.js that this addon serves, and bound when the addon is loaded. */
typedef napi_status (*create_shared)(napi_env, void *, size_t, void (*)(void *, void *), void *, napi_value *);
#ifdef _WIN32
/* os-windows-node.c has it. */
extern create_shared node_api_create_external_sharedarraybuffer;
#else
#ifdef __APPLE__
#define BOUND_IF_THERE __attribute__((weak_import))
#else
#define BOUND_IF_THERE __attribute__((weak))
#endif
extern napi_status node_api_create_external_sharedarraybuffer(napi_env, void *, size_t, void (*)(void *, void *),
                                                              void *, napi_value *) BOUND_IF_THERE;
#endif

/*
 * A mapping as a buffer, a SharedArrayBuffer where Node.js can make one of foreign memory. The mapping ends when the
 * buffer is collected, or here when there can be none.
 */
static napi_value buffer_over(napi_env env, void *start, size_t length) {
  struct mapping *mapping = malloc(sizeof *mapping);
  if (mapping == NULL) {
    os_memory_unmap(start, length);
    return throw_system_error(env, "malloc", ENOMEM);
  }
  mapping->start = start;
  mapping->length = length;
  napi_value buffer = NULL;
  create_shared make_shared = node_api_create_external_sharedarraybuffer;
  napi_status status =
      make_shared != NULL
          ? make_shared(env, mapping->start, mapping->length, unmap_shared, mapping, &buffer)
          : napi_create_external_arraybuffer(env, mapping->start, mapping->length, unmap, mapping, &buffer);
  if (status != napi_ok) {
    unmap(NULL, NULL, mapping);
    return throw_system_error(env, "a buffer over shared memory", ENOTSUP);
  }
  return buffer;
}

/* map(offset, length): that range of the heap. */
static napi_value map_range(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  const size_t length = to_uint64(env, argv[1]);
  void *start = NULL;
  int error = os_memory_map(heap.fd, to_uint64(env, argv[0]), length, &start);
  return error != 0 ? throw_system_error(env, "mmap", error) : buffer_over(env, start, length);
}

/* mapFile(fd, length): the start of another file, whose descriptor may be closed afterwards. */
static napi_value map_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  int32_t fd = -1;
  napi_get_value_int32(env, argv[0], &fd);
  const size_t length = to_uint64(env, argv[1]);
  void *start = NULL;
  int error = os_file_map(fd, length, &start);
  return error != 0 ? throw_system_error(env, "mmap", error) : buffer_over(env, start, length);
}

/*
 * weigh(bytes): tells V8 that so many bytes more (or less, when negative) outside of its heap are kept by what is in
 * it. It knows that of an ArrayBuffer, and not of a SharedArrayBuffer.
 */
static napi_value weigh(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  int64_t change = 0, sum = 0;
  napi_get_value_int64(env, argv[0], &change);
  napi_adjust_external_memory(env, change, &sum);
  return NULL;
}

/*
 * unmap(view): puts empty pages in the place of a mapping, so that the memory is given back now and a view that
 * somebody still has reads zeros instead of crashing. `view` is a Uint8Array over all of it. Returns 0, or the error
 * number of a system that cannot.
 */
static napi_value unmap_range(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  void *start = NULL;
  size_t length = 0;
  if (napi_get_typedarray_info(env, argv[0], NULL, &length, &start, NULL, NULL) != napi_ok || length == 0)
    return throw_system_error(env, "unmap", EINVAL);
  return from_int32(env, os_memory_empty(start, length));
}

/* reserve(offset, length): 0, or the error number when the system has no more memory to give. */
static napi_value reserve(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  return from_int32(env, os_memory_reserve(heap.fd, to_uint64(env, argv[0]), to_uint64(env, argv[1])));
}

/* reserveFile(fd, length): the same for the start of another file, which becomes as long if it was shorter. */
static napi_value reserve_file(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  int32_t fd = -1;
  napi_get_value_int32(env, argv[0], &fd);
  return from_int32(env, os_file_reserve(fd, to_uint64(env, argv[1])));
}

/* discard(offset, length): 0 or an error number. */
static napi_value discard(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  return from_int32(env, os_memory_discard(heap.fd, to_uint64(env, argv[0]), to_uint64(env, argv[1])));
}

/* ---- Copying ---- */

/*
 * Data that is copied into the heap, or out of it, needs no buffer in JavaScript: V8 copies word by word where a
 * SharedArrayBuffer is involved, which takes two to three times as long, and collects garbage for the weight of every
 * mapping. The process maps the heap once more for it, a window at a time. Windows stay; they are addresses only, and
 * pages that are given back leave them.
 */
#define WINDOW_BYTES ((uint64_t)1 << 30)
#define WINDOWS_MAX 1024

static char *windows[WINDOWS_MAX];

/* NULL when the process may have no more addresses. */
static char *window_at(uint64_t index) {
  if (index >= WINDOWS_MAX) return NULL;
  char *window = __atomic_load_n(&windows[index], __ATOMIC_ACQUIRE);
  if (window != NULL) return window;
  os_lock(&opening);
  window = windows[index];
  if (window == NULL) {
    void *start = NULL;
    if (os_memory_window(heap.fd, index * WINDOW_BYTES, WINDOW_BYTES, &start) == 0) window = start;
    __atomic_store_n(&windows[index], window, __ATOMIC_RELEASE);
  }
  os_unlock(&opening);
  return window;
}

enum direction { INTO_HEAP, OUT_OF_HEAP };

/* 0 or an error number. */
static int copy_range(enum direction direction, uint64_t offset, char *data, size_t length) {
  while (length > 0) {
    uint64_t within = offset % WINDOW_BYTES;
    size_t step = length < WINDOW_BYTES - within ? length : (size_t)(WINDOW_BYTES - within);
    char *window = window_at(offset / WINDOW_BYTES);
    if (window != NULL) {
      if (direction == INTO_HEAP)
        memcpy(window + within, data, step);
      else
        memcpy(data, window + within, step);
    } else {
      int64_t done = direction == INTO_HEAP ? os_memory_write(heap.fd, offset, data, step)
                                            : os_memory_read(heap.fd, offset, data, step);
      if (done == -EINTR) continue;
      if (done <= 0) return done < 0 ? (int)-done : EIO;
      step = (size_t)done;
    }
    offset += step;
    data += step;
    length -= step;
  }
  return 0;
}

/* The arguments (offset in the heap, Uint8Array): whether they are ones, and the memory is behind the control part. */
static bool copy_arguments(napi_env env, napi_value *argv, uint64_t *offset, char **data, size_t *length) {
  napi_typedarray_type type;
  if (heap.control == NULL || napi_get_typedarray_info(env, argv[1], &type, length, (void **)data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array)
    return false;
  *offset = to_uint64(env, argv[0]);
  return *offset >= heap.layout.control_bytes && *offset + *length <= WINDOW_BYTES * WINDOWS_MAX;
}

/* put(offset, data): copies data to that place, whose memory the system has provided. 0 or an error number. */
static napi_value put(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  uint64_t offset;
  char *data;
  size_t length;
  if (!copy_arguments(env, argv, &offset, &data, &length)) return throw_system_error(env, "put", EINVAL);
  return from_int32(env, copy_range(INTO_HEAP, offset, data, length));
}

/* take(offset, target): fills the target from that place. 0 or an error number. */
static napi_value take(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  uint64_t offset;
  char *data;
  size_t length;
  if (!copy_arguments(env, argv, &offset, &data, &length)) return throw_system_error(env, "take", EINVAL);
  return from_int32(env, copy_range(OUT_OF_HEAP, offset, data, length));
}

/* matches(offset, data): whether that place has the same bytes; false also where they cannot be looked at. */
static napi_value matches(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  uint64_t offset;
  char *data;
  size_t length;
  if (!copy_arguments(env, argv, &offset, &data, &length)) return throw_system_error(env, "matches", EINVAL);
  bool is_same = true;
  while (is_same && length > 0) {
    uint64_t within = offset % WINDOW_BYTES;
    size_t step = length < WINDOW_BYTES - within ? length : (size_t)(WINDOW_BYTES - within);
    char *window = window_at(offset / WINDOW_BYTES);
    is_same = window != NULL && memcmp(window + within, data, step) == 0;
    offset += step;
    data += step;
    length -= step;
  }
  napi_value result;
  napi_get_boolean(env, is_same, &result);
  return result;
}

/*
 * populate(offset, length): enters the pages of a range, which the system has provided, all at once. It is for speed
 * alone: otherwise they are entered as they are used.
 */
static napi_value populate(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  uint64_t offset = to_uint64(env, argv[0]), end = offset + to_uint64(env, argv[1]);
  while (offset < end) {
    uint64_t within = offset % WINDOW_BYTES;
    uint64_t step = end - offset < WINDOW_BYTES - within ? end - offset : WINDOW_BYTES - within;
    char *window = window_at(offset / WINDOW_BYTES);
    if (window == NULL || os_memory_populate(window + within, (size_t)step) != 0) break;
    offset += step;
  }
  return NULL;
}

/* keepFreedMemory(bytes): so much of what this process frees stays with it for the next, and no more. */
static napi_value keep_freed_memory(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  os_keep_freed_memory((size_t)to_uint64(env, argv[0]));
  return NULL;
}

/* ---- Lives ---- */

static napi_value life_word_offset(napi_env env, napi_callback_info info) {
  (void)info;
  return from_int32(env, (int32_t)os_life_word_offset());
}

/*
 * watchLife(record offset, value of its life word when it is free): 0, OS_TAKEN when the word has another value, or the
 * error number when this system does not tell the end of a thread.
 */
static napi_value watch_life(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  uint32_t offset = 0, free = 0;
  napi_get_value_uint32(env, argv[0], &offset);
  napi_get_value_uint32(env, argv[1], &free);
  if (heap_word(offset) == NULL || heap_word(offset + heap.layout.member_bytes - 4) == NULL)
    return throw_system_error(env, "watchLife", EINVAL);
  return from_int32(env, os_watch_life(heap.control + offset, free));
}

/* ring(descriptor of a socket, byte): 0 or an error number. */
static napi_value ring(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  int32_t fd = -1;
  uint32_t byte = 0;
  napi_get_value_int32(env, argv[0], &fd);
  napi_get_value_uint32(env, argv[1], &byte);
  return from_int32(env, os_ring(fd, (unsigned char)byte));
}

/* endWithParent(pid, graceMs): 0 or an error number. */
static napi_value end_with_parent(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  int32_t parent = 0, grace_ms = 0;
  napi_get_value_int32(env, argv[0], &parent);
  napi_get_value_int32(env, argv[1], &grace_ms);
  return from_int32(env, os_end_with_parent(parent, grace_ms));
}

/* setAffinity(threadId, cpus as Uint32Array): 0 or an error number. */
static napi_value set_affinity(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  int32_t thread = 0;
  uint32_t *cpus = NULL;
  size_t count = 0;
  napi_typedarray_type type;
  napi_get_value_int32(env, argv[0], &thread);
  if (napi_get_typedarray_info(env, argv[1], &type, &count, (void **)&cpus, NULL, NULL) != napi_ok ||
      type != napi_uint32_array)
    return from_int32(env, EINVAL);
  return from_int32(env, os_set_affinity(thread, cpus, count));
}

void heap_define(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"open", NULL, open_heap, NULL, NULL, NULL, napi_enumerable, NULL},
      {"map", NULL, map_range, NULL, NULL, NULL, napi_enumerable, NULL},
      {"mapFile", NULL, map_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"weigh", NULL, weigh, NULL, NULL, NULL, napi_enumerable, NULL},
      {"unmap", NULL, unmap_range, NULL, NULL, NULL, napi_enumerable, NULL},
      {"populate", NULL, populate, NULL, NULL, NULL, napi_enumerable, NULL},
      {"put", NULL, put, NULL, NULL, NULL, napi_enumerable, NULL},
      {"keepFreedMemory", NULL, keep_freed_memory, NULL, NULL, NULL, napi_enumerable, NULL},
      {"matches", NULL, matches, NULL, NULL, NULL, napi_enumerable, NULL},
      {"take", NULL, take, NULL, NULL, NULL, napi_enumerable, NULL},
      {"reserve", NULL, reserve, NULL, NULL, NULL, napi_enumerable, NULL},
      {"reserveFile", NULL, reserve_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"discard", NULL, discard, NULL, NULL, NULL, napi_enumerable, NULL},
      {"lifeWordOffset", NULL, life_word_offset, NULL, NULL, NULL, napi_enumerable, NULL},
      {"watchLife", NULL, watch_life, NULL, NULL, NULL, napi_enumerable, NULL},
      {"ring", NULL, ring, NULL, NULL, NULL, napi_enumerable, NULL},
      {"endWithParent", NULL, end_with_parent, NULL, NULL, NULL, napi_enumerable, NULL},
      {"setAffinity", NULL, set_affinity, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
}
