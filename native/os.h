/*
 * What the addon needs of the operating system. One file for each system implements it; everything above is the same
 * on all of them.
 */
#ifndef MULTIPROC_OS_H
#define MULTIPROC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes memory that can be mapped, up to `size_max` bytes of it, and that has no name. Returns a descriptor, or -errno. */
int os_memory_create(uint64_t size_max);

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

/*
 * Sleeps while `*word == expected`, at most `timeout_ns`. Wakes that carry none of the bits in `bits` pass by.
 * Returns 0 (woken, perhaps for nothing) or an errno: EAGAIN (the word was different), ETIMEDOUT, EINTR.
 */
int os_wait(uint32_t *word, uint32_t expected, uint32_t bits, int64_t timeout_ns);

/* Wakes up to `count` sleepers of any process. Returns how many, where the system tells. */
int os_wake(uint32_t *word, int count, uint32_t bits);

/* Distance of the life word from the start of a member record, in bytes. See "Members" in README.md. */
size_t os_life_word_offset(void);

/*
 * Makes the kernel set LIFE_ENDED in the record's life word when this thread ends in any way. Returns 0, or an errno
 * where the system cannot do it.
 */
int os_watch_life(void *record, uint32_t free);
/* Somebody else has taken the record: no error number of a system. */
#define OS_TAKEN (-1)

/* Ends this process by SIGKILL `grace_ms` after the process `parent` has ended. 0 or errno. */
int os_end_with_parent(int parent, int grace_ms);

int os_thread_id(void);

/* Writes one byte to a socket without waiting. 0 or errno. */
int os_ring(int fd, unsigned char byte);

/* Starts a thread that nobody joins and that gets no signals. 0 or errno. */
int os_start_thread(void *(*run)(void *), void *data);

/* The kernel's FUTEX_OWNER_DIED. */
#define LIFE_ENDED 0x40000000u
/* Every bit: a wake for everybody who sleeps on the word. */
#define ALL_BITS 0xffffffffu

#endif
