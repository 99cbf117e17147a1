/* Messages with open descriptors in them; see descriptors.h. */
#define _GNU_SOURCE
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
/* Where it is missing, a program that is started by another thread in between gets the descriptor, too. */
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif

union control {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

int descriptors_pair(int type, int pair[2]) {
#ifdef SOCK_CLOEXEC
  return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0 ? 0 : errno;
#else
  if (socketpair(AF_UNIX, type, 0, pair) != 0) return errno;
  fcntl(pair[0], F_SETFD, FD_CLOEXEC);
  fcntl(pair[1], F_SETFD, FD_CLOEXEC);
  return 0;
#endif
}

int descriptors_duplicate(int fd) {
  int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return duplicate < 0 ? -errno : duplicate;
}

int descriptors_send(int socket, const void *data, size_t length, const int *fds, int count) {
  union control control;
  struct iovec part = {(void *)data, length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, (size_t)count * sizeof(int));
  }
  for (;;) {
    if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

int descriptors_receive(int socket, void *data, size_t length, int fds[DESCRIPTORS_MAX], int *count) {
  union control control;
  struct iovec part = {data, length};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  *count = 0;
  ssize_t received;
  do received = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) return -errno;
  /* There is one header: the kernel puts all descriptors of a message into the same. */
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return (int)received;
  size_t there = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t index = 0; index < there; index++) {
    int fd;
    memcpy(&fd, CMSG_DATA(header) + index * sizeof(int), sizeof fd);
    if (*count == DESCRIPTORS_MAX) {
      close(fd);
      continue;
    }
    if (MSG_CMSG_CLOEXEC == 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
    fds[(*count)++] = fd;
  }
  return (int)received;
}
