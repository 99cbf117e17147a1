/*
 * Windows: the functions of Node.js. A library there names the program that has them, and a copy of Node.js can have
 * any name; so they are looked for in the program that loads the addon. One that is missing here fails to link.
 */
#include "os-windows.h"

#include <stddef.h>

#define EACH_FUNCTION(do_for) \
  do_for(napi_add_env_cleanup_hook) \
  do_for(napi_adjust_external_memory) \
  do_for(napi_call_function) \
  do_for(napi_call_threadsafe_function) \
  do_for(napi_close_handle_scope) \
  do_for(napi_create_error) \
  do_for(napi_create_external_arraybuffer) \
  do_for(napi_create_int32) \
  do_for(napi_create_string_utf8) \
  do_for(napi_create_threadsafe_function) \
  do_for(napi_create_uint32) \
  do_for(napi_define_properties) \
  do_for(napi_get_boolean) \
  do_for(napi_get_cb_info) \
  do_for(napi_get_instance_data) \
  do_for(napi_get_typedarray_info) \
  do_for(napi_get_undefined) \
  do_for(napi_get_value_double) \
  do_for(napi_get_value_int32) \
  do_for(napi_get_value_int64) \
  do_for(napi_get_value_uint32) \
  do_for(napi_open_handle_scope) \
  do_for(napi_ref_threadsafe_function) \
  do_for(napi_set_instance_data) \
  do_for(napi_set_named_property) \
  do_for(napi_throw) \
  do_for(napi_unref_threadsafe_function)

/* What a call of a function of another library goes through; node_api.h declares them as such (dllimport). */
#define POINTER(name) void *__imp_##name;
EACH_FUNCTION(POINTER)

/* Not there in the oldest Node.js. */
void *node_api_create_external_sharedarraybuffer;

static const struct {
  const char *name;
  void **pointer;
} functions[] = {
#define ROW(name) {#name, &__imp_##name},
    EACH_FUNCTION(ROW)
};

static HMODULE node(void) {
  static const wchar_t *const names[] = {NULL, L"node.dll", L"libnode.dll"};
  for (size_t index = 0; index < sizeof names / sizeof *names; index++) {
    HMODULE module = GetModuleHandleW(names[index]);
    if (module != NULL && GetProcAddress(module, "napi_create_error") != NULL) return module;
  }
  return NULL;
}

static BOOL bind(void) {
  HMODULE module = node();
  if (module == NULL) return FALSE;
  for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
    *functions[index].pointer = (void *)GetProcAddress(module, functions[index].name);
    if (*functions[index].pointer == NULL) return FALSE;
  }
  node_api_create_external_sharedarraybuffer =
      (void *)GetProcAddress(module, "node_api_create_external_sharedarraybuffer");
  return TRUE;
}

BOOL WINAPI DllMain(HINSTANCE addon, DWORD reason, LPVOID reserved) {
  (void)reserved;
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  DisableThreadLibraryCalls(addon);
  /* Threads of the addon can outlive the worker thread that loaded it, and need its code. */
  HMODULE pinned = NULL;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, (LPCWSTR)(void *)addon,
                     &pinned);
  return bind();
}
