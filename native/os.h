/*
 * What the addon needs of the operating system. One file for each system implements it; everything above is the same
 * on all of them.
 */
#ifndef MULTIPROC_OS_H
#define MULTIPROC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
/* An SRWLOCK and a CONDITION_VARIABLE, without the header that declares everything else of Windows. */
typedef struct {
  void *word;
} os_mutex, os_condition;
#define OS_MUTEX_INITIAL {0}
#define OS_CONDITION_INITIAL {0}
#else
#include <pthread.h>
typedef pthread_mutex_t os_mutex;
typedef pthread_cond_t os_condition;
#define OS_MUTEX_INITIAL PTHREAD_MUTEX_INITIALIZER
#define OS_CONDITION_INITIAL PTHREAD_COND_INITIALIZER
#endif

/* ---- Memory ---- */

/* Makes memory that can be mapped, up to `size_max` bytes of it, and that has no name. Returns a descriptor, or -errno. */
int os_memory_create(uint64_t size_max);

/*
 * The memory whose descriptor in the process `parent` is `fd`, or that this process has inherited as `fd`. Returns the
 * descriptor here, or -errno. No program that this process starts inherits it by itself.
 */
int os_memory_take_over(int fd, int parent);

void os_memory_close(int fd);

/* Maps a range for reading and writing; the pages of it that are in use already show what they have. 0 or errno. */
int os_memory_map(int fd, uint64_t offset, size_t length, void **start);

/*
 * The same for a window that stays, through which data is copied: addresses only, not storage. ENOTSUP where there is no
 * such mapping.
 */
int os_memory_window(int fd, uint64_t offset, size_t length, void **start);

/* Copies without a window: how many bytes, fewer than asked perhaps, or -errno. */
int64_t os_memory_write(int fd, uint64_t offset, const void *data, size_t length);
int64_t os_memory_read(int fd, uint64_t offset, void *data, size_t length);

/* Ends such a mapping, or what os_memory_empty() put in its place. */
void os_memory_unmap(void *start, size_t length);

/*
 * Puts empty pages in the place of a mapping, at once: no other thread can get the addresses meanwhile. 0 or errno;
 * ENOTSUP, and the mapping as it was, where that cannot be done.
 */
int os_memory_empty(void *start, size_t length);

/* Takes storage for a range now, so that a full system is an error here and not a crash on first use. 0 or errno. */
int os_memory_reserve(int fd, uint64_t offset, uint64_t length);

/* Gives the storage of a range back; the range reads zeros afterwards. 0 or errno. */
int os_memory_discard(int fd, uint64_t offset, uint64_t length);

/* Enters the pages of a mapping all at once, which costs a tenth of doing so one by one as they are used. 0 or errno. */
int os_memory_populate(void *start, size_t length);

/*
 * Has malloc() keep what is freed, up to so many bytes, instead of giving it back at once: entering fresh pages takes
 * longer than copying into them. Where malloc() cannot be told, it stays as it is.
 */
void os_keep_freed_memory(size_t bytes);

/* The same as mapping and reserving, for the start of a file that Node.js has opened as `fd`. 0 or errno. */
int os_file_map(int fd, size_t length, void **start);
int os_file_reserve(int fd, uint64_t length);

/* ---- Waiting ---- */

/* A clock that never goes back. */
int64_t os_now_ns(void);

/* Lets another thread run, if there is one. */
void os_yield(void);

/*
 * Sleeps while `*word == expected`, at most `timeout_ns`. Wakes that carry none of the bits in `bits` pass by.
 * Returns 0 (woken, perhaps for nothing) or an errno: EAGAIN (the word was different), ETIMEDOUT, EINTR.
 */
int os_wait(uint32_t *word, uint32_t expected, uint32_t bits, int64_t timeout_ns);

/* Wakes up to `count` sleepers of any process. Returns how many, where the system tells. */
int os_wake(uint32_t *word, int count, uint32_t bits);

/* ---- Lives ---- */

/* Distance of the life word from the start of a member record, in bytes. See "Members" in README.md. */
size_t os_life_word_offset(void);

/*
 * Makes the kernel set LIFE_ENDED in the record's life word when this thread ends in any way. Returns 0, or an errno
 * where the system cannot do it.
 */
int os_watch_life(void *record, uint32_t free);
/* Somebody else has taken the record: no error number of a system. */
#define OS_TAKEN (-1)

/*
 * Where the kernel marks nothing, a process that waits looks for itself: whether it is time to, and then once for each
 * record of a member that seems to be alive. Sets LIFE_ENDED in the life word of one that is not.
 */
bool os_is_time_to_look(void);
void os_look_at_life(void *record);

/* Ends this process by SIGKILL `grace_ms` after the process `parent` has ended. 0 or errno. */
int os_end_with_parent(int parent, int grace_ms);

int os_thread_id(void);

/* Lets a thread of this process run on these CPUs only; 0 is the thread that calls. 0 or errno. */
int os_set_affinity(int thread, const uint32_t *cpus, size_t count);

/* Writes one byte to a socket without waiting. 0 or errno. */
int os_ring(int fd, unsigned char byte);

/* ---- Threads ---- */

void os_mutex_init(os_mutex *mutex);
void os_mutex_destroy(os_mutex *mutex);
void os_lock(os_mutex *mutex);
void os_unlock(os_mutex *mutex);

/* Waits for a signal with the mutex held, at most until that time of os_now_ns(). False when it is over. */
bool os_condition_wait(os_condition *condition, os_mutex *mutex, int64_t until_ns);
void os_condition_signal(os_condition *condition);

/* Starts a thread that nobody joins and that gets no signals. 0 or errno. */
int os_start_thread(void *(*run)(void *), void *data);

/*
 * Keeps the addon in memory to the end of the process. Node.js unloads it with the last thread that has loaded it, and
 * the addon's own threads would go on in memory that is not there any more.
 */
void os_stay_loaded(void);

/* The kernel's FUTEX_OWNER_DIED. */
#define LIFE_ENDED 0x40000000u
/* Every bit: a wake for everybody who sleeps on the word. */
#define ALL_BITS 0xffffffffu

#endif
