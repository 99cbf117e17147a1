/*
 * The keeper of descriptors: what a message refers to (a socket, an open file) is open here, in the first process of
 * the program, until it is fetched. "Descriptors on their way" in README.md is the protocol, step by step.
 *
 * Invariant: every descriptor in the table is closed in the end: by the fetch of its only reader, when its sender lets
 * go of it or ends, or when its time is up.
 */
#include "descriptors.h"
#include "heap.h"
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How often those whose time is up are looked for, while there are any. */
#define LOOK_AROUND_MS 1000
/* The keeper answers at once, however busy its process is. Who waits longer has a parent that is stopped. */
#define ANSWER_MS_MAX 10000
/* When there is no room, what has used up this part of its time makes some. */
#define SHORTENED_BY 5
#define REQUEST_MARK 0x4d504b31u

enum operation { KEEP = 1, FETCH = 2, RELEASE = 3, LOOK = 4 };

/* From any process of the program, with the socket for the answer and, for KEEP, the descriptor. */
struct request {
  uint32_t mark;
  uint32_t operation;
  uint64_t id;
  /* For KEEP: the member that keeps it for any number of readers, or 0 when there is one reader. */
  uint32_t owner;
};

struct answer {
  uint64_t id;
  int32_t error;
};

struct kept {
  uint64_t id;
  int fd;
  uint32_t owner;
  int64_t since_ms;
};

static struct {
  pthread_mutex_t mutex;
  /* Where requests go. Every process of the program has it; -1 while this one does not. Read with `door()`. */
  int door;
  /* Where they arrive: in the first process only, which is no child. */
  int inside;
  bool is_child;
  uint32_t limit;
  uint32_t kept_ms;
  uint32_t count;
  uint32_t room;
  uint64_t last_id;
  struct kept *table;
} keeper = {.mutex = PTHREAD_MUTEX_INITIALIZER, .door = -1, .inside = -1};

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int door(void) { return __atomic_load_n(&keeper.door, __ATOMIC_ACQUIRE); }

/* ---- The table, with the mutex held ---- */

static struct kept *find(uint64_t id) {
  for (uint32_t index = 0; index < keeper.count; index++) {
    if (keeper.table[index].id == id) return &keeper.table[index];
  }
  return NULL;
}

/* Takes it out; the descriptor belongs to the caller. The order, oldest first, stays. */
static int take_out(struct kept *kept) {
  int fd = kept->fd;
  size_t behind = (size_t)(&keeper.table[--keeper.count] - kept);
  memmove(kept, kept + 1, behind * sizeof *kept);
  return fd;
}

static void close_overdue(int64_t kept_ms) {
  int64_t now = now_ms();
  for (uint32_t index = 0; index < keeper.count;) {
    struct kept *kept = &keeper.table[index];
    bool is_over = kept->owner != 0 ? !heap_is_alive(kept->owner) : now - kept->since_ms >= kept_ms;
    if (is_over) close(take_out(kept));
    else index++;
  }
}

/* `fd` belongs to the keeper from here on, if this succeeds. 0 or errno. */
static int put_in(int fd, uint32_t owner, uint64_t *id) {
  if (keeper.count >= keeper.limit) close_overdue(keeper.kept_ms / SHORTENED_BY);
  if (keeper.count >= keeper.limit) return ENOBUFS;
  if (keeper.count == keeper.room) {
    uint32_t room = keeper.room == 0 ? 16 : keeper.room * 2;
    struct kept *table = realloc(keeper.table, room * sizeof *table);
    if (table == NULL) return ENOMEM;
    keeper.table = table;
    keeper.room = room;
  }
  *id = ++keeper.last_id;
  keeper.table[keeper.count++] = (struct kept){.id = *id, .fd = fd, .owner = owner, .since_ms = now_ms()};
  return 0;
}

/* ---- The thread of the keeper ---- */

static void serve(const struct request *request, int reply, int *fd) {
  struct answer answer = {.id = request->id};
  switch (request->operation) {
    case KEEP:
      answer.error = *fd < 0 ? EMFILE : put_in(*fd, request->owner, &answer.id);
      if (answer.error == 0) *fd = -1;
      /* Who asked has given up meanwhile, or was killed: nobody knows the number, so nobody would ever release it. */
      if (descriptors_send(reply, &answer, sizeof answer, NULL, 0) != 0 && answer.error == 0)
        close(take_out(find(answer.id)));
      return;
    case FETCH: {
      struct kept *kept = find(request->id);
      if (kept == NULL) {
        answer.error = ENOENT;
        descriptors_send(reply, &answer, sizeof answer, NULL, 0);
        return;
      }
      /* It is in the answer now: if the reader is killed before it reads that, the kernel closes it. */
      if (descriptors_send(reply, &answer, sizeof answer, &kept->fd, 1) == 0 && kept->owner == 0)
        close(take_out(kept));
      return;
    }
    case RELEASE: {
      struct kept *kept = find(request->id);
      if (kept != NULL) close(take_out(kept));
      return;
    }
  }
}

static void *keep_descriptors(void *data) {
  (void)data;
  for (;;) {
    pthread_mutex_lock(&keeper.mutex);
    close_overdue(keeper.kept_ms);
    int timeout = keeper.count == 0 ? -1 : keeper.kept_ms < LOOK_AROUND_MS ? (int)keeper.kept_ms : LOOK_AROUND_MS;
    pthread_mutex_unlock(&keeper.mutex);
    struct pollfd there = {.fd = keeper.inside, .events = POLLIN};
    if (poll(&there, 1, timeout) <= 0) continue;
    /* One byte more, so that a message that is too long is told from one that fits. */
    char bytes[sizeof(struct request) + 1];
    int fds[DESCRIPTORS_MAX], count = 0;
    int length = descriptors_receive(keeper.inside, bytes, sizeof bytes, fds, &count);
    if (length < 0 && length != -EAGAIN) {
      /* A system without memory: not all at once again. */
      const struct timespec rest = {0, 1000000};
      nanosleep(&rest, NULL);
    }
    struct request request;
    int fd = count > 1 ? fds[1] : -1;
    if (length == (int)sizeof request) {
      memcpy(&request, bytes, sizeof request);
      pthread_mutex_lock(&keeper.mutex);
      if (request.mark == REQUEST_MARK) serve(&request, count > 0 ? fds[0] : -1, &fd);
      pthread_mutex_unlock(&keeper.mutex);
    }
    if (count > 0) close(fds[0]);
    if (fd >= 0) close(fd);
  }
  return NULL;
}

static int keeper_open(uint32_t limit, uint32_t kept_ms) {
  int pair[2], error = 0;
  pthread_mutex_lock(&keeper.mutex);
  if (keeper.door < 0 && keeper.is_child) error = ENOTCONN;
  else if (keeper.door < 0) {
    error = descriptors_pair(SOCK_DGRAM, pair);
    if (error == 0) {
      struct rlimit files;
      keeper.limit = limit;
      /* The other half is for what the program opens itself. */
      if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 < limit) keeper.limit = (uint32_t)(files.rlim_cur / 2);
      keeper.kept_ms = kept_ms;
      keeper.inside = pair[0];
      error = os_start_thread(keep_descriptors, NULL);
      if (error == 0) {
        __atomic_store_n(&keeper.door, pair[1], __ATOMIC_RELEASE);
      } else {
        close(pair[0]);
        close(pair[1]);
      }
    }
  }
  pthread_mutex_unlock(&keeper.mutex);
  return error == 0 ? door() : -error;
}

static void keeper_join(int given) {
  if (given >= 0) fcntl(given, F_SETFD, FD_CLOEXEC);
  pthread_mutex_lock(&keeper.mutex);
  keeper.is_child = true;
  if (keeper.door < 0) __atomic_store_n(&keeper.door, given, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&keeper.mutex);
}

/* ---- Requests of this process ---- */

static int send_request(const struct request *request, const int *fds, int count, int64_t until) {
  for (;;) {
    int error = descriptors_send(door(), request, sizeof *request, fds, count);
    /* Others are asking, too: the queue of the door is short. */
    if (error != EAGAIN && error != ENOBUFS) return error;
    if (now_ms() >= until) return ETIMEDOUT;
    const struct timespec rest = {0, 1000000};
    nanosleep(&rest, NULL);
  }
}

static int receive_answer(int reply, struct answer *answer, int *fd, int64_t until) {
  for (;;) {
    int64_t left = until - now_ms();
    if (left <= 0) return ETIMEDOUT;
    struct pollfd there = {.fd = reply, .events = POLLIN};
    if (poll(&there, 1, (int)left) <= 0) continue;
    int fds[DESCRIPTORS_MAX], count = 0;
    int length = descriptors_receive(reply, answer, sizeof *answer, fds, &count);
    if (length == -EAGAIN) continue;
    *fd = count > 0 ? fds[0] : -1;
    if (count > 1) close(fds[1]);
    if (length < 0) return -length;
    /* The keeper has ended, or had no descriptor left for the socket of the answer. */
    if (length != (int)sizeof *answer) return EPIPE;
    return answer->error;
  }
}

/* Asks and waits for the answer. `*fd` is sent with KEEP, and set by FETCH. 0 or errno. */
static int ask(struct request *request, int *fd) {
  int reply[2];
  int error = descriptors_pair(SOCK_STREAM, reply);
  if (error != 0) return error;
  const int64_t until = now_ms() + ANSWER_MS_MAX;
  const int fds[DESCRIPTORS_MAX] = {reply[1], *fd};
  request->mark = REQUEST_MARK;
  error = send_request(request, fds, request->operation == KEEP ? 2 : 1, until);
  /* From here on the end of the keeper is the end of the answer. */
  close(reply[1]);
  if (error == 0) {
    struct answer answer;
    int received = -1;
    error = receive_answer(reply[0], &answer, &received, until);
    if (error == 0) request->id = answer.id;
    if (request->operation == FETCH) {
      *fd = received;
      /* This process may have no more. */
      if (error == 0 && received < 0) error = EMFILE;
    }
  }
  close(reply[0]);
  return error;
}

/* Has the thread of the keeper look at the clock from now on. */
static void wake_keeper(void) {
  const struct request look = {.mark = REQUEST_MARK, .operation = LOOK};
  descriptors_send(door(), &look, sizeof look, NULL, 0);
}

static int keeper_keep(int fd, uint32_t owner, uint64_t *id) {
  if (door() < 0) return ENOTCONN;
  if (keeper.is_child) {
    struct request request = {.operation = KEEP, .owner = owner};
    int error = ask(&request, &fd);
    *id = request.id;
    return error;
  }
  int duplicate = descriptors_duplicate(fd);
  if (duplicate < 0) return -duplicate;
  pthread_mutex_lock(&keeper.mutex);
  int error = put_in(duplicate, owner, id);
  bool is_first = keeper.count == 1;
  pthread_mutex_unlock(&keeper.mutex);
  if (error != 0) close(duplicate);
  else if (is_first) wake_keeper();
  return error;
}

static int keeper_fetch(uint64_t id) {
  if (door() < 0) return -ENOTCONN;
  if (keeper.is_child) {
    struct request request = {.operation = FETCH, .id = id};
    int fd = -1;
    int error = ask(&request, &fd);
    if (error == 0) return fd;
    if (fd >= 0) close(fd);
    return -error;
  }
  pthread_mutex_lock(&keeper.mutex);
  struct kept *kept = find(id);
  int fd = kept == NULL ? -ENOENT : kept->owner != 0 ? descriptors_duplicate(kept->fd) : take_out(kept);
  pthread_mutex_unlock(&keeper.mutex);
  return fd;
}

static void keeper_release(uint64_t id) {
  if (door() < 0) return;
  if (keeper.is_child) {
    const struct request request = {.mark = REQUEST_MARK, .operation = RELEASE, .id = id};
    /* If it does not arrive, its time or the end of this process does the same. */
    send_request(&request, NULL, 0, now_ms() + 100);
    return;
  }
  pthread_mutex_lock(&keeper.mutex);
  struct kept *kept = find(id);
  if (kept != NULL) close(take_out(kept));
  pthread_mutex_unlock(&keeper.mutex);
}

static uint32_t keeper_count(void) {
  pthread_mutex_lock(&keeper.mutex);
  uint32_t count = keeper.count;
  pthread_mutex_unlock(&keeper.mutex);
  return count;
}

/* ---- For JavaScript ---- */

static napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

/* openKeeper(limit, keptMs): the descriptor of the door for children, or a negative error number. Made once. */
static napi_value open_keeper(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  uint32_t limit = 0, kept_ms = 0;
  napi_get_value_uint32(env, argv[0], &limit);
  napi_get_value_uint32(env, argv[1], &kept_ms);
  return number(env, keeper_open(limit, kept_ms));
}

/* joinKeeper(door): for a child, with what it was given; -1 when that is nothing. */
static napi_value join_keeper(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  int32_t given = -1;
  napi_get_value_int32(env, argv[0], &given);
  keeper_join(given);
  return NULL;
}

/* keepDescriptor(fd, owner): the number by which it is fetched, or a negative error number. */
static napi_value keep_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  int32_t fd = -1;
  uint32_t owner = 0;
  napi_get_value_int32(env, argv[0], &fd);
  napi_get_value_uint32(env, argv[1], &owner);
  uint64_t id = 0;
  int error = keeper_keep(fd, owner, &id);
  return number(env, error == 0 ? (double)id : -(double)error);
}

/* fetchDescriptor(id): a descriptor that belongs to the caller, or a negative error number. */
static napi_value fetch_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  return number(env, keeper_fetch(to_uint64(env, argv[0])));
}

static napi_value release_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  keeper_release(to_uint64(env, argv[0]));
  return NULL;
}

/* duplicate(fd): another descriptor for the same open file, or a negative error number. */
static napi_value duplicate(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  int32_t fd = -1;
  napi_get_value_int32(env, argv[0], &fd);
  return number(env, descriptors_duplicate(fd));
}

/* closeDescriptor(fd): past Node.js, which warns when a thread closes what it has not opened there. */
static napi_value close_descriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  int32_t fd = -1;
  napi_get_value_int32(env, argv[0], &fd);
  return number(env, close(fd) == 0 ? 0 : errno);
}

/* keptCount(): how many are kept in this process. */
static napi_value kept_count(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, keeper_count());
}

void keeper_define(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"openKeeper", NULL, open_keeper, NULL, NULL, NULL, napi_enumerable, NULL},
      {"joinKeeper", NULL, join_keeper, NULL, NULL, NULL, napi_enumerable, NULL},
      {"keepDescriptor", NULL, keep_descriptor, NULL, NULL, NULL, napi_enumerable, NULL},
      {"fetchDescriptor", NULL, fetch_descriptor, NULL, NULL, NULL, napi_enumerable, NULL},
      {"releaseDescriptor", NULL, release_descriptor, NULL, NULL, NULL, napi_enumerable, NULL},
      {"duplicate", NULL, duplicate, NULL, NULL, NULL, napi_enumerable, NULL},
      {"closeDescriptor", NULL, close_descriptor, NULL, NULL, NULL, napi_enumerable, NULL},
      {"keptCount", NULL, kept_count, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
}
