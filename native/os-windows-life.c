/*
 * Windows: the ends of threads and processes. The kernel marks nothing in memory. A thread is known by its number and
 * the time of its creation, which name one thread for ever; whoever waits asks the kernel for those of the others.
 */
#include "os-windows.h"

#include <errno.h>
#include <stdlib.h>

/* Where a member's record says when its thread was created; other systems have the kernel's list there. */
#define CREATED_OFFSET 24
/* How often a process asks, however many of its threads wait. */
#define LOOK_NS 20000000
/* Records are in one granule, in which their place names them. */
#define GRANULE 65536
#define RECORD_BYTES 64

size_t os_life_word_offset(void) { return 0; }

/* 0 when the thread has ended and been forgotten, or the system does not tell. */
static uint64_t creation_time(HANDLE thread) {
  FILETIME created, ended, in_kernel, in_user;
  if (!GetThreadTimes(thread, &created, &ended, &in_kernel, &in_user)) return 0;
  return (uint64_t)created.dwHighDateTime << 32 | created.dwLowDateTime;
}

/* The numbers of threads are below 2^30. Until the time is there, too, the word is 1, at which nobody looks. */
int os_watch_life(void *record, uint32_t free) {
  uint32_t *word = record;
  const uint64_t created = creation_time(GetCurrentThread());
  if (created == 0) return ENOTSUP;
  if (!__atomic_compare_exchange_n(word, &free, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return OS_TAKEN;
  __atomic_store_n((uint64_t *)((char *)record + CREATED_OFFSET), created, __ATOMIC_SEQ_CST);
  __atomic_store_n(word, GetCurrentThreadId() & ~LIFE_ENDED, __ATOMIC_SEQ_CST);
  return 0;
}

bool os_is_time_to_look(void) {
  static int64_t looked_at_ns;
  const int64_t now_ns = os_now_ns();
  int64_t before_ns = __atomic_load_n(&looked_at_ns, __ATOMIC_RELAXED);
  if (before_ns != 0 && now_ns - before_ns < LOOK_NS) return false;
  return __atomic_compare_exchange_n(&looked_at_ns, &before_ns, now_ns, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* The threads that were asked for, by the place of their record. A handle is closed when another has the place. */
static struct known_thread {
  HANDLE handle;
  uint32_t id;
  uint64_t created;
} known_threads[GRANULE / RECORD_BYTES];
static os_mutex known_mutex = OS_MUTEX_INITIAL;

/* With the mutex held. Whether there is no such thread any more; not when the system refuses to tell. */
static bool has_ended(struct known_thread *known, uint32_t id, uint64_t created) {
  if (known->handle == NULL || known->id != id || known->created != created) {
    if (known->handle != NULL) CloseHandle(known->handle);
    known->handle = OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, FALSE, id);
    known->id = id;
    known->created = created;
    if (known->handle == NULL) return GetLastError() == ERROR_INVALID_PARAMETER;
    /* The number may have been given to another thread since. */
    const uint64_t found = creation_time(known->handle);
    if (found != 0 && found != created) {
      CloseHandle(known->handle);
      known->handle = NULL;
      return true;
    }
  }
  return WaitForSingleObject(known->handle, 0) == WAIT_OBJECT_0;
}

void os_look_at_life(void *record) {
  uint32_t *word = record;
  const uint64_t *created = (const uint64_t *)((const char *)record + CREATED_OFFSET);
  const size_t place = ((uintptr_t)record & (GRANULE - 1)) / RECORD_BYTES;
  uint32_t id = __atomic_load_n(word, __ATOMIC_SEQ_CST);
  const uint64_t time = __atomic_load_n(created, __ATOMIC_SEQ_CST);
  /* 1: the life of one who could not say when it was created. Its parent marks the end. */
  if ((id & LIFE_ENDED) != 0 || id <= 1 || __atomic_load_n(word, __ATOMIC_SEQ_CST) != id) return;
  os_lock(&known_mutex);
  const bool is_over = has_ended(&known_threads[place], id, time);
  os_unlock(&known_mutex);
  /* Another member in this place has another number, and is left alone. */
  if (is_over)
    __atomic_compare_exchange_n(word, &id, id | LIFE_ENDED, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* ---- Orphans ---- */

struct watch {
  HANDLE parent;
  int grace_ms;
};

static void *watch_parent(void *data) {
  struct watch watch = *(struct watch *)data;
  free(data);
  if (watch.parent != NULL) {
    WaitForSingleObject(watch.parent, INFINITE);
    CloseHandle(watch.parent);
  }
  Sleep((DWORD)watch.grace_ms);
  TerminateProcess(GetCurrentProcess(), 1);
  return NULL;
}

static uint64_t start_time(HANDLE process) {
  FILETIME created, ended, in_kernel, in_user;
  if (!GetProcessTimes(process, &created, &ended, &in_kernel, &in_user)) return 0;
  return (uint64_t)created.dwHighDateTime << 32 | created.dwLowDateTime;
}

int os_end_with_parent(int parent, int grace_ms) {
  struct watch *watch = malloc(sizeof *watch);
  if (watch == NULL) return ENOMEM;
  watch->grace_ms = grace_ms;
  watch->parent = OpenProcess(SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)parent);
  if (watch->parent == NULL && GetLastError() != ERROR_INVALID_PARAMETER) {
    int error = last_error();
    free(watch);
    return error;
  }
  /* It may have ended before, and its number be that of a process which is younger than this one. */
  if (watch->parent != NULL && start_time(watch->parent) > start_time(GetCurrentProcess())) {
    CloseHandle(watch->parent);
    watch->parent = NULL;
  }
  int error = os_start_thread(watch_parent, watch);
  if (error == 0) return 0;
  if (watch->parent != NULL) CloseHandle(watch->parent);
  free(watch);
  return error;
}
