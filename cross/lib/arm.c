/* What every program for ARM is linked with, beside the C library.

   Nothing unwinds here; a panic ends the process. But tables of the C library name the first three of these entries of an
   unwinder, and Rust's library the others, and for them all of it was linked, with a printf, and with instructions of an
   FPU that not every board has. They answer _URC_FAILURE. */

#define UNUSED(name) \
  int name(void) { return 9; }

UNUSED(__aeabi_unwind_cpp_pr0)
UNUSED(__aeabi_unwind_cpp_pr1)
UNUSED(__aeabi_unwind_cpp_pr2)
UNUSED(__gnu_unwind_frame)
UNUSED(_Unwind_VRS_Get)
UNUSED(_Unwind_VRS_Set)
UNUSED(_Unwind_GetLanguageSpecificData)
UNUSED(_Unwind_GetRegionStart)
UNUSED(_Unwind_GetTextRelBase)
UNUSED(_Unwind_GetDataRelBase)

/* ARMv6 has atomic instructions, but no short ones, so that short code calls these functions, which are long code. (Before
   ARMv6 there are none at all, and compiler_builtins has the functions: they ask the kernel.) */
#if __ARM_ARCH == 6

void synchronize(void) __asm__("__sync_synchronize");
void synchronize(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* The compiler knows functions of these names as its own, hence the detour. */
#define NAMED(name, bytes, type, ...) \
  type name##bytes(volatile type *, __VA_ARGS__) __asm__("__sync_" #name "_" #bytes)

#define FETCH(name, what, bytes, type)                               \
  NAMED(fetch_and_##name, bytes, type, type);                        \
  type fetch_and_##name##bytes(volatile type *at, type value) {      \
    return __atomic_fetch_##what(at, value, __ATOMIC_SEQ_CST);       \
  }

#define ATOMIC(bytes, type)                                                              \
  FETCH(add, add, bytes, type)                                                           \
  FETCH(sub, sub, bytes, type)                                                           \
  FETCH(and, and, bytes, type)                                                           \
  FETCH(or, or, bytes, type)                                                             \
  FETCH(xor, xor, bytes, type)                                                           \
  FETCH(umax, max, bytes, type)                                                          \
  FETCH(umin, min, bytes, type)                                                          \
  NAMED(lock_test_and_set, bytes, type, type);                                           \
  type lock_test_and_set##bytes(volatile type *at, type value) {                         \
    return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);                             \
  }                                                                                      \
  NAMED(val_compare_and_swap, bytes, type, type, type);                                  \
  type val_compare_and_swap##bytes(volatile type *at, type old, type value) {            \
    __atomic_compare_exchange_n(at, &old, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    return old;                                                                          \
  }

ATOMIC(1, unsigned char)
ATOMIC(2, unsigned short)
ATOMIC(4, unsigned)
ATOMIC(8, unsigned long long)

#endif
