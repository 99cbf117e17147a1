/* Threads of the addon's own and what they wait with, the same on all systems with POSIX threads. */
/* For dladdr(). */
#define _GNU_SOURCE
#include "os.h"

#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

/* Enough for what they do, and for what libc keeps on the stack of a thread. */
#define STACK_BYTES (256 * 1024)

int os_start_thread(void *(*run)(void *), void *data) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  /* Signals are Node's: they must not be delivered to a thread that it does not know. */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread, &attributes, run, data);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return error;
}

void os_mutex_init(os_mutex *mutex) { pthread_mutex_init(mutex, NULL); }
void os_mutex_destroy(os_mutex *mutex) { pthread_mutex_destroy(mutex); }
void os_lock(os_mutex *mutex) { pthread_mutex_lock(mutex); }
void os_unlock(os_mutex *mutex) { pthread_mutex_unlock(mutex); }

bool os_condition_wait(os_condition *condition, os_mutex *mutex, int64_t until_ns) {
  const int64_t left_ns = until_ns - os_now_ns();
  if (left_ns <= 0) return false;
  /* A condition made without attributes counts in the time of day. */
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  const int64_t ns = until.tv_nsec + left_ns % 1000000000;
  until.tv_sec += (time_t)(left_ns / 1000000000 + ns / 1000000000);
  until.tv_nsec = (long)(ns % 1000000000);
  pthread_cond_timedwait(condition, mutex, &until);
  return true;
}

void os_condition_signal(os_condition *condition) { pthread_cond_signal(condition); }

int64_t os_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void os_yield(void) { sched_yield(); }

void os_stay_loaded(void) {
  static int here;
  Dl_info own;
  if (dladdr(&here, &own) != 0) dlopen(own.dli_fname, RTLD_NOW | RTLD_NODELETE);
}
