/*
 * macOS: shared memory whose name is taken away at once, and os_sync_wait_on_address (14.4 and later; before, looking
 * every millisecond). The kernel does not mark the end of a thread in memory: the parent does when it sees it.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* <os/os_sync_wait_on_address.h>, by hand: it is newer than the oldest system that this runs on. */
extern int os_sync_wait_on_address_with_timeout(void *, uint64_t, size_t, uint32_t, uint32_t, uint64_t)
    __attribute__((weak_import));
extern int os_sync_wake_by_address_any(void *, size_t, uint32_t) __attribute__((weak_import));
extern int os_sync_wake_by_address_all(void *, size_t, uint32_t) __attribute__((weak_import));
#define SHARED_ADDRESS 1u
#define MACH_ABSOLUTE_TIME 32u

#define SIZE_MIN (64ull << 20)

int os_memory_create(uint64_t size_max) {
  char name[32];
  for (int attempt = 0; attempt < 100; attempt++) {
    snprintf(name, sizeof name, "/multiproc-%08x%08x", arc4random(), arc4random());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) return -errno;
    shm_unlink(name);
    /* How much may be set aside differs between systems; the size can be set only once. */
    for (uint64_t size = size_max; size >= SIZE_MIN; size /= 2) {
      if (ftruncate(fd, (off_t)size) == 0) return fd;
    }
    int error = errno;
    close(fd);
    return -error;
  }
  return -EEXIST;
}

/* Shared memory has no reservation here: memory that cannot be had ends the process on first use. */
int os_memory_reserve(int fd, uint64_t offset, uint64_t length) {
  (void)fd;
  (void)offset;
  (void)length;
  return 0;
}

int os_memory_discard(int fd, uint64_t offset, uint64_t length) {
  (void)fd;
  (void)offset;
  (void)length;
  return ENOTSUP;
}

int os_memory_populate(void *start, size_t length) {
  (void)start;
  (void)length;
  return ENOTSUP;
}

void os_keep_freed_memory(size_t bytes) { (void)bytes; }

int os_wait(uint32_t *word, uint32_t expected, uint32_t bits, int64_t timeout_ns) {
  (void)bits;
  if (timeout_ns <= 0) return ETIMEDOUT;
  if (os_sync_wait_on_address_with_timeout != NULL) {
    int left = os_sync_wait_on_address_with_timeout(word, expected, sizeof *word, SHARED_ADDRESS,
                                                    MACH_ABSOLUTE_TIME, (uint64_t)timeout_ns);
    return left >= 0 ? 0 : errno;
  }
  const struct timespec rest = {0, timeout_ns < 1000000 ? (long)timeout_ns : 1000000};
  nanosleep(&rest, NULL);
  return __atomic_load_n(word, __ATOMIC_SEQ_CST) == expected ? ETIMEDOUT : 0;
}

/* There are no bits here: everybody who sleeps on the word is woken, and looks for itself. */
int os_wake(uint32_t *word, int count, uint32_t bits) {
  if (os_sync_wake_by_address_any == NULL) return 0;
  if (count == 1 && bits == ALL_BITS) return os_sync_wake_by_address_any(word, sizeof *word, SHARED_ADDRESS) == 0;
  return os_sync_wake_by_address_all(word, sizeof *word, SHARED_ADDRESS) == 0;
}

size_t os_life_word_offset(void) { return 0; }

int os_watch_life(void *record, uint32_t free) {
  (void)free;
  (void)record;
  return ENOTSUP;
}

bool os_is_time_to_look(void) { return false; }

void os_look_at_life(void *record) { (void)record; }

struct watch {
  int parent;
  int grace_ms;
};

static void *watch_parent(void *data) {
  struct watch watch = *(struct watch *)data;
  free(data);
  const struct timespec look = {0, 500000000};
  while (getppid() == watch.parent) nanosleep(&look, NULL);
  const struct timespec grace = {watch.grace_ms / 1000, (long)(watch.grace_ms % 1000) * 1000000};
  nanosleep(&grace, NULL);
  kill(getpid(), SIGKILL);
  return NULL;
}

int os_end_with_parent(int parent, int grace_ms) {
  struct watch *watch = malloc(sizeof *watch);
  if (watch == NULL) return ENOMEM;
  watch->parent = parent;
  watch->grace_ms = grace_ms;
  int error = os_start_thread(watch_parent, watch);
  if (error != 0) free(watch);
  return error;
}

int os_thread_id(void) {
  uint64_t id = 0;
  pthread_threadid_np(NULL, &id);
  return (int)id;
}

/* There are hints only, or masks for whole processes and up to 64 processors. */
int os_set_affinity(int thread, const uint32_t *cpus, size_t count) {
  (void)thread;
  (void)cpus;
  (void)count;
  return ENOTSUP;
}
