/* A byte to a socket, past the event loop and its streams: it says "look" to the other side. */
#include "os.h"

#include <errno.h>
#include <sys/socket.h>

/* Systems without the flag let a socket ignore the signal; Node.js ignores it for the whole process anyway. */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

int os_ring(int fd, unsigned char byte) {
  for (;;) {
    if (send(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) return 0;
    if (errno != EINTR) return errno;
  }
}
