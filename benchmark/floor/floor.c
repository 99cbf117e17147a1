/*
 * The floor: what the machine itself takes for the work that a row measures, without any runtime. Prints one number,
 * in the unit of the row.
 *
 *   floor copy <bytes> <count>        MiB per second of copying so many bytes into shared memory, again and again
 *   floor hand-over <count>           microseconds until a process that sleeps on a futex has taken its turn
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void *shared(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) exit(1);
  return memory;
}

static void copy(size_t bytes, long count) {
  char *from = malloc(bytes), *to = shared(bytes);
  if (from == NULL) exit(1);
  memset(from, 7, bytes);
  memcpy(to, from, bytes);
  double start = now_us();
  for (long i = 0; i < count; i++) {
    from[i % bytes]++;
    memcpy(to, from, bytes);
  }
  double us = now_us() - start;
  if (memcmp(from, to, bytes) != 0) exit(1);
  printf("%f\n", (double)bytes * count / (1 << 20) / (us / 1e6));
}

/* Two processes, whose turn is the number in the word. Each sleeps until it is its turn, then gives it to the other. */
static void take_turns(_Atomic uint32_t *turn, uint32_t own, long count) {
  for (long i = 0; i < count; i++) {
    while (atomic_load(turn) != own) syscall(SYS_futex, turn, FUTEX_WAIT, 1 - own, NULL, NULL, 0);
    atomic_store(turn, 1 - own);
    syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
  }
}

static void hand_over(long count) {
  _Atomic uint32_t *turn = shared(4096);
  pid_t child = fork();
  if (child < 0) exit(1);
  if (child == 0) {
    take_turns(turn, 1, count);
    _exit(0);
  }
  double start = now_us();
  take_turns(turn, 0, count);
  waitpid(child, NULL, 0);
  printf("%f\n", (now_us() - start) / (2.0 * count));
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "copy") == 0) copy(strtoul(argv[2], NULL, 10), atol(argv[3]));
  else if (argc == 3 && strcmp(argv[1], "hand-over") == 0) hand_over(atol(argv[2]));
  else return 2;
  return 0;
}
