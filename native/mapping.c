/* Mappings of memory and files, the same on all systems with mmap(). */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

int os_memory_take_over(int fd, int parent) {
  /* It came through the list of descriptors that the parent gave to this process. */
  (void)parent;
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return -errno;
  return fd;
}

void os_memory_close(int fd) { close(fd); }

int os_memory_map(int fd, uint64_t offset, size_t length, void **start) {
  *start = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
  return *start == MAP_FAILED ? errno : 0;
}

int os_memory_window(int fd, uint64_t offset, size_t length, void **start) {
  return os_memory_map(fd, offset, length, start);
}

int64_t os_memory_write(int fd, uint64_t offset, const void *data, size_t length) {
  ssize_t done = pwrite(fd, data, length, (off_t)offset);
  return done < 0 ? -errno : done;
}

int64_t os_memory_read(int fd, uint64_t offset, void *data, size_t length) {
  ssize_t done = pread(fd, data, length, (off_t)offset);
  return done < 0 ? -errno : done;
}

void os_memory_unmap(void *start, size_t length) { munmap(start, length); }

int os_memory_empty(void *start, size_t length) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  return mmap(start, length, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED ? errno : 0;
}

int os_file_map(int fd, size_t length, void **start) { return os_memory_map(fd, 0, length, start); }

int os_file_reserve(int fd, uint64_t length) { return os_memory_reserve(fd, 0, length); }
