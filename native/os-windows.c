/*
 * Windows: a section of the page file, and semaphores that sleepers of all processes wait for. "Windows" in README.md
 * says how they meet. What it tells of the ends of processes and threads is in os-windows-life.c.
 */
#define _CRT_RAND_S
#include "os-windows.h"

#include <errno.h>
#include <process.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* Of a view of a section: it begins at a multiple of this, in the section and in memory. */
#define GRANULE ((uint64_t)65536)

/* The first granule of the section is this file's own; the heap begins behind it. */
#define OWN_BYTES GRANULE
#define QUEUE_COUNT 256
struct own_part {
  /* In the names of the semaphores. Nobody but the members of this heap can know it. */
  uint32_t secret[4];
  uint32_t is_ready;
  /* How many sleep in each queue and have not been told to wake up yet. */
  uint32_t sleepers[QUEUE_COUNT];
};
static struct own_part *own;

int last_error(void) {
  switch (GetLastError()) {
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
    case ERROR_NOT_ENOUGH_QUOTA:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_PAGEFILE_QUOTA:
      return ENOMEM;
    case ERROR_ACCESS_DENIED:
      return EACCES;
    case ERROR_INVALID_HANDLE:
      return EBADF;
    case ERROR_NOT_SUPPORTED:
    case ERROR_CALL_NOT_IMPLEMENTED:
      return ENOSYS;
    default:
      return EINVAL;
  }
}

/* ---- Memory ---- */

/* The values of handles have 32 bits that count, on all versions of Windows. */
static HANDLE section_of(int fd) { return (HANDLE)(intptr_t)fd; }

static int map_own_part(HANDLE section) {
  void *start = MapViewOfFile(section, FILE_MAP_ALL_ACCESS, 0, 0, OWN_BYTES);
  if (start == NULL) return last_error();
  /* Whoever maps pages has the system provide them: there is no access to a page that is not. */
  if (VirtualAlloc(start, sizeof *own, MEM_COMMIT, PAGE_READWRITE) == NULL) {
    int error = last_error();
    UnmapViewOfFile(start);
    return error;
  }
  own = start;
  return 0;
}

static int use_section(HANDLE section, bool is_new) {
  int error = map_own_part(section);
  if (error == 0 && is_new) {
    for (int index = 0; index < 4; index++) {
      if (rand_s(&own->secret[index]) != 0) error = EIO;
    }
    own->is_ready = 1;
  }
  /* Anything else that a stray number names is no heap. */
  if (error == 0 && own->is_ready != 1) error = EBADF;
  if (error == 0) return (int)(intptr_t)section;
  CloseHandle(section);
  return -error;
}

/* Addresses alone: the system provides pages when they are mapped. */
int os_memory_create(uint64_t size_max) {
  const uint64_t size = OWN_BYTES + size_max;
  HANDLE section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | SEC_RESERVE, (DWORD)(size >> 32),
                                      (DWORD)size, NULL);
  return section == NULL ? -last_error() : use_section(section, true);
}

/* The handle is not inherited, since every program that the parent starts would get it. The child fetches it. */
int os_memory_take_over(int fd, int parent) {
  HANDLE process = OpenProcess(PROCESS_DUP_HANDLE, FALSE, (DWORD)parent);
  if (process == NULL) return -last_error();
  HANDLE section = NULL;
  const bool is_ours = DuplicateHandle(process, section_of(fd), GetCurrentProcess(), &section, 0, FALSE,
                                       DUPLICATE_SAME_ACCESS);
  int error = is_ours ? 0 : last_error();
  CloseHandle(process);
  return error != 0 ? -error : use_section(section, false);
}

void os_memory_close(int fd) { CloseHandle(section_of(fd)); }

static char *base_of(void *start) { return (char *)((uintptr_t)start & ~(uintptr_t)(GRANULE - 1)); }

/* The range and what is before it in its granule; `before` is the length of that. */
static char *map_view(int fd, uint64_t offset, size_t length, size_t *before) {
  const uint64_t first = (OWN_BYTES + offset) & ~(GRANULE - 1);
  *before = (size_t)(OWN_BYTES + offset - first);
  return MapViewOfFile(section_of(fd), FILE_MAP_ALL_ACCESS, (DWORD)(first >> 32), (DWORD)first, *before + length);
}

int os_memory_map(int fd, uint64_t offset, size_t length, void **start) {
  size_t before = 0;
  char *view = map_view(fd, offset, length, &before);
  if (view == NULL) return last_error();
  if (VirtualAlloc(view + before, length, MEM_COMMIT, PAGE_READWRITE) == NULL) {
    int error = last_error();
    UnmapViewOfFile(view);
    return error;
  }
  *start = view + before;
  return 0;
}

void os_memory_unmap(void *start, size_t length) {
  (void)length;
  UnmapViewOfFile(base_of(start));
}

/* Mapping takes storage here, which a window of a gigabyte must not. */
int os_memory_window(int fd, uint64_t offset, size_t length, void **start) {
  (void)fd;
  (void)offset;
  (void)length;
  (void)start;
  return ENOTSUP;
}

int64_t os_memory_write(int fd, uint64_t offset, const void *data, size_t length) {
  void *start = NULL;
  int error = os_memory_map(fd, offset, length, &start);
  if (error != 0) return -error;
  memcpy(start, data, length);
  os_memory_unmap(start, length);
  return (int64_t)length;
}

int64_t os_memory_read(int fd, uint64_t offset, void *data, size_t length) {
  void *start = NULL;
  int error = os_memory_map(fd, offset, length, &start);
  if (error != 0) return -error;
  memcpy(data, start, length);
  os_memory_unmap(start, length);
  return (int64_t)length;
}

int os_memory_populate(void *start, size_t length) {
  (void)start;
  (void)length;
  return ENOTSUP;
}

void os_keep_freed_memory(size_t bytes) { (void)bytes; }

/* Between the end of a mapping and the beginning of another, the addresses could become another thread's. */
int os_memory_empty(void *start, size_t length) {
  (void)start;
  (void)length;
  return ENOTSUP;
}

int os_memory_reserve(int fd, uint64_t offset, uint64_t length) {
  void *start = NULL;
  int error = os_memory_map(fd, offset, length, &start);
  if (error == 0) os_memory_unmap(start, length);
  return error;
}

/* Pages of a section stay with it to its end. */
int os_memory_discard(int fd, uint64_t offset, uint64_t length) {
  (void)fd;
  (void)offset;
  (void)length;
  return ENOTSUP;
}

/* Memory with a name is a file of /dev/shm so far. */
int os_file_map(int fd, size_t length, void **start) {
  (void)fd;
  (void)length;
  (void)start;
  return ENOTSUP;
}

int os_file_reserve(int fd, uint64_t length) {
  (void)fd;
  (void)length;
  return ENOTSUP;
}

/* ---- Waiting ---- */

int64_t os_now_ns(void) {
  LARGE_INTEGER ticks, ticks_per_second;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&ticks_per_second);
  const int64_t seconds = ticks.QuadPart / ticks_per_second.QuadPart;
  const int64_t rest = ticks.QuadPart % ticks_per_second.QuadPart;
  return seconds * 1000000000 + rest * 1000000000 / ticks_per_second.QuadPart;
}

void os_yield(void) { SwitchToThread(); }

/* Every mapping begins at a granule, so these bits of an address are the same in all processes. */
static uint32_t queue_of(const uint32_t *word) {
  const uint32_t place = (uint32_t)((uintptr_t)word & (GRANULE - 1));
  return ((place >> 8) ^ (place >> 2)) % QUEUE_COUNT;
}

/* Opened by the first thread that needs it, and closed with the process. */
static HANDLE volatile semaphores[QUEUE_COUNT];

static HANDLE semaphore_of(uint32_t queue) {
  HANDLE known = __atomic_load_n(&semaphores[queue], __ATOMIC_ACQUIRE);
  if (known != NULL) return known;
  wchar_t name[80];
  _snwprintf(name, sizeof name / sizeof *name, L"Local\\multiproc-%08x%08x%08x%08x-%u", own->secret[0],
             own->secret[1], own->secret[2], own->secret[3], queue);
  HANDLE opened = CreateSemaphoreW(NULL, 0, LONG_MAX, name);
  if (opened == NULL) return NULL;
  if (__atomic_compare_exchange_n(&semaphores[queue], &known, opened, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return opened;
  CloseHandle(opened);
  return known;
}

/* Step 4 of "Windows": who sleeps no longer takes itself off the count, or takes the wake that was meant for it. */
static void leave_queue(uint32_t queue, HANDLE semaphore) {
  uint32_t count = __atomic_load_n(&own->sleepers[queue], __ATOMIC_SEQ_CST);
  while (count > 0) {
    if (__atomic_compare_exchange_n(&own->sleepers[queue], &count, count - 1, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
      return;
  }
  WaitForSingleObject(semaphore, 0);
}

int os_wait(uint32_t *word, uint32_t expected, uint32_t bits, int64_t timeout_ns) {
  (void)bits;
  if (timeout_ns <= 0) return ETIMEDOUT;
  const uint32_t queue = queue_of(word);
  HANDLE semaphore = semaphore_of(queue);
  if (semaphore == NULL) return last_error();
  __atomic_add_fetch(&own->sleepers[queue], 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != expected) {
    leave_queue(queue, semaphore);
    return EAGAIN;
  }
  const DWORD timeout_ms = (DWORD)((timeout_ns + 999999) / 1000000);
  if (WaitForSingleObject(semaphore, timeout_ms) == WAIT_OBJECT_0) return 0;
  leave_queue(queue, semaphore);
  return ETIMEDOUT;
}

/* All of a queue are woken: whose word it is not looks at its own, and sleeps again. */
int os_wake(uint32_t *word, int count, uint32_t bits) {
  (void)bits;
  const uint32_t queue = queue_of(word);
  if (count <= 0 || __atomic_load_n(&own->sleepers[queue], __ATOMIC_SEQ_CST) == 0) return 0;
  HANDLE semaphore = semaphore_of(queue);
  const uint32_t sleepers = __atomic_exchange_n(&own->sleepers[queue], 0, __ATOMIC_SEQ_CST);
  if (semaphore == NULL || sleepers == 0) return 0;
  ReleaseSemaphore(semaphore, (LONG)sleepers, NULL);
  return (int)sleepers;
}

/* ---- Threads ---- */

void os_mutex_init(os_mutex *mutex) { mutex->word = NULL; }
void os_mutex_destroy(os_mutex *mutex) { (void)mutex; }
void os_lock(os_mutex *mutex) { AcquireSRWLockExclusive((SRWLOCK *)mutex); }
void os_unlock(os_mutex *mutex) { ReleaseSRWLockExclusive((SRWLOCK *)mutex); }

bool os_condition_wait(os_condition *condition, os_mutex *mutex, int64_t until_ns) {
  const int64_t left_ns = until_ns - os_now_ns();
  if (left_ns <= 0) return false;
  SleepConditionVariableSRW((CONDITION_VARIABLE *)condition, (SRWLOCK *)mutex,
                            (DWORD)((left_ns + 999999) / 1000000), 0);
  return true;
}

void os_condition_signal(os_condition *condition) { WakeConditionVariable((CONDITION_VARIABLE *)condition); }

/* Enough for what the threads of the addon do. */
#define STACK_BYTES (256 * 1024)

struct start {
  void *(*run)(void *);
  void *data;
};

static unsigned __stdcall run_thread(void *data) {
  struct start start = *(struct start *)data;
  free(data);
  start.run(start.data);
  return 0;
}

int os_start_thread(void *(*run)(void *), void *data) {
  struct start *start = malloc(sizeof *start);
  if (start == NULL) return ENOMEM;
  start->run = run;
  start->data = data;
  uintptr_t thread = _beginthreadex(NULL, STACK_BYTES, run_thread, start, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
  if (thread == 0) {
    free(start);
    return EAGAIN;
  }
  CloseHandle((HANDLE)thread);
  return 0;
}

int os_thread_id(void) { return (int)GetCurrentThreadId(); }

/* The channel of a child is a pipe that belongs to libuv: nobody else may write to it. See transport/README.md. */
int os_ring(int fd, unsigned char byte) {
  (void)fd;
  (void)byte;
  return ENOTSUP;
}

void os_stay_loaded(void) {
  static int here;
  HMODULE own;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, (LPCWSTR)(void *)&here,
                     &own);
}

/* There are hints only, or masks for whole processes and up to 64 processors. */
int os_set_affinity(int thread, const uint32_t *cpus, size_t count) {
  (void)thread;
  (void)cpus;
  (void)count;
  return ENOTSUP;
}
