/* The module as Node.js loads it; every thread that loads it gets functions of its own over the one heap. */
#include "heap.h"
#include "os.h"

NAPI_MODULE_INIT() {
  os_stay_loaded();
  heap_define(env, exports);
  wait_define(env, exports);
#ifndef _WIN32
  keeper_define(env, exports);
#endif
  return exports;
}
