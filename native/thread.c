/* Threads of the addon's own, the same on all systems with POSIX threads. */
#include "os.h"

#include <pthread.h>
#include <signal.h>

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
