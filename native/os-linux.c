/* Linux: memfd, futex, the robust list, pidfd. */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The layout that the kernel reads when a thread ends; see robust_list(7) of the kernel's documentation. */
struct robust_entry {
  struct robust_entry *next;
};
struct robust_head {
  struct robust_entry list;
  long word_offset;
  struct robust_entry *pending;
};

/* Newer than the headers that the binaries for old systems are compiled against. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_memfd_create
#if defined(__x86_64__)
#define SYS_memfd_create 319
#else
#define SYS_memfd_create 279
#endif
#endif

/* Offset of our robust_entry in a member record; the word before it belongs to libc, which may write it. */
#define ENTRY_OFFSET 32

/* For threads to which libc has given no list (musl does so only when a robust mutex is first used). */
static _Thread_local struct robust_head own_head;

int os_memory_create(uint64_t size_max) {
  int fd = (int)syscall(SYS_memfd_create, "multiproc", 1u /* MFD_CLOEXEC */);
  if (fd < 0) return -errno;
  /* A file beyond the limit would raise SIGXFSZ. The pages cost nothing before they are used. */
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < size_max)
    size_max = limit.rlim_cur;
  if (ftruncate(fd, (off_t)size_max) < 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

int os_memory_reserve(int fd, uint64_t offset, uint64_t length) {
  for (;;) {
    if (fallocate(fd, 0, (off_t)offset, (off_t)length) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

int os_memory_discard(int fd, uint64_t offset, uint64_t length) {
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) == 0) return 0;
  return errno;
}

int os_memory_populate(void *start, size_t length) {
  /* Linux 5.14 and later; the headers may be older. */
  if (madvise(start, length, 23 /* MADV_POPULATE_WRITE */) == 0) return 0;
  return errno;
}

void os_keep_freed_memory(size_t bytes) {
#ifdef __GLIBC__
  static _Atomic size_t kept;
  if (atomic_exchange(&kept, bytes) == bytes) return;
  /* What is larger than the second is never kept; 32 MiB is the most that glibc takes. */
  mallopt(M_TRIM_THRESHOLD, bytes > INT_MAX ? INT_MAX : (int)bytes);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  malloc_trim(bytes);
#else
  (void)bytes;
#endif
}

/* FUTEX_WAIT_BITSET takes a point of time, unlike FUTEX_WAIT. */
int os_wait(uint32_t *word, uint32_t expected, uint32_t bits, int64_t timeout_ns) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  int64_t ns = until.tv_nsec + timeout_ns % 1000000000;
  until.tv_sec += (time_t)(timeout_ns / 1000000000 + ns / 1000000000);
  until.tv_nsec = (long)(ns % 1000000000);
  if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, &until, NULL, bits) == 0) return 0;
  return errno;
}

int os_wake(uint32_t *word, int count, uint32_t bits) {
  long woken = syscall(SYS_futex, word, FUTEX_WAKE_BITSET, count, NULL, NULL, bits);
  return woken < 0 ? 0 : (int)woken;
}

static struct robust_head *robust_head(void) {
  struct robust_head *head = NULL;
  size_t length = 0;
  if (syscall(SYS_get_robust_list, 0, &head, &length) != 0) return NULL;
  if (head != NULL) return head;
  own_head.list.next = &own_head.list;
  own_head.word_offset = -ENTRY_OFFSET;
  if (syscall(SYS_set_robust_list, &own_head, sizeof own_head) != 0) return NULL;
  return &own_head;
}

size_t os_life_word_offset(void) {
  struct robust_head *head = robust_head();
  return head == NULL ? 0 : (size_t)(ENTRY_OFFSET + head->word_offset);
}

int os_watch_life(void *record, uint32_t free) {
  struct robust_head *head = robust_head();
  if (head == NULL) return errno ? errno : ENOSYS;
  struct robust_entry *entry = (struct robust_entry *)((char *)record + ENTRY_OFFSET);
  uint32_t *word = (uint32_t *)((char *)entry + head->word_offset);
  /*
   * The kernel reads the list of a dying thread at any instruction. The entry is complete before it is in the list, and
   * until then it is pending: if the thread ends behind the exchange, the kernel finds its id in the word and marks it;
   * if before, it finds another's, and leaves it alone.
   */
  head->pending = entry;
  if (!__atomic_compare_exchange_n(word, &free, (uint32_t)os_thread_id(), false, __ATOMIC_SEQ_CST,
                                   __ATOMIC_SEQ_CST)) {
    head->pending = NULL;
    return OS_TAKEN;
  }
  entry->next = head->list.next;
  __atomic_store_n(&head->list.next, entry, __ATOMIC_SEQ_CST);
  head->pending = NULL;
  return 0;
}

bool os_is_time_to_look(void) { return false; }

void os_look_at_life(void *record) { (void)record; }

struct watch {
  int parent;
  int pidfd;
  int grace_ms;
};

static void sleep_ms(int ms) {
  struct timespec rest = {ms / 1000, (long)(ms % 1000) * 1000000};
  while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
  }
}

static void *watch_parent(void *data) {
  struct watch watch = *(struct watch *)data;
  free(data);
  if (watch.pidfd >= 0) {
    struct pollfd ended = {.fd = watch.pidfd, .events = POLLIN};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
  } else {
    /* Kernels before 5.3: the orphan gets another parent. */
    while (getppid() == watch.parent) sleep_ms(500);
  }
  sleep_ms(watch.grace_ms);
  kill(getpid(), SIGKILL);
  return NULL;
}

int os_end_with_parent(int parent, int grace_ms) {
  struct watch *watch = malloc(sizeof *watch);
  if (watch == NULL) return ENOMEM;
  watch->parent = parent;
  watch->grace_ms = grace_ms;
  watch->pidfd = (int)syscall(SYS_pidfd_open, parent, 0u);
  /* It may have ended before: its number may then be another's, or nobody's. */
  if (getppid() != parent) {
    if (watch->pidfd >= 0) close(watch->pidfd);
    watch->pidfd = -1;
  }
  int error = os_start_thread(watch_parent, watch);
  if (error != 0) free(watch);
  return error;
}

int os_thread_id(void) { return (int)syscall(SYS_gettid); }

/* More CPUs than any kernel of Linux is configured for. */
#define CPUS_MAX 16384

int os_set_affinity(int thread, const uint32_t *cpus, size_t count) {
  unsigned long mask[CPUS_MAX / (8 * sizeof(unsigned long))] = {0};
  const size_t bits = 8 * sizeof *mask;
  for (size_t index = 0; index < count; index++) {
    if (cpus[index] >= CPUS_MAX) return EINVAL;
    mask[cpus[index] / bits] |= 1ul << (cpus[index] % bits);
  }
  return syscall(SYS_sched_setaffinity, thread, sizeof mask, mask) == 0 ? 0 : errno;
}
