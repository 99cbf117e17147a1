/*
 * Waiting for a word of the control part to change: by blocking this thread, or by a thread that waits on its behalf
 * and tells the event loop. "Waiting" in README.md says why no wait can last for ever.
 */
#include "heap.h"
#include "os.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* How a wait ended. The same numbers stand in native-addon.ts. */
enum outcome { CHANGED = 0, TIMED_OUT = 1, MEMBER_ENDED = 2, CANCELLED = 3 };

/*
 * A sleeper looks around this often even if nobody wakes it: the one who should have may have been killed, or the wake
 * may have gone to a process that was killed, or that computes.
 */
#define LOOK_AROUND_NS 10000000
/* Threads that have nothing to wait for are kept for the next wait: so many, for so long. */
#define IDLE_THREADS_MAX 4
#define IDLE_SECONDS_MAX 5

/* From milliseconds; a negative or enormous number means without a limit. */
static int64_t deadline_after(double ms) {
  if (!(ms >= 0) || ms > 1e15) return INT64_MAX;
  return os_now_ns() + (int64_t)(ms * 1e6);
}

static bool has_changed(const uint32_t *word, uint32_t expected) {
  return __atomic_load_n(word, __ATOMIC_SEQ_CST) != expected;
}

static enum outcome wait_until(uint32_t *word, uint32_t expected, uint32_t bits, int64_t deadline,
                               uint32_t ends_seen, const uint32_t *is_cancelled) {
  for (;;) {
    if (is_cancelled != NULL && __atomic_load_n(is_cancelled, __ATOMIC_ACQUIRE)) return CANCELLED;
    if (has_changed(word, expected)) return CHANGED;
    if (heap_has_ended_member(ends_seen)) return MEMBER_ENDED;
    int64_t left = deadline == INT64_MAX ? LOOK_AROUND_NS : deadline - os_now_ns();
    if (left <= 0) return TIMED_OUT;
    int error = os_wait(word, expected, bits, left < LOOK_AROUND_NS ? left : LOOK_AROUND_NS);
    /* Woken although the word is as before: a condition may have come and gone, so the caller looks for itself. */
    if (error == 0 && !(is_cancelled != NULL && __atomic_load_n(is_cancelled, __ATOMIC_ACQUIRE))) return CHANGED;
  }
}

/*
 * Giving the processor away between looks is the one form of polling that was never slow: without it the poller can
 * keep the one it waits for from running.
 */
static bool yield_until_changed(const uint32_t *word, uint32_t expected, uint32_t yield_us) {
  if (yield_us == 0) return false;
  for (int64_t until = os_now_ns() + (int64_t)yield_us * 1000; os_now_ns() < until;) {
    os_yield();
    if (has_changed(word, expected)) return true;
  }
  return false;
}

/* yieldWhile(words, index, expected, microseconds): whether the word has changed, after that time at the latest. */
static napi_value yield_while(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  uint32_t index = 0, expected = 0, yield_us = 0;
  size_t length = 0;
  void *words = NULL;
  napi_typedarray_type type;
  napi_get_value_uint32(env, argv[1], &index);
  napi_get_value_uint32(env, argv[2], &expected);
  napi_get_value_uint32(env, argv[3], &yield_us);
  if (napi_get_typedarray_info(env, argv[0], &type, &length, &words, NULL, NULL) != napi_ok ||
      (type != napi_int32_array && type != napi_uint32_array) || index >= length)
    return throw_system_error(env, "yieldWhile", EINVAL);
  const uint32_t *word = (const uint32_t *)words + index;
  napi_value result;
  napi_get_boolean(env, has_changed(word, expected) || yield_until_changed(word, expected, yield_us), &result);
  return result;
}

/* wait(offset, expected, timeoutMs, endsSeen, yieldMicroseconds): the outcome */
static napi_value wait_sync(napi_env env, napi_callback_info info) {
  ARGUMENTS(5);
  uint32_t offset = 0, expected = 0, ends_seen = 0, yield_us = 0;
  double timeout_ms = -1;
  napi_get_value_uint32(env, argv[0], &offset);
  napi_get_value_uint32(env, argv[1], &expected);
  napi_get_value_double(env, argv[2], &timeout_ms);
  napi_get_value_uint32(env, argv[3], &ends_seen);
  napi_get_value_uint32(env, argv[4], &yield_us);
  uint32_t *word = heap_word(offset);
  if (word == NULL) return throw_system_error(env, "wait", EINVAL);
  enum outcome outcome = CHANGED;
  if (!has_changed(word, expected) && !yield_until_changed(word, expected, yield_us))
    outcome = wait_until(word, expected, ALL_BITS, deadline_after(timeout_ms), ends_seen, NULL);
  napi_value result;
  napi_create_int32(env, (int32_t)outcome, &result);
  return result;
}

/* wake(offset, count) */
static napi_value wake(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  uint32_t offset = 0;
  int32_t count = 0;
  napi_get_value_uint32(env, argv[0], &offset);
  napi_get_value_int32(env, argv[1], &count);
  uint32_t *word = heap_word(offset);
  if (word == NULL) return throw_system_error(env, "wake", EINVAL);
  napi_value result;
  napi_create_int32(env, os_wake(word, count, ALL_BITS), &result);
  return result;
}

/* ---- Waits on behalf of an event loop ---- */

struct loop;

struct pending_wait {
  /* Its place among the pending or the ended waits of its loop. */
  struct pending_wait *next;
  struct pending_wait **previous;
  /* Its place among the waits that are handed to idle threads. */
  struct pending_wait *next_handed_over;
  struct loop *loop;
  uint32_t id;
  uint32_t *word;
  uint32_t expected;
  /* Its own bit among the sleepers of the word, so that a cancel wakes few others. */
  uint32_t bit;
  int64_t deadline;
  uint32_t ends_seen;
  uint32_t is_cancelled;
  enum outcome outcome;
};

/* One event loop (a process, or a worker thread of it). Freed when it has ended and its last wait has. */
struct loop {
  os_mutex mutex;
  napi_threadsafe_function report;
  bool is_closing;
  bool is_reported;
  uint32_t references;
  uint32_t last_id;
  uint32_t pending_count;
  struct pending_wait *pending;
  struct pending_wait *done;
};

static void link_wait(struct pending_wait **list, struct pending_wait *wait) {
  wait->next = *list;
  wait->previous = list;
  if (*list != NULL) (*list)->previous = &wait->next;
  *list = wait;
}

static void unlink_wait(struct pending_wait *wait) {
  *wait->previous = wait->next;
  if (wait->next != NULL) wait->next->previous = wait->previous;
}

/* With the mutex held; gives it back. */
static void release_loop(struct loop *loop) {
  bool is_last = --loop->references == 0;
  os_unlock(&loop->mutex);
  if (!is_last) return;
  while (loop->done != NULL) {
    struct pending_wait *wait = loop->done;
    unlink_wait(wait);
    free(wait);
  }
  os_mutex_destroy(&loop->mutex);
  free(loop);
}

static void run_wait(struct pending_wait *wait) {
  struct loop *loop = wait->loop;
  wait->outcome = wait_until(wait->word, wait->expected, wait->bit, wait->deadline, wait->ends_seen, &wait->is_cancelled);
  os_lock(&loop->mutex);
  unlink_wait(wait);
  link_wait(&loop->done, wait);
  /*
   * The function is gone once the loop is closing. Many waits that end together are reported by one call: whoever
   * comes while a report is on its way finds its place in the list.
   */
  if (!loop->is_closing && !loop->is_reported) {
    loop->is_reported = true;
    napi_call_threadsafe_function(loop->report, loop, napi_tsfn_nonblocking);
  }
  release_loop(loop);
}

/* Threads that wait for something to wait for. */
static os_mutex idle_mutex = OS_MUTEX_INITIAL;
static os_condition idle_condition = OS_CONDITION_INITIAL;
static struct pending_wait *handed_over;
static uint32_t idle_count;

static struct pending_wait *next_wait(void) {
  struct pending_wait *wait = NULL;
  const int64_t until = os_now_ns() + IDLE_SECONDS_MAX * INT64_C(1000000000);
  os_lock(&idle_mutex);
  if (idle_count < IDLE_THREADS_MAX) {
    idle_count++;
    while (handed_over == NULL) {
      if (!os_condition_wait(&idle_condition, &idle_mutex, until)) break;
    }
    wait = handed_over;
    if (wait != NULL) {
      /* Whoever hands a wait over has counted this thread out already. */
      handed_over = wait->next_handed_over;
    } else {
      idle_count--;
    }
  }
  os_unlock(&idle_mutex);
  return wait;
}

static void *wait_thread(void *data) {
  for (struct pending_wait *wait = data; wait != NULL; wait = next_wait()) run_wait(wait);
  return NULL;
}

static int start_on_thread(struct pending_wait *wait) {
  os_lock(&idle_mutex);
  bool is_handed_over = idle_count > 0;
  if (is_handed_over) {
    idle_count--;
    wait->next_handed_over = handed_over;
    handed_over = wait;
    os_condition_signal(&idle_condition);
  }
  os_unlock(&idle_mutex);
  return is_handed_over ? 0 : os_start_thread(wait_thread, wait);
}

/* Runs on the event loop: tells JavaScript which waits have ended. */
static void report(napi_env env, napi_value callback, void *context, void *data) {
  (void)context;
  struct loop *loop = data;
  if (env == NULL) return;
  os_lock(&loop->mutex);
  loop->is_reported = false;
  struct pending_wait *done = loop->done;
  loop->done = NULL;
  os_unlock(&loop->mutex);
  while (done != NULL) {
    struct pending_wait *wait = done;
    done = wait->next;
    if (--loop->pending_count == 0) napi_unref_threadsafe_function(env, loop->report);
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    napi_value nothing, arguments[2];
    napi_get_undefined(env, &nothing);
    napi_create_uint32(env, wait->id, &arguments[0]);
    napi_create_int32(env, (int32_t)wait->outcome, &arguments[1]);
    napi_call_function(env, nothing, callback, 2, arguments, NULL);
    napi_close_handle_scope(env, scope);
    free(wait);
  }
}

static void cancel(struct pending_wait *wait) {
  __atomic_store_n(&wait->is_cancelled, 1, __ATOMIC_RELEASE);
  os_wake(wait->word, INT_MAX, wait->bit);
}

static void close_loop(void *data) {
  struct loop *loop = data;
  os_lock(&loop->mutex);
  loop->is_closing = true;
  for (struct pending_wait *wait = loop->pending; wait != NULL; wait = wait->next) cancel(wait);
  release_loop(loop);
}

/* watch(callback): what startWait() reports to, as callback(id, outcome). Once for each event loop. */
static napi_value watch(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct loop *loop = calloc(1, sizeof *loop);
  napi_value name;
  if (loop == NULL) return throw_system_error(env, "watch", ENOMEM);
  os_mutex_init(&loop->mutex);
  loop->references = 1;
  napi_create_string_utf8(env, "multiproc.wait", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, argv[0], NULL, name, 0, 1, NULL, NULL, NULL, report, &loop->report) !=
      napi_ok) {
    free(loop);
    return throw_system_error(env, "watch", ENOMEM);
  }
  napi_unref_threadsafe_function(env, loop->report);
  napi_set_instance_data(env, loop, NULL, NULL);
  /* Hooks run in the reverse order: this one before the one that takes the function away. */
  napi_add_env_cleanup_hook(env, close_loop, loop);
  return NULL;
}

/* startWait(offset, expected, timeoutMs, endsSeen): its id; the loop stays alive until its end has been reported. */
static napi_value start_wait(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  struct loop *loop = NULL;
  napi_get_instance_data(env, (void **)&loop);
  uint32_t offset = 0, expected = 0, ends_seen = 0;
  double timeout_ms = -1;
  napi_get_value_uint32(env, argv[0], &offset);
  napi_get_value_uint32(env, argv[1], &expected);
  napi_get_value_double(env, argv[2], &timeout_ms);
  napi_get_value_uint32(env, argv[3], &ends_seen);
  uint32_t *word = heap_word(offset);
  if (word == NULL || loop == NULL) return throw_system_error(env, "startWait", EINVAL);
  struct pending_wait *wait = calloc(1, sizeof *wait);
  if (wait == NULL) return throw_system_error(env, "startWait", ENOMEM);
  uint32_t id = ++loop->last_id;
  wait->loop = loop;
  wait->id = id;
  wait->word = word;
  wait->expected = expected;
  wait->bit = 1u << (id % 32);
  wait->deadline = deadline_after(timeout_ms);
  wait->ends_seen = ends_seen;
  os_lock(&loop->mutex);
  loop->references++;
  /* It can be cancelled from here on, also before a thread has taken it. */
  link_wait(&loop->pending, wait);
  os_unlock(&loop->mutex);
  int error = start_on_thread(wait);
  if (error != 0) {
    os_lock(&loop->mutex);
    unlink_wait(wait);
    free(wait);
    release_loop(loop);
    return throw_system_error(env, "a thread that waits", error);
  }
  if (loop->pending_count++ == 0) napi_ref_threadsafe_function(env, loop->report);
  napi_value result;
  napi_create_uint32(env, id, &result);
  return result;
}

/* cancelWait(id): it ends with CANCELLED, unless it has ended already. */
static napi_value cancel_wait(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct loop *loop = NULL;
  uint32_t id = 0;
  napi_get_instance_data(env, (void **)&loop);
  napi_get_value_uint32(env, argv[0], &id);
  if (loop == NULL) return NULL;
  os_lock(&loop->mutex);
  for (struct pending_wait *wait = loop->pending; wait != NULL; wait = wait->next) {
    if (wait->id == id) cancel(wait);
  }
  os_unlock(&loop->mutex);
  return NULL;
}

void wait_define(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"wait", NULL, wait_sync, NULL, NULL, NULL, napi_enumerable, NULL},
      {"yieldWhile", NULL, yield_while, NULL, NULL, NULL, napi_enumerable, NULL},
      {"wake", NULL, wake, NULL, NULL, NULL, napi_enumerable, NULL},
      {"watch", NULL, watch, NULL, NULL, NULL, napi_enumerable, NULL},
      {"startWait", NULL, start_wait, NULL, NULL, NULL, napi_enumerable, NULL},
      {"cancelWait", NULL, cancel_wait, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
}
