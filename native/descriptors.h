/*
 * Messages between processes with open descriptors in them (SCM_RIGHTS), for the keeper of descriptors. What is the same
 * on all systems with these sockets, apart from two flags.
 */
#ifndef MULTIPROC_DESCRIPTORS_H
#define MULTIPROC_DESCRIPTORS_H

#include <stddef.h>

/* A message has at most so many. */
#define DESCRIPTORS_MAX 2

/* Two sockets that belong together, of SOCK_DGRAM or SOCK_STREAM, which no program that is started gets. 0 or errno. */
int descriptors_pair(int type, int pair[2]);

/* Another number for the same open file, which no program that is started gets. Or -errno. */
int descriptors_duplicate(int fd);

/* Sends without waiting. The other side has descriptors of its own afterwards. 0 or errno. */
int descriptors_send(int socket, const void *data, size_t length, const int *fds, int count);

/*
 * Receives without waiting: the number of bytes, 0 at the end, or -errno. Sets `*count` and as many of `fds`; fewer than
 * were sent when this process may not have more. They belong to the caller.
 */
int descriptors_receive(int socket, void *data, size_t length, int fds[DESCRIPTORS_MAX], int *count);

#endif
