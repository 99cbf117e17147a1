/* What the files for Windows have in common. */
#ifndef MULTIPROC_OS_WINDOWS_H
#define MULTIPROC_OS_WINDOWS_H

/* Windows 10, the oldest that Node.js 20 runs on. */
#define _WIN32_WINNT 0x0A00
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "os.h"

/* The error of the last call of the system, as an errno. */
int last_error(void);

#endif
